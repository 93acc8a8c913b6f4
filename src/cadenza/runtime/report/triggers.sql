-- Candidates of journeys, counted from records and segment changes.

-- name: triggered_by_event
-- Records that could start a journey while one deployment was in force
SELECT count(*) FROM event AS e
WHERE e.name = :called AND e.offset_ > :first AND e.offset_ < :next AND e.recorded_at < :before AND :condition;

-- name: triggered_by_segment
-- Changes of a segment that could start a journey while one deployment was in force; merges start nothing
SELECT count(*) FROM membership
WHERE segment = :segment AND entered = :entered AND cause IN ('record', 'time')
  AND ts > :since AND ts <= :until AND ts < :before;
