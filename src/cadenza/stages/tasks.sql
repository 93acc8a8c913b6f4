-- name: w_said
-- What people say of tasks in this wave.
CREATE OR REPLACE TEMP TABLE w_said AS
SELECT s.*, k.eid FROM (
  SELECT r.offset_, w.pid, w.now, coalesce(x.said[1], '') AS task_id,
    CASE r.name WHEN 'Task Accepted' THEN 'accepted' WHEN 'Task Completed' THEN 'completed' WHEN 'Task Reassigned' THEN 'reassigned' ELSE 'commented' END AS change,
    nullif(x.said[2], '') AS by_, nullif(x.said[3], '') AS outcome, nullif(x.said[4], '') AS team, nullif(x.said[5], '') AS assignee, nullif(x.said[6], '') AS note
  FROM w_rec AS r JOIN w_res AS w ON w.offset_ = r.offset_ JOIN (
    SELECT q.offset_, json_extract_string(q.properties, ['$.task_id', '$.actor', '$.outcome', '$.team', '$.assignee', '$.note']) AS said FROM t_queue AS q WHERE q.kind = 'task'
  ) AS x ON x.offset_ = r.offset_
  WHERE r.name IN (:names)
) AS s LEFT JOIN task AS k ON k.task_id = s.task_id AND k.pid = s.pid;

-- name: task_said
-- Each is a row, with the reason where it has no effect: decided on what was before this item.
INSERT INTO task_change
SELECT s.task_id, s.pid, s.pid, s.now, s.change, s.by_, s.outcome, s.team, s.assignee, s.note, s.refused, s.refused IS NULL AND s.change = 'completed', NULL, s.offset_, getvariable('wave')
FROM (
  SELECT q.*, CASE WHEN q.eid IS NULL THEN 'unknown_task' WHEN q.change = 'commented' THEN NULL
    WHEN c.ended IS NOT NULL THEN 'already_' || c.ended
    WHEN q.change = 'accepted' AND q.by_ IS NULL THEN 'no_name'
    WHEN q.change = 'accepted' AND coalesce(c.accepted_by, '') <> '' AND c.accepted_by <> q.by_ THEN 'already_accepted'
    WHEN q.change = 'reassigned' AND q.team IS NULL AND q.assignee IS NULL THEN 'to_nobody'
    WHEN q.change = 'completed' AND y.way IS NULL THEN 'unknown_outcome' END AS refused
  FROM w_said AS q LEFT JOIN enrollment AS e ON e.eid = q.eid LEFT JOIN t_way AS y ON y.jid = e.jid AND y.step = e.step AND y.way = 'outcome:' || q.outcome
  LEFT JOIN (
    SELECT h.task_id, max(CASE WHEN h.ends THEN h.change END) AS ended,
      max_by(CASE WHEN h.change = 'accepted' THEN h.by_ ELSE '' END, (h.ts, coalesce(h.offset_, 0))) FILTER (WHERE h.refused IS NULL AND h.change IN ('accepted', 'reassigned', 'escalated')) AS accepted_by
    FROM task_change AS h SEMI JOIN w_said AS d ON d.task_id = h.task_id GROUP BY h.task_id
  ) AS c ON c.task_id = q.task_id
) AS s;

-- name: task_go
-- Passages whose task was completed in this wave go on by its outcome.
INSERT INTO w_go
SELECT s.rid, s.eid, s.pid, s.jid, s.key, s.step, s.now, s.offset_, s.entered_at, s.limit_at, s.entry_offset, 'outcome:' || c.outcome
FROM task_change AS c JOIN task AS k ON k.task_id = c.task_id JOIN w_state AS s ON s.eid = k.eid ANTI JOIN w_end AS x ON x.eid = s.eid
WHERE c.ends AND c.change = 'completed' AND c.wave = getvariable('wave');

-- name: w_sla
-- Passages whose task was not completed in its time: what becomes of it. First it is breached; where it passes to another
-- team, that comes second, and a breach of that team's time third.
CREATE OR REPLACE TEMP TABLE w_sla AS
SELECT d.*, CASE WHEN d.stage = 0 OR (d.stage = 2 AND d.again_s > 0) THEN 'breached' WHEN d.stage = 1 AND d.escalates THEN 'escalated' END AS change,
  d.arm AND d.stage = CASE WHEN d.escalates THEN 2 ELSE 0 END AS ends,
  CASE WHEN d.stage = 0 AND d.escalates THEN least(d.now + to_seconds(d.after_s), d.limit_at)
    WHEN d.stage = 1 AND d.again_s > 0 THEN least(d.now + to_seconds(d.again_s), d.limit_at) ELSE d.limit_at END AS wake_at
FROM (
  SELECT s.rid, s.eid, s.pid, s.jid, s.key, s.step, s.now, s.offset_, s.entered_at, s.limit_at, s.entry_offset, k.task_id, t.escalates, t.after_s, t.again_s, t.to_team, t.ends AS arm,
    (SELECT count(*) FROM task_change AS c WHERE c.task_id = k.task_id AND c.change IN ('breached', 'escalated')) AS stage
  FROM w_state AS s ANTI JOIN w_end AS x ON x.eid = s.eid JOIN t_task AS t ON t.jid = s.jid AND t.step = s.step
  JOIN task AS k ON k.eid = s.eid ANTI JOIN (SELECT task_id FROM task_change WHERE ends) AS n ON n.task_id = k.task_id
  WHERE s.wake_at <= s.now
) AS d;

-- name: task_sla
-- That is a row.
INSERT INTO task_change
SELECT d.task_id, d.pid, d.pid, d.now, d.change, NULL, NULL, CASE WHEN d.change = 'escalated' THEN d.to_team END, NULL, NULL, NULL, d.ends,
  CASE WHEN d.change = 'escalated' AND d.again_s > 0 THEN d.now + to_seconds(d.again_s) END, NULL, getvariable('wave')
FROM w_sla AS d WHERE d.change IS NOT NULL;

-- name: task_go_breached
-- Some go on.
INSERT INTO w_go
SELECT d.rid, d.eid, d.pid, d.jid, d.key, d.step, d.now, d.offset_, d.entered_at, d.limit_at, d.entry_offset, 'breached' FROM w_sla AS d WHERE d.ends;

-- name: task_wait
-- The others wait on.
UPDATE enrollment SET wake_at = d.wake_at FROM w_sla AS d WHERE d.rid = enrollment.rowid AND NOT d.ends;

-- name: task_left
-- Passages that ended by an exit leave no task open.
INSERT INTO task_change
SELECT k.task_id, x.pid, x.pid, x.now, 'withdrawn', NULL, NULL, NULL, NULL, x.reason, NULL, TRUE, NULL, NULL, getvariable('wave')
FROM w_end AS x JOIN task AS k ON k.eid = x.eid ANTI JOIN (SELECT task_id FROM task_change WHERE ends) AS n ON n.task_id = k.task_id;

-- name: task_adrift
-- Nor do those that a merge or a deployment ended or moved.
INSERT INTO task_change
SELECT k.task_id, e.pid, e.pid, coalesce(x.ts, getvariable('horizon')), 'withdrawn', NULL, NULL, NULL, NULL, coalesce(x.reason, 'moved'), NULL, TRUE, NULL, NULL, getvariable('wave')
FROM task AS k ANTI JOIN (SELECT task_id FROM task_change WHERE ends) AS n ON n.task_id = k.task_id
JOIN enrollment AS e ON e.eid = k.eid LEFT JOIN t_task AS t ON t.jid = e.jid AND t.step = e.step LEFT JOIN enrollment_end AS x ON x.eid = k.eid
WHERE t.jid IS NULL;

-- name: task
-- Passages that come to a hand-off open a task, with what the person looks like now.
INSERT INTO task
SELECT printf('%016x', m.eid) || '-' || substr(md5(t.path || '|' || CAST(epoch_us(m.now) AS VARCHAR)), 1, 8), m.eid, m.pid, m.pid, m.jid, m.to_step, m.now,
  m.now + to_seconds(t.due_s), t.team, t.assignee, t.title, t.priority, t.hold, :context, coalesce(l.recent, '[]'), m.now > getvariable('live_from')
FROM w_move AS m JOIN t_task AS t ON t.jid = m.jid AND t.step = m.to_step JOIN w_ctx AS c ON c.pid = m.pid
LEFT JOIN (
  SELECT r.eid, CAST(to_json(list({'event': r.name, 'at': strftime(r.occurred_at, '%Y-%m-%dT%H:%M:%S.%fZ'), 'properties': CAST(y.properties AS JSON)}
    ORDER BY r.occurred_at DESC, r.offset_ DESC)) AS VARCHAR) AS recent
  FROM (
    SELECT v.eid, v.name, v.occurred_at, v.offset_ FROM (
      SELECT m.eid, t.recent, e.name, e.occurred_at, e.offset_, row_number() OVER (PARTITION BY m.eid ORDER BY e.occurred_at DESC, e.offset_ DESC) AS n
      FROM w_move AS m JOIN t_task AS t ON t.jid = m.jid AND t.step = m.to_step JOIN slot_heard AS e ON e.pid = m.pid
      WHERE e.name IS NOT NULL AND (e.recorded_at < m.now OR e.offset_ = m.offset_)
    ) AS v WHERE v.n <= v.recent
  ) AS r LEFT JOIN slot_payload AS y ON y.offset_ = r.offset_ GROUP BY r.eid
) AS l ON l.eid = m.eid;

-- name: heard
-- What persons did, when nothing is queued.
SELECT e.pid, e.name, e.occurred_at, e.recorded_at, e.offset_ FROM event AS e;

-- name: heard_queued
-- And what is still in the queue because nothing reacts to it.
SELECT e.pid, e.name, e.occurred_at, e.recorded_at, e.offset_ FROM event AS e
UNION ALL
SELECT i.pid, q.name, q.occurred_at, q.recorded_at, q.offset_
FROM t_queue AS q JOIN (SELECT o.offset_, min(o.pid) AS pid FROM owners_ AS o GROUP BY o.offset_) AS i ON i.offset_ = q.offset_
ANTI JOIN event AS d ON d.offset_ = q.offset_;

-- name: payload
-- What records said.
SELECT y.offset_, y.properties FROM event_payload AS y;

-- name: payload_queued
-- Also those of this tick.
SELECT y.offset_, y.properties FROM event_payload AS y UNION ALL SELECT q.offset_, q.properties FROM t_queue AS q;

-- name: w_hold
-- Persons whose marketing waits for an open task, after this item's moves; and for which journey's.
CREATE OR REPLACE TEMP TABLE w_hold AS
SELECT k.pid, min(v.journey) AS journey FROM task AS k JOIN w_p AS w ON w.pid = k.pid JOIN t_version AS v ON v.jid = k.jid
ANTI JOIN (SELECT task_id FROM task_change WHERE ends) AS n ON n.task_id = k.task_id WHERE k.hold GROUP BY k.pid;

-- name: wake_released
-- Where a deployment ended the last task that holds a person, what was put off is due.
UPDATE enrollment SET wake_at = getvariable('horizon') FROM (
  SELECT e.eid FROM enrollment AS e JOIN t_stop AS t ON t.jid = e.jid AND t.step = e.step AND t.kind = 'send'
  SEMI JOIN (SELECT c.pid FROM task_change AS c JOIN task AS k ON k.task_id = c.task_id WHERE c.ends AND k.hold AND c.wave = getvariable('wave')) AS r ON r.pid = e.pid
  ANTI JOIN (SELECT k.pid FROM task AS k ANTI JOIN (SELECT task_id FROM task_change WHERE ends) AS n ON n.task_id = k.task_id WHERE k.hold) AS h ON h.pid = e.pid
  ANTI JOIN paused AS p ON p.eid = e.eid AND p.since IS NOT NULL
  WHERE e.wake_at > getvariable('horizon')
) AS w WHERE w.eid = enrollment.eid;

-- name: w_due_released
-- Messages that were put off are asked again when the last task that holds their person has ended.
INSERT INTO w_due
SELECT s.rid, s.eid, s.pid, s.jid, s.key, s.step, s.now, s.offset_, s.entered_at, s.limit_at, s.entry_offset, s.due_since
FROM w_state AS s ANTI JOIN w_end AS x ON x.eid = s.eid JOIN t_stop AS t ON t.jid = s.jid AND t.step = s.step AND t.kind = 'send'
SEMI JOIN (SELECT c.pid FROM task_change AS c JOIN task AS k ON k.task_id = c.task_id WHERE c.ends AND k.hold AND c.wave = getvariable('wave')) AS r ON r.pid = s.pid
ANTI JOIN w_hold AS h ON h.pid = s.pid ANTI JOIN paused AS p ON p.eid = s.eid AND p.since IS NOT NULL
WHERE s.wake_at > s.now;

-- name: w_held
-- Marketing candidates of persons whose marketing waits.
CREATE OR REPLACE TEMP TABLE w_held AS
SELECT d.*, s.template, s.channel, s.message_class, v.priority, h.journey AS holder, d.due_since + to_seconds(:deadline) AS until,
  CASE WHEN d.due_since + to_seconds(:deadline) <= d.now THEN 'drop' ELSE 'defer' END AS verdict
FROM w_due AS d JOIN t_send AS s ON s.jid = d.jid AND s.step = d.step JOIN t_version AS v ON v.jid = d.jid JOIN w_hold AS h ON h.pid = d.pid
WHERE s.message_class = 'marketing';

-- name: held_away
-- They are not asked for anything else.
DELETE FROM w_due USING w_held WHERE w_held.eid = w_due.eid;

-- name: held_decision
-- Their verdict is a row like any other.
INSERT INTO decision
SELECT d.eid, d.pid, d.jid, d.step, d.now, d.verdict, 'hand_off', d.holder, CASE WHEN d.verdict = 'defer' THEN d.until END,
  CAST(to_json({'channel': d.channel, 'class': d.message_class, 'template': d.template, 'priority': d.priority, 'due_since': d.due_since, 'zone': NULL}) AS VARCHAR)
FROM w_held AS d;

-- name: held_verdict
-- And they rest, or go on, like any other.
INSERT INTO w_verdict BY NAME
SELECT d.rid, d.eid, d.pid, d.jid, d.key, d.step, d.now, d.offset_, d.entered_at, d.limit_at, d.entry_offset, d.due_since, d.until, d.verdict FROM w_held AS d;
