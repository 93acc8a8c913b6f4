-- name: message
-- Messages to send, with the variables of their templates as they are now.
INSERT INTO message
SELECT printf('%016x', d.eid) || s.suffix, d.eid, d.pid, d.pid, d.jid, d.step, d.template, s.template_version, d.channel, d.destination,
  d.message_class, d.purpose, d.address, d.now, CAST(:context AS VARCHAR), d.now > getvariable('live_from'), getvariable('wave')
FROM w_verdict AS d JOIN t_send AS s ON s.jid = d.jid AND s.step = d.step AND s.template = d.template JOIN w_ctx AS c ON c.pid = d.pid JOIN slot_entry ON TRUE
WHERE d.verdict = 'send';

-- name: cancel_ended
-- Messages of ended passages that were not handed over, as far as was reported by then (also by records still queued).
INSERT INTO cancellation
SELECT m.message_id, x.now, x.reason, getvariable('wave') FROM message AS m JOIN w_end AS x ON x.eid = m.eid
ANTI JOIN (
  SELECT message_id, TIMESTAMP '0001-01-01' AS at_ FROM message_outcome
  UNION ALL SELECT p_message_id, recorded_at FROM t_queue WHERE kind = 'outcome'
) AS o ON o.message_id = m.message_id AND (o.at_ < x.now OR (o.at_ = x.now AND x.offset_ IS NOT NULL)) ANTI JOIN cancellation AS n ON n.message_id = m.message_id
WHERE m.deliverable;

-- name: cancel_withdrawn
-- Messages that consent or suppression of this wave forbids, if they were not handed over.
INSERT INTO cancellation
SELECT m.message_id, c.now, CASE WHEN :suppressed IN ('hard_bounce', 'complaint', 'legal') OR (:suppressed IS NOT NULL AND m.message_class = 'marketing') THEN 'suppressed' ELSE 'no_consent' END, getvariable('wave')
FROM message AS m JOIN w_ctx AS c ON c.pid = m.pid
ANTI JOIN (
  SELECT message_id, TIMESTAMP '0001-01-01' AS at_ FROM message_outcome
  UNION ALL SELECT p_message_id, recorded_at FROM t_queue WHERE kind = 'outcome'
) AS o ON o.message_id = m.message_id AND (o.at_ < c.now OR (o.at_ = c.now AND c.offset_ IS NOT NULL)) ANTI JOIN cancellation AS n ON n.message_id = m.message_id
WHERE m.deliverable AND (:suppressed IN ('hard_bounce', 'complaint', 'legal') OR (m.message_class = 'marketing' AND (:suppressed IS NOT NULL OR NOT :consented)));

-- name: outbox_span
-- Between which rows the messages to publish lie.
SELECT min(m.rowid), max(m.rowid) FROM message AS m WHERE m.deliverable AND (:chosen);

-- name: outbox_messages
-- The outbox's view of a page of messages, one JSON array in order of planning.
SELECT CAST(to_json(list({'message_id': m.message_id, 'person': m.pid, 'journey': v.journey, 'step': s.path, 'channel': m.channel,
  'destination': m.destination, 'address': m.address, 'template': m.template, 'template_version': m.template_version,
  'message_class': m.message_class, 'purpose': m.purpose, 'context': m.context, 'planned_at': epoch_us(m.planned_at), 'deliverable': m.deliverable}
  ORDER BY m.planned_at, m.message_id)) AS VARCHAR) AS rows_
FROM message AS m JOIN journey_version AS v ON v.jid = m.jid JOIN journey_step AS s ON s.jid = m.jid AND s.step = m.step
WHERE m.rowid >= getvariable('page_from') AND m.rowid < getvariable('page_to') AND m.deliverable AND (:chosen);

-- name: outbox_cancellations
-- The outbox's view of cancellations.
SELECT CAST(to_json(list([c.message_id, c.reason] ORDER BY c.message_id)) AS VARCHAR) AS rows_ FROM cancellation AS c WHERE :chosen;
