-- Triggers of one person that nothing came of.

-- name: triggers_by_event
-- Records of the person that could start a journey and left neither a passage nor a refusal.
SELECT e.offset_, e.recorded_at, e.occurred_at
FROM event AS e
WHERE e.pid = :pid AND e.name = :called AND :condition
  AND NOT EXISTS (
      SELECT 1 FROM enrollment n JOIN journey_version v ON v.jid = n.jid
      WHERE n.pid = :pid AND v.journey = :journey AND n.entry_offset = e.offset_
  )
  AND NOT EXISTS (
      SELECT 1 FROM refusal r JOIN journey_version v ON v.jid = r.jid
      WHERE r.pid = :pid AND v.journey = :journey AND r.offset_ = e.offset_
  )
ORDER BY e.offset_;

-- name: triggers_by_segment
-- Changes of a segment that could start a journey and left neither a passage nor a refusal.
SELECT e.offset_, m.ts, CAST(NULL AS TIMESTAMP)
FROM membership m LEFT JOIN event e ON e.pid = :pid AND e.recorded_at = m.ts AND m.cause = 'record'
WHERE m.origin_pid IN (:family) AND m.segment = :segment AND m.entered = :entered AND m.cause IN (:causes)
  AND (:former IS NULL OR EXISTS (SELECT 1 FROM membership o WHERE o.pid = m.pid AND o.segment = :former AND NOT o.entered AND o.ts = m.ts AND o.cause = m.cause))
  AND NOT EXISTS (
      SELECT 1 FROM enrollment n JOIN journey_version v ON v.jid = n.jid
      WHERE n.pid = :pid AND v.journey = :journey AND n.entered_at = m.ts
  )
  AND NOT EXISTS (
      SELECT 1 FROM refusal r JOIN journey_version v ON v.jid = r.jid
      WHERE r.pid = :pid AND v.journey = :journey AND r.ts = m.ts
  )
ORDER BY m.ts;
