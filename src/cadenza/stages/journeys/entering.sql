-- name: w_cand
-- Candidates of the journeys whose trigger fired.
CREATE OR REPLACE TEMP TABLE w_cand AS
SELECT c.pid, c.now, c.offset_, t.jid, t.journey, t.priority, t.arena, t.again, t.again_s, t.holdout, t.share_bp, t.keyed, t.limit_s,
  :fires AS fires, :late AS late, :key AS key, :qualifies AS qualifies, :withheld AS withheld
FROM (
  SELECT x.pid, t.jid FROM w_ctx AS x JOIN t_trigger AS t ON t.event = x.name
  UNION ALL
  SELECT x.pid, t.jid FROM w_ctx AS x JOIN t_trigger AS t ON t.change = 'entered' OR t.change = 'left' WHERE :changed
) AS f JOIN w_ctx AS c ON c.pid = f.pid JOIN t_trigger AS t ON t.jid = f.jid;

-- name: w_cand_events
-- The same when no segment changed.
CREATE OR REPLACE TEMP TABLE w_cand AS
SELECT c.pid, c.now, c.offset_, t.jid, t.journey, t.priority, t.arena, t.again, t.again_s, t.holdout, t.share_bp, t.keyed, t.limit_s,
  :fires AS fires, :late AS late, :key AS key, :qualifies AS qualifies, :withheld AS withheld
FROM w_ctx AS c JOIN t_trigger AS t ON t.event = c.name;

-- name: w_cand_asked
-- And of the journeys that passages are about to enter, with their key.
INSERT INTO w_cand
SELECT c.pid, c.now, c.offset_, t.jid, t.journey, t.priority, t.arena, t.again, t.again_s, t.holdout, t.share_bp, t.keyed, t.limit_s,
  TRUE AS fires, FALSE AS late, CASE WHEN t.keyed THEN nullif(s.key, '') END AS key, :qualifies AS qualifies, :withheld AS withheld
FROM w_state AS s JOIN t_enter AS n ON n.jid = s.jid AND n.step = s.step JOIN t_trigger AS t ON t.journey = n.journey JOIN w_ctx AS c ON c.pid = s.pid
WHERE s.wake_at <= s.now AND (s.reason IS NULL OR n.leaving) AND NOT s.overdue;

-- name: w_judged
-- Refusals in their order: key, qualification, suppression, re-entry, priority of those inside. What is left may enter.
CREATE OR REPLACE TEMP TABLE w_judged AS
SELECT k.pid, k.now, k.offset_, k.jid, k.journey, k.priority, k.arena, k.holdout, k.share_bp, k.limit_s, coalesce(k.key, '') AS key, k.again, a.arm AS assigned,
  coalesce(a.arm, CASE WHEN k.holdout IS NULL THEN 'treated' WHEN :bucket < k.share_bp THEN 'holdout' ELSE 'treated' END) AS arm,
  CASE WHEN k.keyed AND k.key IS NULL THEN 'no_key'
    WHEN k.withheld IS NULL OR k.withheld THEN 'suppressed'
    WHEN (coalesce(p.running, FALSE) AND (k.again <> 'replace' OR p.last_at >= k.now)) OR (k.again = 'unless_goal' AND p.reached) OR (k.again = 'once' AND p.pid IS NOT NULL) OR (k.again = 'after' AND p.last_at + to_seconds(k.again_s) > k.now) OR p.last_at >= k.now THEN 're_entry'
    WHEN b.pid IS NOT NULL THEN 'priority' END AS reason,
  CASE WHEN k.keyed AND k.key IS NULL THEN 'key'
    WHEN k.withheld IS NULL OR k.withheld THEN 'unless'
    WHEN coalesce(p.running, FALSE) AND (k.again <> 'replace' OR p.last_at >= k.now) THEN 'running' WHEN k.again = 'unless_goal' AND p.reached THEN 'goal'
    WHEN k.again = 'once' AND p.pid IS NOT NULL THEN 'once'
    WHEN k.again = 'after' AND p.last_at + to_seconds(k.again_s) > k.now THEN 'after'
    WHEN p.last_at >= k.now THEN 'running' WHEN b.pid IS NOT NULL THEN k.arena END AS rule
FROM w_cand AS k
LEFT JOIN (
  SELECT e.pid, v.journey, e.key, max(e.entered_at) AS last_at,
    bool_or(e.step >= 0 AND coalesce(s.reason IS NULL AND NOT s.overdue, FALSE)) AS running,
    bool_or(coalesce(s.reason = 'goal', FALSE) OR :reached) AS reached
  FROM enrollment AS e SEMI JOIN w_cand AS d ON d.pid = e.pid JOIN t_version AS v ON v.jid = e.jid LEFT JOIN w_state AS s ON s.eid = e.eid
  GROUP BY e.pid, v.journey, e.key
) AS p ON p.pid = k.pid AND p.journey = k.journey AND p.key = coalesce(k.key, '')
LEFT JOIN (
  SELECT DISTINCT d.pid, d.jid FROM w_cand AS d JOIN w_state AS s ON s.pid = d.pid AND s.arena = d.arena
  WHERE s.journey <> d.journey AND s.priority >= d.priority AND s.reason IS NULL AND NOT s.overdue
) AS b ON b.pid = k.pid AND b.jid = k.jid
LEFT JOIN (
  SELECT h.holdout, h.pid, min_by(h.arm, (h.ts, h.origin_pid)) AS arm FROM assignment AS h SEMI JOIN w_cand AS d ON d.pid = h.pid GROUP BY h.holdout, h.pid
) AS a ON a.pid = k.pid AND a.holdout = k.holdout
WHERE k.fires AND NOT k.late AND (k.qualifies OR (k.keyed AND k.key IS NULL));

-- name: w_programme
-- The arms of the candidates whose journeys belong to a programme, under its holdout.
CREATE OR REPLACE TEMP TABLE w_programme AS
SELECT k.pid, k.journey, p.holdout, p.share_bp, h.arm AS assigned, coalesce(h.arm, CASE WHEN :bucket < p.share_bp THEN 'holdout' ELSE 'treated' END) AS arm
FROM (SELECT DISTINCT pid, journey FROM w_judged WHERE reason IS NULL) AS k JOIN (VALUES :programmes) AS p(journey, holdout, share_bp) ON p.journey = k.journey
LEFT JOIN (
  SELECT a.holdout, a.pid, min_by(a.arm, (a.ts, a.origin_pid)) AS arm FROM assignment AS a SEMI JOIN w_judged AS d ON d.pid = a.pid GROUP BY a.holdout, a.pid
) AS h ON h.pid = k.pid AND h.holdout = p.holdout;

-- name: programme_held
-- Whom a programme holds out, the journey's own holdout is not asked about.
UPDATE w_judged SET holdout = p.holdout, share_bp = p.share_bp, assigned = p.assigned, arm = 'holdout' FROM w_programme AS p
WHERE p.pid = w_judged.pid AND p.journey = w_judged.journey AND p.arm = 'holdout';

-- name: programme_assignment
-- The first assignment of those whom their programme treats.
INSERT INTO assignment
SELECT p.holdout, e.pid, e.pid, p.arm, :bucket, e.now, e.jid FROM w_entry AS e JOIN w_programme AS p ON p.pid = e.pid AND p.journey = e.journey
WHERE p.arm = 'treated' AND p.assigned IS NULL AND e.verdict IN ('enter', 'holdout')
QUALIFY row_number() OVER (PARTITION BY p.holdout, e.pid ORDER BY e.priority DESC, e.journey) = 1;

-- name: w_entry
-- In an arena the best candidate that is not held out enters; those behind it are refused.
CREATE OR REPLACE TEMP TABLE w_entry AS
SELECT j.*, CASE WHEN j.reason IS NOT NULL THEN j.reason WHEN j.arena IS NOT NULL AND j.rank_ > coalesce(j.first_, j.rank_) THEN 'priority'
  WHEN j.arm = 'holdout' THEN 'holdout' WHEN j.turn > 1 THEN 're_entry' ELSE 'enter' END AS verdict,
  CAST(md5_number_upper(j.journey || '|' || CAST(j.pid AS VARCHAR) || '|' || j.key || '|' || CAST(epoch_us(j.now) AS VARCHAR)) >> 1 AS BIGINT) AS eid
FROM (
  SELECT r.*, min(CASE WHEN r.reason IS NULL AND r.arm <> 'holdout' THEN r.rank_ END) OVER (PARTITION BY r.pid, r.arena) AS first_
  FROM (
    SELECT w.*, dense_rank() OVER (PARTITION BY w.pid, w.arena ORDER BY w.priority DESC, w.journey) AS rank_,
      row_number() OVER (PARTITION BY w.pid, w.jid, w.key ORDER BY w.offset_) AS turn
    FROM w_judged AS w
  ) AS r
) AS j;

-- name: refusal
-- Every refusal is a row.
INSERT INTO refusal
SELECT pid, jid, now, key, verdict, CASE verdict WHEN 'priority' THEN arena WHEN 'holdout' THEN holdout WHEN 're_entry' THEN coalesce(rule, 'running') ELSE rule END, offset_
FROM w_entry WHERE verdict <> 'enter';

-- name: nonqualified
-- Plain non-qualification is counted.
INSERT INTO nonqualified
SELECT jid, date_trunc('hour', now), CASE WHEN late THEN 'late' WHEN qualifies IS NULL THEN 'when_unknown' ELSE 'when' END, count(*)
FROM w_cand WHERE fires AND (late OR (NOT (keyed AND key IS NULL) AND (qualifies IS NULL OR NOT qualifies))) GROUP BY ALL;

-- name: assignment
-- The first assignment of a unit under a holdout.
INSERT INTO assignment
SELECT holdout, pid, pid, arm, :bucket, now, jid FROM w_entry AS k
WHERE verdict IN ('enter', 'holdout') AND holdout IS NOT NULL AND assigned IS NULL
QUALIFY row_number() OVER (PARTITION BY holdout, pid ORDER BY priority DESC, journey) = 1;
