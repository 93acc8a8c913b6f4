-- name: w_choice
-- What governance says of each template of a send, and which stands for it: one that is open before one that waits, that
-- before one that is dropped now, that before one that may not be sent. ``class`` is 0 to 3.
CREATE OR REPLACE TEMP TABLE w_choice AS
SELECT z.*, row_number() OVER (PARTITION BY z.eid ORDER BY z.class, CASE WHEN z.class = 1 THEN z.until END, CASE WHEN z.class < 2 THEN z.score END DESC, z.place) AS rank_
FROM (
  SELECT y.eid, y.template, y.channel, y.place, CASE WHEN y.responses IS NOT NULL THEN y.messages END AS messages, y.responses, y.until, coalesce(y.barred, y.dropped, y.waits) AS reason, :score AS score,
    CASE WHEN y.barred IS NOT NULL THEN 3 WHEN y.dropped IS NOT NULL THEN 2 WHEN y.until IS NOT NULL THEN 1 ELSE 0 END AS class
  FROM (
    SELECT x.*,
      CASE WHEN x.reason NOT IN ('transactional', 'holdout', 'step_holdout') THEN x.reason END AS barred,
      CASE WHEN x.reason IN ('holdout', 'step_holdout') THEN x.reason WHEN x.reason IS NULL AND NOT x.known THEN 'no_time_zone' WHEN x.quiet_until > x.deadline THEN 'deadline'
        WHEN x.reason IS NULL AND x.quiet_until IS NULL AND (x.cap_drop OR x.cap_until > x.deadline) THEN 'cap' END AS dropped,
      CASE WHEN x.quiet_until IS NOT NULL THEN x.quiet_until WHEN x.reason IS NULL THEN x.cap_until END AS until,
      CASE WHEN x.quiet_until IS NOT NULL THEN x.closed WHEN x.reason IS NULL AND x.cap_until IS NOT NULL THEN 'cap' END AS waits
    FROM (
      SELECT g.eid, g.template, g.channel, g.place, g.reason, coalesce(q.known, TRUE) AS known, q.until AS quiet_until, q.closed, g.due_since + to_seconds(:deadline) AS deadline,
        :cap_drop AS cap_drop, :cap_until AS cap_until, :messages AS messages, :responses AS responses
      FROM w_gate AS g LEFT JOIN w_quiet AS q ON q.eid = g.eid AND :same_hours LEFT JOIN w_contact AS k ON k.eid = g.eid AND :same_caps JOIN slot_local ON TRUE
    ) AS x
  ) AS y
) AS z;

-- name: sent_before
-- How many messages the persons have had by the channels that they may be written to.
SELECT h.eid, h.template, count(*) AS messages FROM w_gate AS h JOIN message AS m ON m.pid = h.pid AND m.channel = h.channel
ANTI JOIN cancellation AS x ON x.message_id = m.message_id
ANTI JOIN (SELECT message_id FROM message_outcome WHERE name = 'Message Failed') AS f ON f.message_id = m.message_id
WHERE m.planned_at > h.now - to_seconds(:within) AND m.planned_at <= h.now GROUP BY h.eid, h.template;

-- name: choice
-- The templates of each send that had a choice, in the order written.
SELECT w.eid, list({'channel': w.channel, 'template': w.template, 'chosen': w.rank_ = 1, 'verdict': CASE w.class WHEN 0 THEN 'send' WHEN 1 THEN 'defer' ELSE 'drop' END, 'reason': w.reason,
  'until': CASE WHEN w.class = 1 THEN w.until END, 'worth': CASE WHEN w.class < 2 THEN w.score / 1000000.0 END, 'messages': w.messages, 'responses': w.responses} ORDER BY w.place) AS choice
FROM w_choice AS w GROUP BY w.eid HAVING count(*) > 1;
