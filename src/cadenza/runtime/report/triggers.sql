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

-- name: asked
-- Passages that made their person a candidate of another journey, by step and deployment in force: those that went on from the step,
-- and those that were taken out there by who entered
WITH last_ AS (
    SELECT t.eid, arg_max(t.to_step, (t.ts, t.rowid)) AS step FROM transition AS t WHERE t.ts < :before GROUP BY t.eid
),
made AS (
    SELECT t.jid, t.from_step AS step, t.ts FROM transition AS t WHERE t.ts < :before AND t.cause IN ('asked', 'superseded')
    UNION ALL
    SELECT x.jid, l.step, x.ts FROM enrollment_end AS x JOIN last_ AS l ON l.eid = x.eid
    WHERE x.ts < :before AND x.reason IN ('superseded', 'replaced') AND l.step >= 0
)
SELECT v.definition, s.path, f.offset_, count(*)
FROM made AS m JOIN (
    SELECT d.offset_, d.recorded_at, lead(d.recorded_at) OVER (ORDER BY d.offset_) AS until FROM deployment AS d
) AS f ON m.ts > f.recorded_at AND (f.until IS NULL OR m.ts <= f.until)
JOIN journey_step AS s ON s.jid = m.jid AND s.step = m.step AND s.kind = 'enter' JOIN journey_version AS v ON v.jid = m.jid
GROUP BY v.jid, v.definition, s.path, f.offset_ ORDER BY v.jid, s.path, f.offset_;
