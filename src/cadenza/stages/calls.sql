-- name: w_answer
-- What services answered in this wave, beside the call it is of: open while its passage waits there and nothing came yet.
CREATE OR REPLACE TEMP TABLE w_answer AS
SELECT r.offset_, w.pid, w.now, coalesce(r.p_message_id, '') AS call_id, r.name, k.eid, e.jid, e.step, x.said,
  CASE WHEN k.eid IS NULL THEN 'unknown' WHEN t.jid IS NULL OR d.call_id IS NOT NULL THEN 'late' WHEN r.name = 'Call Failed' THEN 'failed' ELSE 'answered' END AS result
FROM w_rec AS r JOIN w_res AS w ON w.offset_ = r.offset_ JOIN (
  SELECT q.offset_, json_extract_string(q.properties, '$.answer') AS said FROM t_queue AS q WHERE q.kind = 'outcome'
) AS x ON x.offset_ = r.offset_
LEFT JOIN service_call AS k ON k.call_id = r.p_message_id AND k.pid = w.pid AND k.refused IS NULL
LEFT JOIN enrollment AS e ON e.eid = k.eid
LEFT JOIN t_call AS t ON t.jid = e.jid AND t.step = e.step AND printf('%016x', e.eid) || t.suffix = k.call_id
LEFT JOIN (SELECT DISTINCT call_id FROM service_answer WHERE result IN ('answered', 'failed')) AS d ON d.call_id = k.call_id
WHERE r.name IN (:names);

-- name: w_answer_value
-- What the answers hold for the traits that they set.
CREATE OR REPLACE TEMP TABLE w_answer_value AS
SELECT v.*, :fits AS fits FROM (
  SELECT a.offset_, a.pid, a.now, a.eid, m.number, m.trait, m.kind, CASE WHEN json_valid(a.said) THEN json_extract_string(a.said, m.path) END AS value
  FROM w_answer AS a JOIN t_answer AS m ON m.jid = a.jid AND m.step = a.step WHERE a.result = 'answered'
) AS v;

-- name: call_answer
-- Each is a row. An answer that lacks a value, or holds one of another type, has failed; the first in order says why.
INSERT INTO service_answer
SELECT a.call_id, a.pid, a.pid, a.now, CASE WHEN b.trait IS NOT NULL THEN 'failed' ELSE a.result END,
  CASE WHEN b.trait IS NOT NULL THEN b.reason WHEN a.result = 'failed' THEN 'refused' END, b.trait, a.offset_, getvariable('wave')
FROM w_answer AS a LEFT JOIN (
  SELECT v.offset_, min_by(v.trait, v.number) AS trait, min_by(CASE WHEN v.value IS NULL THEN 'missing' ELSE 'wrong_type' END, v.number) AS reason
  FROM w_answer_value AS v WHERE NOT v.fits GROUP BY v.offset_
) AS b ON b.offset_ = a.offset_;

-- name: call_answer_plain
-- The same where no call takes anything from its answer.
INSERT INTO service_answer
SELECT a.call_id, a.pid, a.pid, a.now, a.result, CASE WHEN a.result = 'failed' THEN 'refused' END, NULL, a.offset_, getvariable('wave') FROM w_answer AS a;

-- name: answer_trait
-- What a whole answer sets.
INSERT INTO trait_value
SELECT v.pid, v.pid, v.trait, v.value, v.now, v.now, getvariable('wave'), v.eid, v.offset_, 'journey'
FROM w_answer_value AS v SEMI JOIN (SELECT offset_ FROM service_answer WHERE result = 'answered') AS c ON c.offset_ = v.offset_;

-- name: call_go
-- Passages whose call was answered, or has failed, in this wave go on.
INSERT INTO w_go
SELECT s.rid, s.eid, s.pid, s.jid, s.key, s.step, s.now, s.offset_, s.entered_at, s.limit_at, s.entry_offset, c.result
FROM service_answer AS c JOIN service_call AS k ON k.call_id = c.call_id JOIN w_state AS s ON s.eid = k.eid ANTI JOIN w_end AS x ON x.eid = s.eid
WHERE c.result IN ('answered', 'failed') AND c.wave = getvariable('wave');

-- name: call_go_due
-- So do those whose time is up, and those whose call was not allowed.
INSERT INTO w_go
SELECT s.rid, s.eid, s.pid, s.jid, s.key, s.step, s.now, s.offset_, s.entered_at, s.limit_at, s.entry_offset, CASE WHEN k.refused IS NULL THEN 'unanswered' ELSE 'failed' END
FROM w_state AS s ANTI JOIN w_end AS x ON x.eid = s.eid ANTI JOIN w_go AS g ON g.eid = s.eid JOIN t_call AS t ON t.jid = s.jid AND t.step = s.step
LEFT JOIN service_call AS k ON k.call_id = printf('%016x', s.eid) || t.suffix
WHERE s.wake_at <= s.now;

-- name: call
-- Passages that come to a call put their question, with what it sends as it is now; or may not.
INSERT INTO service_call
SELECT printf('%016x', m.eid) || t.suffix, m.eid, m.pid, m.pid, m.jid, m.to_step, t.destination, t.channel, t.purpose, m.now, :context, :refused,
  m.now > getvariable('live_from'), getvariable('wave')
FROM w_move AS m JOIN t_call AS t ON t.jid = m.jid AND t.step = m.to_step JOIN w_ctx AS c ON c.pid = m.pid JOIN slot_joins ON TRUE;

-- name: call_refused
-- Who may not goes on at once.
UPDATE w_move SET wake_at = least(w_move.now, w_move.limit_at) FROM service_call AS k
WHERE k.eid = w_move.eid AND k.step = w_move.to_step AND k.refused IS NOT NULL AND k.wave = getvariable('wave');

-- name: cancel_ended
-- Calls of passages that ended by an exit and were not handed over, as far as was reported by then.
INSERT INTO cancellation
SELECT k.call_id, x.now, x.reason, getvariable('wave') FROM service_call AS k JOIN w_end AS x ON x.eid = k.eid
ANTI JOIN slot_told AS o ON o.message_id = k.call_id AND (o.at_ < x.now OR (o.at_ = x.now AND x.offset_ IS NOT NULL)) ANTI JOIN cancellation AS n ON n.message_id = k.call_id
WHERE k.deliverable AND k.refused IS NULL;

-- name: cancel_unanswered
-- And of those that wait no longer.
INSERT INTO cancellation
SELECT k.call_id, g.now, 'unanswered', getvariable('wave') FROM service_call AS k JOIN w_go AS g ON g.eid = k.eid AND g.way = 'unanswered'
ANTI JOIN slot_told AS o ON o.message_id = k.call_id AND (o.at_ < g.now OR (o.at_ = g.now AND g.offset_ IS NOT NULL)) ANTI JOIN cancellation AS n ON n.message_id = k.call_id
WHERE k.deliverable AND k.refused IS NULL;

-- name: cancel_withdrawn
-- And those that consent or suppression of this wave forbids.
INSERT INTO cancellation
SELECT k.call_id, c.now, CASE WHEN :suppressed IN (:strong) THEN 'suppressed' ELSE 'no_consent' END, getvariable('wave') FROM service_call AS k JOIN w_ctx AS c ON c.pid = k.pid
ANTI JOIN slot_told AS o ON o.message_id = k.call_id AND (o.at_ < c.now OR (o.at_ = c.now AND c.offset_ IS NOT NULL)) ANTI JOIN cancellation AS n ON n.message_id = k.call_id
WHERE k.deliverable AND k.refused IS NULL AND k.purpose IS NOT NULL AND (coalesce(:suppressed IN (:strong), FALSE) OR NOT :consented);

-- name: told
-- What delivery has reported, also by records still queued.
SELECT message_id, TIMESTAMP '0001-01-01' AS at_ FROM message_outcome
UNION ALL SELECT p_message_id, recorded_at FROM t_queue WHERE kind = 'outcome';

-- name: cancel_stopped
-- Calls of a journey that is stopped.
INSERT INTO cancellation
SELECT k.call_id, getvariable('horizon'), 'stopped', getvariable('wave') FROM service_call AS k SEMI JOIN w_stopped AS w ON w.eid = k.eid
ANTI JOIN message_outcome AS o ON o.message_id = k.call_id ANTI JOIN cancellation AS n ON n.message_id = k.call_id WHERE k.deliverable AND k.refused IS NULL;

-- name: cancel_killed
-- Calls in the reach of a kill switch.
INSERT INTO cancellation
SELECT k.call_id, getvariable('horizon'), 'killed', getvariable('wave') FROM service_call AS k JOIN journey_version AS v ON v.jid = k.jid
ANTI JOIN message_outcome AS o ON o.message_id = k.call_id ANTI JOIN cancellation AS n ON n.message_id = k.call_id
WHERE k.deliverable AND k.refused IS NULL AND (CAST(:journey AS VARCHAR) IS NULL OR v.journey = :journey) AND (CAST(:channel AS VARCHAR) IS NULL OR k.channel = :channel);

-- name: outbox_span
-- Between which rows the calls to publish lie.
SELECT min(k.rowid), max(k.rowid) FROM service_call AS k WHERE k.deliverable AND k.refused IS NULL AND (:chosen);

-- name: outbox_calls
-- The outbox's view of a page of calls, one JSON array in order of planning.
SELECT CAST(to_json(list({'message_id': k.call_id, 'person': k.pid, 'journey': v.journey, 'step': s.path, 'channel': k.channel,
  'destination': k.destination, 'address': '', 'template': '', 'template_version': '', 'message_class': 'call', 'purpose': coalesce(k.purpose, ''),
  'context': k.context, 'planned_at': epoch_us(k.planned_at), 'deliverable': TRUE} ORDER BY k.planned_at, k.call_id)) AS VARCHAR) AS rows_
FROM service_call AS k JOIN journey_version AS v ON v.jid = k.jid JOIN journey_step AS s ON s.jid = k.jid AND s.step = k.step
WHERE k.rowid >= getvariable('page_from') AND k.rowid < getvariable('page_to') AND k.deliverable AND k.refused IS NULL AND (:chosen);

-- name: outbox_cancellations
-- The outbox's view of cancellations of calls that no outcome is known of.
SELECT CAST(to_json(list([n.message_id, n.reason] ORDER BY n.message_id)) AS VARCHAR) AS rows_ FROM cancellation AS n WHERE :chosen;
