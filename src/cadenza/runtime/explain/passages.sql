-- The journeys of one person.

-- name: passages
-- Enrollments of the person.
SELECT e.eid, v.journey, v.version, v.definition, e.key, e.entered_at, e.entry_offset, e.step, coalesce(p.wake_at, e.wake_at), s.path, x.ts, x.reason,
       t.name, b.name, p.since
FROM enrollment e
JOIN journey_version v ON v.jid = e.jid
LEFT JOIN journey_step s ON s.jid = e.jid AND s.step = e.step
LEFT JOIN enrollment_end x ON x.eid = e.eid
LEFT JOIN event t ON t.offset_ = e.entry_offset
LEFT JOIN event b ON b.pid = e.pid AND b.recorded_at = x.ts
LEFT JOIN paused p ON p.eid = e.eid AND p.since IS NOT NULL
WHERE e.pid = :pid AND :chosen ORDER BY e.entered_at, e.eid;

-- name: moves
-- Their moves, each step visited once, so from_step orders what happened in one instant.
SELECT m.eid, m.ts, m.cause, f.path, f.kind, t.path, t.kind, h.taken, m.offset_, r.name,
       lag(m.ts, 1, m.ts) OVER (PARTITION BY m.eid ORDER BY m.ts, m.from_step) AS since
FROM transition m
JOIN enrollment e ON e.eid = m.eid
LEFT JOIN journey_step f ON f.jid = m.jid AND f.step = m.from_step
LEFT JOIN journey_step t ON t.jid = m.jid AND t.step = m.to_step
LEFT JOIN journey_hop h ON h.jid = m.jid AND h.hop = m.hop
LEFT JOIN event r ON r.offset_ = m.offset_
WHERE e.pid = :pid ORDER BY m.eid, m.ts, m.from_step;

-- name: arrivals
-- Candidate messages: arrivals at a send, with the message if there is one, and whether the journey ended.
SELECT a.eid, a.to_step, s.path, coalesce(g.template, s.template) AS template, a.ts, g.message_id, g.deliverable, x.eid IS NOT NULL OR EXISTS (
  SELECT 1 FROM transition l WHERE l.eid = a.eid AND l.from_step = a.to_step AND l.cause IN ('goal', 'disqualified', 'superseded', 'time_limit')
) AS ended
FROM transition a
JOIN enrollment e ON e.eid = a.eid
JOIN journey_step s ON s.jid = a.jid AND s.step = a.to_step AND s.kind = 'send'
LEFT JOIN message g ON g.eid = a.eid AND g.step = a.to_step
LEFT JOIN enrollment_end x ON x.eid = a.eid
WHERE e.pid = :pid ORDER BY a.eid, a.ts, a.to_step;

-- name: verdicts
-- Every verdict on them.
SELECT d.eid, d.step, d.ts, d.verdict, d.reason, d.rule, d.until, d.evidence, CASE WHEN d.reason = 'suppressed' THEN (
    SELECT max(coalesce(s.until, TIMESTAMP '9999-01-01')) FROM suppression AS s LEFT JOIN suppression AS l ON l.lifts = s.offset_
    WHERE s.pid = e.pid AND s.lifts IS NULL AND s.reason = d.rule AND s.channel IN (json_extract_string(d.evidence, '$.channel'), '*')
      AND s.ts <= d.ts AND coalesce(s.until > d.ts, TRUE) AND coalesce(l.ts > d.ts, TRUE)) END AS ends
FROM decision d JOIN enrollment e ON e.eid = d.eid
WHERE e.pid = :pid ORDER BY d.eid, d.step, d.ts, CASE d.verdict WHEN 'defer' THEN 0 ELSE 1 END;

-- name: tasks
-- Tasks that they opened.
SELECT eid, task_id, team, title, opened_at, due_at, live FROM task WHERE pid = :pid ORDER BY opened_at, task_id;

-- name: task_changes
-- And what happened to these.
SELECT task_id, ts, change, by_, outcome, team, assignee, note, refused, offset_ FROM task_change WHERE pid = :pid ORDER BY ts, coalesce(offset_, 0), wave;

-- name: calls
-- Questions that they put to services.
SELECT eid, call_id, destination, planned_at, context, purpose || '/' || channel, refused, deliverable FROM service_call WHERE pid = :pid ORDER BY planned_at, call_id;

-- name: answers
-- What came of these, or was withdrawn.
SELECT a.call_id, a.ts, a.result, a.reason, a.trait, json_extract_string(y.properties, ['$.answer', '$.detail']), a.offset_
FROM service_answer AS a LEFT JOIN event_payload AS y ON y.offset_ = a.offset_ WHERE a.pid = :pid
UNION ALL
SELECT k.call_id, o.occurred_at, 'ambiguous', NULL, NULL, [NULL, o.detail], o.offset_
FROM message_outcome AS o JOIN service_call AS k ON k.call_id = o.message_id WHERE k.pid = :pid AND o.name = 'Call Ambiguous'
UNION ALL
SELECT k.call_id, c.ts, 'cancelled', c.reason, NULL, [NULL, NULL], NULL
FROM cancellation AS c JOIN service_call AS k ON k.call_id = c.message_id WHERE k.pid = :pid
ORDER BY 1, 2, 7;

-- name: deliveries
-- What delivery reported of them, and cancellations.
SELECT o.message_id, o.occurred_at, o.name, o.detail
FROM message_outcome o JOIN message g ON g.message_id = o.message_id WHERE g.pid = :pid
UNION ALL
SELECT c.message_id, c.ts, 'cancelled', c.reason
FROM cancellation c JOIN message g ON g.message_id = c.message_id WHERE g.pid = :pid
ORDER BY 1, 2, 3;

-- name: refusals
-- Times the person was refused.
SELECT v.journey, v.definition, r.ts, r.reason, r.rule, r.offset_, t.name
FROM refusal r JOIN journey_version v ON v.jid = r.jid LEFT JOIN event t ON t.offset_ = r.offset_
WHERE r.pid = :pid AND :chosen ORDER BY r.ts, v.journey;

-- name: kept_columns
-- The columns with values that traits had at entry.
SELECT column_name FROM duckdb_columns() WHERE table_name = 'enrollment' AND starts_with(column_name, 'v_') AND NOT internal ORDER BY column_name;

-- name: kept
-- Such a value of each passage.
SELECT e.eid, :value FROM enrollment AS e WHERE e.pid = :pid;
