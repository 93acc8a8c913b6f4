-- name: stands
-- Tasks as they stand.
SELECT k.task_id, CASE WHEN c.ended IS NOT NULL THEN c.ended WHEN coalesce(c.accepted_by, '') <> '' THEN 'accepted' ELSE 'open' END AS state,
  coalesce(c.team, k.team) AS team, CASE WHEN c.given IS NULL THEN k.assignee ELSE nullif(c.given, '') END AS assignee,
  k.title, k.priority, k.pid, v.journey, k.opened_at, coalesce(c.due_at, k.due_at) AS due_at, c.accepted_at, c.ended_at, c.outcome, c.ended_by, c.ended_why, k.live,
  coalesce(c.breaches, 0) > 0 AS was_breached, k.eid, k.jid, k.step, k.context, k.recent
FROM task AS k JOIN journey_version AS v ON v.jid = k.jid LEFT JOIN (
  SELECT h.task_id, max(CASE WHEN h.ends THEN h.change END) AS ended, max(CASE WHEN h.ends THEN h.ts END) AS ended_at,
    max(CASE WHEN h.ends THEN h.outcome END) AS outcome, max(CASE WHEN h.ends THEN h.by_ END) AS ended_by, max(CASE WHEN h.change = 'withdrawn' THEN h.note END) AS ended_why,
    max(h.due_at) AS due_at, count(*) FILTER (WHERE h.change = 'breached') AS breaches, min(h.ts) FILTER (WHERE h.change = 'accepted') AS accepted_at,
    max_by(h.team, (h.ts, coalesce(h.offset_, 0))) FILTER (WHERE h.team IS NOT NULL) AS team,
    max_by(CASE WHEN h.change = 'accepted' THEN h.by_ ELSE coalesce(h.assignee, '') END, (h.ts, coalesce(h.offset_, 0))) FILTER (WHERE h.change IN ('accepted', 'reassigned', 'escalated')) AS given,
    max_by(CASE WHEN h.change = 'accepted' THEN h.by_ ELSE '' END, (h.ts, coalesce(h.offset_, 0))) FILTER (WHERE h.change IN ('accepted', 'reassigned', 'escalated')) AS accepted_by
  FROM task_change AS h WHERE h.refused IS NULL GROUP BY h.task_id
) AS c ON c.task_id = k.task_id;

-- name: list
-- Some of them, the most urgent first.
SELECT s.* FROM slot_stands AS s
WHERE :wanted ORDER BY s.ended_at DESC NULLS FIRST, s.priority DESC, s.due_at, s.task_id LIMIT :most;

-- name: changes
-- What was done to a task.
SELECT ts, change, by_, outcome, team, assignee, note, refused, offset_ FROM task_change WHERE task_id = :task ORDER BY ts, coalesce(offset_, 0), wave, change;

-- name: passage
-- How its passage began.
SELECT e.entered_at, n.name, n.occurred_at, y.properties FROM enrollment AS e LEFT JOIN event AS n ON n.offset_ = e.entry_offset
LEFT JOIN event_payload AS y ON y.offset_ = e.entry_offset WHERE e.eid = :eid;

-- name: way
-- And went on, until the task was opened.
SELECT t.ts, t.cause, h.taken, s.path FROM transition AS t LEFT JOIN journey_hop AS h ON h.jid = t.jid AND h.hop = t.hop
LEFT JOIN journey_step AS s ON s.jid = t.jid AND s.step = t.to_step WHERE t.eid = :eid AND t.ts <= :opened ORDER BY t.ts, t.rowid;

-- name: definition
-- The version that opened it.
SELECT definition FROM journey_version WHERE jid = :jid;

-- name: step_path
-- And where.
SELECT path FROM journey_step WHERE jid = :jid AND step = :step;

-- name: decided
-- What became of a record about a task.
SELECT refused FROM task_change WHERE offset_ = :at;

-- name: consumed
-- How far the log is decided.
SELECT consumed FROM clock;

-- name: teams
-- How each team stands.
SELECT s.team, count(*) FILTER (WHERE s.ended_at IS NULL), count(*) FILTER (WHERE s.state = 'accepted'), count(*) FILTER (WHERE s.ended_at IS NULL AND s.due_at <= :now),
  count(*) FILTER (WHERE s.state = 'completed'), count(*) FILTER (WHERE s.state = 'breached'), count(*) FILTER (WHERE s.state = 'withdrawn'), count(*) FILTER (WHERE s.was_breached),
  median(date_diff('microsecond', s.opened_at, s.accepted_at)) / 1000000.0, median(date_diff('microsecond', s.opened_at, CASE WHEN s.state = 'completed' THEN s.ended_at END)) / 1000000.0
FROM slot_stands AS s WHERE s.live GROUP BY s.team ORDER BY s.team;
