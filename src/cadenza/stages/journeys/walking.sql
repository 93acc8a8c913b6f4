-- name: w_enr
-- Live passages of the wave's persons.
CREATE OR REPLACE TEMP TABLE w_enr AS
SELECT e.rowid AS rid, e.eid, e.pid, e.jid, e.key, e.entered_at, e.limit_at, e.step, e.wake_at, e.due_since, e.entry_offset, :kept, w.now, w.offset_
FROM enrollment AS e JOIN w_p AS w ON w.pid = e.pid WHERE e.step >= 0;

-- name: w_state
-- Each live passage with the exits it has come to.
CREATE OR REPLACE TEMP TABLE w_state AS
SELECT e.*, v.journey, v.priority, v.arena, v.superseded, e.limit_at <= e.now AS overdue,
  CASE WHEN :goal THEN 'goal' WHEN :disqualified THEN 'disqualified' END AS reason
FROM w_enr AS e JOIN w_ctx AS c ON c.pid = e.pid JOIN t_version AS v ON v.jid = e.jid;

-- name: w_end
-- Who ends, and why; the order of the four exits decides.
CREATE OR REPLACE TEMP TABLE w_end AS
SELECT * FROM (
  SELECT s.rid, s.eid, s.pid, s.jid, s.step, s.now, s.offset_,
    CASE WHEN s.reason IS NOT NULL THEN s.reason WHEN y.pid IS NOT NULL THEN 'replaced' WHEN x.pid IS NOT NULL THEN 'superseded' WHEN s.overdue THEN 'time_limit' END AS reason
  FROM w_state AS s LEFT JOIN (SELECT pid, arena, journey, priority FROM w_entry WHERE verdict = 'enter' AND arena IS NOT NULL) AS x
  ON x.pid = s.pid AND x.arena = s.arena AND x.journey <> s.journey AND s.superseded AND s.priority < x.priority
  LEFT JOIN (SELECT pid, journey, key FROM w_entry WHERE verdict = 'enter' AND again = 'replace') AS y
  ON y.pid = s.pid AND y.journey = s.journey AND y.key = s.key AND NOT s.overdue
) AS e WHERE e.reason IS NOT NULL;

-- name: w_end_alone
-- The same when nobody enters.
CREATE OR REPLACE TEMP TABLE w_end AS
SELECT s.rid, s.eid, s.pid, s.jid, s.step, s.now, s.offset_, CASE WHEN s.reason IS NOT NULL THEN s.reason WHEN s.overdue THEN 'time_limit' END AS reason
FROM w_state AS s WHERE s.reason IS NOT NULL OR s.overdue;

-- name: w_go
-- Who goes on from where, and by which way.
CREATE OR REPLACE TEMP TABLE w_go AS
SELECT * FROM (
  SELECT s.rid, s.eid, s.pid, s.jid, s.key, s.step, s.now, s.offset_, s.entered_at, s.limit_at, s.entry_offset, CASE t.kind
    WHEN 'wait' THEN CASE WHEN s.wake_at <= s.now THEN 'timer' END
    WHEN 'wait_date' THEN :dated
    WHEN 'update' THEN CASE WHEN s.wake_at <= s.now THEN 'updated' END
    WHEN 'enter' THEN CASE WHEN s.wake_at <= s.now THEN 'asked' END
    WHEN 'start' THEN CASE WHEN s.wake_at <= s.now THEN 'restarted' END
    WHEN 'wait_for' THEN CASE WHEN :matched THEN 'matched' WHEN s.wake_at <= s.now THEN 'timeout' END END AS way
  FROM w_state AS s ANTI JOIN w_end AS x ON x.eid = s.eid JOIN t_stop AS t ON t.jid = s.jid AND t.step = s.step JOIN w_ctx AS c ON c.pid = s.pid
) AS g WHERE g.way IS NOT NULL;

-- name: w_go_entrants
-- And those who enter.
INSERT INTO w_go
SELECT NULL, eid, pid, jid, key, -2, now, offset_, now, now + to_seconds(limit_s), offset_, 'entered' FROM w_entry WHERE verdict = 'enter';

-- name: w_go_none
-- An empty frontier to which entrants are added.
CREATE OR REPLACE TEMP TABLE w_go AS
SELECT CAST(NULL AS BIGINT) AS rid, eid, pid, jid, key, CAST(-2 AS INTEGER) AS step, now, offset_, now AS entered_at, now + to_seconds(limit_s) AS limit_at, offset_ AS entry_offset, 'entered' AS way
FROM w_entry WHERE verdict = 'enter';

-- name: ways
-- By which ways passages go on; and where some end by an exit.
SELECT DISTINCT jid, step, way FROM w_go UNION ALL SELECT DISTINCT jid, step, NULL FROM w_end;

-- name: w_move
-- The walk to the next stop: through branches and splits, at once.
CREATE OR REPLACE TEMP TABLE w_move AS
SELECT m.*, h.to_step, h.reason, h.kind, CASE h.kind WHEN 'wait' THEN least(m.now + to_seconds(h.seconds), m.limit_at)
  WHEN 'hand_off' THEN least(m.now + to_seconds(h.seconds), m.limit_at)
  WHEN 'call' THEN least(m.now + to_seconds(h.seconds), m.limit_at)
  WHEN 'wait_for' THEN least(m.now + to_seconds(h.seconds), m.limit_at) WHEN 'end' THEN NULL ELSE least(m.now, m.limit_at) END AS wake_at
FROM (
  SELECT b.* EXCLUDE (fixed, resume, drawn), coalesce(b.fixed, :hop) AS hop FROM (
    SELECT g.*, y.hop AS fixed, y.resume, CASE WHEN y.split IS NOT NULL THEN :bucket END AS drawn
    FROM w_go AS g JOIN t_way AS y ON y.jid = g.jid AND y.step = g.step AND y.way = CASE WHEN g.way IN ('sent', 'dropped') THEN 'verdict' ELSE g.way END
  ) AS b JOIN w_ctx AS c ON c.pid = b.pid
) AS m JOIN t_hop AS h ON h.jid = m.jid AND h.hop = m.hop;

-- name: w_go_verdict
-- Who goes on from a send: its verdict is known.
CREATE OR REPLACE TEMP TABLE w_go_after AS
SELECT d.rid, d.eid, d.pid, d.jid, d.key, d.step, d.now, d.offset_, d.entered_at, d.limit_at, d.entry_offset, CASE d.verdict WHEN 'send' THEN 'sent' ELSE 'dropped' END AS way
FROM w_verdict AS d WHERE d.verdict IN ('send', 'drop');

-- name: w_rest
-- Where every passage of the wave rests now.
CREATE OR REPLACE TEMP TABLE w_rest AS
SELECT rid, eid, CAST(-1 AS INTEGER) AS step, CAST(NULL AS TIMESTAMP) AS wake_at, CAST(NULL AS TIMESTAMP) AS due_since FROM w_end
UNION ALL SELECT rid, eid, to_step, wake_at, CASE WHEN kind = 'send' THEN now END FROM w_move WHERE kind <> 'send';

-- name: w_rest_sends
-- And of those at a send: on, deferred, or waiting for its turn in this instant.
INSERT INTO w_rest
SELECT rid, eid, to_step, wake_at, CASE WHEN kind = 'send' THEN now END FROM w_move_after
UNION ALL SELECT rid, eid, step, least(CASE WHEN verdict = 'defer' THEN until ELSE now END, limit_at), due_since FROM w_verdict WHERE verdict IN ('defer', 'wait');

-- name: enrollment_new
-- Passages that begin.
INSERT INTO enrollment BY NAME
SELECT m.eid, m.pid, m.pid AS origin_pid, m.jid, m.key, m.entered_at, m.entry_offset, m.limit_at, r.step, r.wake_at, r.due_since
FROM w_move AS m JOIN w_rest AS r ON r.eid = m.eid WHERE m.rid IS NULL;

-- name: enrollment_rest
-- Passages that moved.
UPDATE enrollment SET step = r.step, wake_at = r.wake_at, due_since = r.due_since FROM w_rest AS r WHERE r.rid = enrollment.rowid AND r.rid IS NOT NULL;

-- name: enrollment_end
-- The one end of each passage.
INSERT INTO enrollment_end SELECT eid, pid, jid, now, reason FROM slot_ends AS x;

-- name: transition
-- Every move.
INSERT INTO transition SELECT m.eid, m.pid, m.jid, m.now, m.way, m.step, m.to_step, m.hop, m.offset_ FROM w_move AS m;

-- name: w_state_none
-- No live passage in the wave.
CREATE OR REPLACE TEMP TABLE w_state (rid BIGINT, eid BIGINT, pid BIGINT, jid INTEGER, key VARCHAR, step INTEGER, arena VARCHAR, journey VARCHAR, priority INTEGER, reason VARCHAR, overdue BOOLEAN, superseded BOOLEAN);

-- name: w_end_none
-- Nobody ends by an exit in the wave.
CREATE OR REPLACE TEMP TABLE w_end (rid BIGINT, eid BIGINT, pid BIGINT, jid INTEGER, step INTEGER, now TIMESTAMP, offset_ BIGINT, reason VARCHAR);
