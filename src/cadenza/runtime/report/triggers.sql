-- Candidates of journeys, counted from records and segment changes.

-- name: triggered_by_event
-- Records that could start a journey while one deployment was in force
SELECT count(*) FROM event AS e
WHERE e.name = :called AND e.offset_ > :first AND e.offset_ < :next AND e.recorded_at < :before AND :condition;

-- name: triggered_by_segment
-- Changes of a segment that could start a journey while one deployment was in force; merges start nothing;
-- ``former``: a segment that must be left in the same item
SELECT count(*) FROM membership AS m
WHERE m.segment = :segment AND m.entered = :entered AND m.cause IN (:causes)
  AND m.ts > :since AND m.ts <= :until AND m.ts < :before
  AND (:former IS NULL OR EXISTS (SELECT 1 FROM membership AS o WHERE o.pid = m.pid AND o.segment = :former AND NOT o.entered AND o.ts = m.ts AND o.cause = m.cause));
