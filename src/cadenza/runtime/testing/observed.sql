-- What the persons of a run of journey tests went through, all at once.

-- name: people
-- Who came of the first record of each person.
SELECT e.offset_, e.pid FROM event AS e WHERE e.offset_ IN (:offsets) ORDER BY e.offset_;

-- name: passages
-- Every enrollment, and its end.
SELECT e.pid, e.eid, v.journey, e.entered_at, x.ts, x.reason
FROM enrollment e
JOIN journey_version v ON v.jid = e.jid
LEFT JOIN enrollment_end x ON x.eid = e.eid
ORDER BY e.pid, e.entered_at, e.eid;

-- name: moves
-- Every move between resting steps.
SELECT m.eid, m.ts, m.cause, m.from_step, m.to_step, f.path, t.kind, t.path, h.taken
FROM transition m
LEFT JOIN journey_step f ON f.jid = m.jid AND f.step = m.from_step
LEFT JOIN journey_step t ON t.jid = m.jid AND t.step = m.to_step
LEFT JOIN journey_hop h ON h.jid = m.jid AND h.hop = m.hop
ORDER BY m.eid, m.ts, m.from_step, m.to_step;

-- name: verdicts
-- Every verdict on a candidate message.
SELECT d.pid, v.journey, d.ts, coalesce(json_extract_string(d.evidence, '$.template'), s.template) AS template, d.verdict, d.reason, d.rule, d.until
FROM decision d
JOIN journey_version v ON v.jid = d.jid
JOIN journey_step s ON s.jid = d.jid AND s.step = d.step
ORDER BY d.pid, d.ts, d.eid, d.step;

-- name: messages
-- Every message decided to be sent.
SELECT g.pid, v.journey, g.planned_at, g.template, g.channel, g.address, g.message_id, g.context
FROM message g
JOIN journey_version v ON v.jid = g.jid
ORDER BY g.pid, g.planned_at, g.wave, g.message_id;

-- name: refusals
-- Every refused candidate.
SELECT r.pid, v.journey, r.ts, r.reason, r.rule
FROM refusal r
JOIN journey_version v ON v.jid = r.jid
ORDER BY r.pid, r.ts, v.journey, r.rule;

-- name: unqualified
-- Journeys that somebody did not qualify for.
SELECT DISTINCT v.journey FROM nonqualified n JOIN journey_version v ON v.jid = n.jid ORDER BY v.journey;

-- name: families
-- Who was merged into whom.
SELECT p.merged_into, p.pid FROM person p WHERE p.merged_into IS NOT NULL ORDER BY p.merged_into, p.pid;

-- name: open_task
-- The task of a person that was opened last and has not ended.
SELECT t.pid, t.task_id FROM task t JOIN event e ON e.pid = t.pid AND e.offset_ = :first
ANTI JOIN task_change c ON c.task_id = t.task_id AND c.ends
ORDER BY t.opened_at DESC, t.task_id LIMIT 1;

-- name: open_call
-- The call of a person that was put last and is waited for.
SELECT k.pid, k.call_id FROM service_call k JOIN event e ON e.pid = k.pid AND e.offset_ = :first
JOIN enrollment n ON n.eid = k.eid AND n.jid = k.jid AND n.step = k.step
ANTI JOIN service_answer a ON a.call_id = k.call_id AND a.result IN ('answered', 'failed')
WHERE k.refused IS NULL ORDER BY k.planned_at DESC, k.call_id LIMIT 1;
