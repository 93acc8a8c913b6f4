-- name: w_local
-- When the local days, weeks (from Monday) and months of the candidates' instants begin, and the next ones; exact over changes of the clock.
CREATE OR REPLACE TEMP TABLE w_local AS
SELECT l.eid, :periods FROM (
  SELECT g.eid, g.zone, g.now, g.now + to_seconds(r.off_s) AS local_
  FROM w_gate AS g JOIN tz_rule AS r ON r.tz = g.zone AND r.utc_from <= g.now AND g.now < r.utc_to WHERE g.reason IS NULL
) AS l JOIN tz_rule AS z ON z.tz = l.zone AND z.utc_to > l.now - to_seconds(2851200) AND z.utc_from <= l.now + to_seconds(2851200)
GROUP BY l.eid;

-- name: w_contact
-- How much contact the persons of capped candidates have had.
CREATE OR REPLACE TEMP TABLE w_contact AS
SELECT g.eid, :of, :counts FROM w_gate AS g JOIN message AS m ON m.pid = g.pid JOIN slot_joins ON TRUE
ANTI JOIN cancellation AS x ON x.message_id = m.message_id
ANTI JOIN (SELECT message_id FROM message_outcome WHERE name = 'Message Failed') AS f ON f.message_id = m.message_id
WHERE g.reason IS NULL AND m.message_class = 'marketing' AND m.planned_at > g.now - to_seconds(:longest) AND m.planned_at <= g.now
GROUP BY g.eid, :of;

-- name: w_contact_none
-- Without caps nothing is counted.
CREATE OR REPLACE TEMP TABLE w_contact AS SELECT g.eid, :of FROM w_gate AS g WHERE FALSE;
