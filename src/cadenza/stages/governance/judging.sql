-- name: w_due
-- Candidate messages: passages that stand at a send and are due.
CREATE OR REPLACE TEMP TABLE w_due AS
SELECT m.rid, m.eid, m.pid, m.jid, m.key, m.to_step AS step, m.now, m.offset_, m.entered_at, m.limit_at, m.entry_offset, m.now AS due_since FROM w_move AS m WHERE m.kind = 'send';

-- name: w_due_waiting
-- And those that were deferred until now.
INSERT INTO w_due
SELECT s.rid, s.eid, s.pid, s.jid, s.key, s.step, s.now, s.offset_, s.entered_at, s.limit_at, s.entry_offset, s.due_since
FROM w_state AS s ANTI JOIN w_end AS x ON x.eid = s.eid JOIN t_stop AS t ON t.jid = s.jid AND t.step = s.step
WHERE t.kind = 'send' AND s.wake_at <= s.now;

-- name: w_due_only
-- The same when nobody arrives at a send in this wave.
CREATE OR REPLACE TEMP TABLE w_due AS
SELECT s.rid, s.eid, s.pid, s.jid, s.key, s.step, s.now, s.offset_, s.entered_at, s.limit_at, s.entry_offset, s.due_since
FROM w_state AS s ANTI JOIN w_end AS x ON x.eid = s.eid JOIN t_stop AS t ON t.jid = s.jid AND t.step = s.step
WHERE t.kind = 'send' AND s.wake_at <= s.now;

-- name: w_live_after
-- Which journeys the persons are in after this item's moves.
CREATE OR REPLACE TEMP TABLE w_live_after AS
SELECT l.pid, :journeys FROM (
  SELECT s.pid, s.jid, s.step FROM w_state AS s ANTI JOIN w_end AS x ON x.eid = s.eid ANTI JOIN (SELECT eid FROM w_move WHERE kind = 'end') AS m ON m.eid = s.eid
  UNION ALL SELECT pid, jid, to_step FROM w_move WHERE rid IS NULL AND kind <> 'end'
) AS l GROUP BY l.pid;

-- name: w_gate
-- The rules that need no counting, in their order; the local time where quiet hours apply.
CREATE OR REPLACE TEMP TABLE w_gate AS
SELECT d.*, :place, s.template, s.channel, s.purpose, s.message_class, s.destination, v.priority, v.journey, c.address_ AS address, c.suppressed_ AS suppressed,
  h.arm AS assigned, :arm AS arm, c.zone_ AS zone, c.jurisdiction_ AS jurisdiction, c.value_ AS value,
  CASE WHEN coalesce(c.address_, '') = '' THEN 'unreachable'
    WHEN c.suppressed_ IN ('hard_bounce', 'complaint', 'legal') OR (c.suppressed_ IS NOT NULL AND s.message_class = 'marketing') THEN 'suppressed'
    WHEN s.message_class <> 'marketing' THEN 'transactional'
    WHEN c.policy_ IS NOT NULL THEN 'policy'
    WHEN c.jurisdiction_ IS NULL THEN 'no_jurisdiction'
    WHEN NOT coalesce(c.consented_, FALSE) THEN 'no_consent'
    WHEN :arm = 'holdout' THEN 'holdout' END AS reason,
  c.policy_ AS policy
FROM w_due AS d JOIN t_send AS s ON s.jid = d.jid AND s.step = d.step JOIN t_version AS v ON v.jid = d.jid
JOIN (SELECT d.eid, :of, :address AS address_, :suppressed AS suppressed_, :policy AS policy_, :consented AS consented_, :zone AS zone_, :jurisdiction AS jurisdiction_, :value AS value_
  FROM w_due AS d JOIN t_send AS s ON s.jid = d.jid AND s.step = d.step JOIN slot_row AS c ON c.pid = d.pid) AS c ON c.eid = d.eid AND :same
LEFT JOIN (SELECT a.pid, min_by(a.arm, (a.ts, a.origin_pid)) AS arm FROM assignment AS a SEMI JOIN w_due AS e ON e.pid = a.pid WHERE a.holdout = :holdout GROUP BY a.pid) AS h ON h.pid = d.pid;

-- name: killed
-- What a kill switch covers is not sent.
UPDATE w_gate SET reason = 'killed', policy = k.covers FROM (VALUES :kills) AS k(journey, channel, covers)
WHERE (k.journey IS NULL OR k.journey = w_gate.journey) AND (k.channel IS NULL OR k.channel = w_gate.channel);

-- name: holdout_assignment
-- The global holdout's first assignment of a unit.
INSERT INTO assignment
SELECT :holdout, g.pid, g.pid, g.arm, :bucket, g.now, min(g.jid) FROM w_gate AS g
WHERE (g.reason IS NULL OR g.reason = 'holdout') AND g.assigned IS NULL GROUP BY g.pid, g.arm, g.now;

-- name: w_step_holdout
-- The arms of the candidates at steps that hold out, where nothing else keeps the message back for good.
CREATE OR REPLACE TEMP TABLE w_step_holdout AS
SELECT g.eid, g.pid, g.jid, g.now, g.priority, p.holdout, h.arm AS assigned, coalesce(h.arm, CASE WHEN :bucket < p.share_bp THEN 'holdout' ELSE 'treated' END) AS arm
FROM w_gate AS g JOIN (VALUES :steps) AS p(jid, step, holdout, share_bp) ON p.jid = g.jid AND p.step = g.step
LEFT JOIN (
  SELECT a.holdout, a.pid, min_by(a.arm, (a.ts, a.origin_pid)) AS arm FROM assignment AS a SEMI JOIN w_gate AS d ON d.pid = a.pid GROUP BY a.holdout, a.pid
) AS h ON h.pid = g.pid AND h.holdout = p.holdout WHERE g.reason IS NULL;

-- name: step_holdout
-- The message is withheld from those who are held out.
UPDATE w_gate SET reason = 'step_holdout', policy = h.holdout FROM w_step_holdout AS h WHERE h.eid = w_gate.eid AND w_gate.reason IS NULL AND h.arm = 'holdout';

-- name: step_assignment
-- The first assignment of a unit under a step's holdout.
INSERT INTO assignment
SELECT s.holdout, s.pid, s.pid, s.arm, :bucket, s.now, s.jid FROM w_step_holdout AS s WHERE s.assigned IS NULL
QUALIFY row_number() OVER (PARTITION BY s.holdout, s.pid ORDER BY s.priority DESC, s.eid) = 1;

-- name: w_verdict
-- The verdicts: one total order per person; only the first of several capped candidates is decided in this item.
CREATE OR REPLACE TEMP TABLE w_verdict AS
SELECT y.*, CASE WHEN y.blocked IS NOT NULL THEN 'drop' WHEN y.until IS NOT NULL THEN 'defer' WHEN y.reason = 'transactional' OR y.turn = 1 THEN 'send' ELSE 'wait' END AS verdict
FROM (
  SELECT x.*,
    CASE WHEN x.reason IS NOT NULL AND x.reason <> 'transactional' THEN x.reason WHEN x.reason IS NULL AND NOT x.known THEN 'no_time_zone'
      WHEN x.quiet_until > x.deadline THEN 'deadline' WHEN x.turn = 1 AND x.cap_drop THEN 'cap' WHEN x.turn = 1 AND x.cap_until > x.deadline THEN 'cap' END AS blocked,
    CASE WHEN x.quiet_until IS NOT NULL THEN x.quiet_until WHEN x.turn = 1 THEN x.cap_until END AS until
  FROM (
    SELECT g.*, coalesce(q.known, TRUE) AS known, q.until AS quiet_until, q.closed, g.due_since + to_seconds(:deadline) AS deadline,
      CASE WHEN g.reason IS NULL AND q.known AND q.until IS NULL THEN row_number() OVER (
        PARTITION BY g.pid, g.reason IS NULL AND q.known AND q.until IS NULL ORDER BY g.priority DESC, g.value DESC NULLS LAST, g.due_since, g.eid) END AS turn,
      :cap_drop AS cap_drop, :cap_until AS cap_until, :cap_rule AS cap_rule
    FROM w_gate AS g LEFT JOIN w_quiet AS q ON q.eid = g.eid AND :same_hours LEFT JOIN w_contact AS k ON k.eid = g.eid AND :same_caps JOIN slot_local ON TRUE
  ) AS x
) AS y;

-- name: decision
-- Every verdict is a row with its rule and evidence.
INSERT INTO decision
SELECT d.eid, d.pid, d.jid, d.step, d.now, d.verdict,
  CASE d.verdict WHEN 'drop' THEN d.blocked WHEN 'defer' THEN CASE WHEN d.quiet_until IS NOT NULL THEN d.closed ELSE 'cap' END END,
  CASE WHEN d.verdict = 'send' THEN NULL WHEN d.blocked IN ('policy', 'killed', 'step_holdout') THEN d.policy WHEN d.blocked = 'suppressed' THEN d.suppressed
    WHEN d.blocked = 'no_consent' THEN d.purpose || '/' || d.channel WHEN d.blocked = 'cap' OR (d.verdict = 'defer' AND d.quiet_until IS NULL) THEN d.cap_rule
    WHEN d.blocked = 'holdout' THEN :holdout WHEN d.blocked = 'no_time_zone' OR d.quiet_until IS NOT NULL THEN d.zone END,
  CASE WHEN d.verdict = 'defer' THEN d.until END,
  CAST(:evidence AS VARCHAR)
FROM w_verdict AS d JOIN slot_choice ON TRUE WHERE d.verdict <> 'wait';
