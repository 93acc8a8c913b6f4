-- name: w_quiet
-- Hours in which a channel rests, in the person's zone: until when to wait, exact over changes of the clock.
CREATE OR REPLACE TEMP TABLE w_quiet AS
SELECT q.eid, :of_found, q.known, q.closed, min(CASE WHEN q.opens_s IS NOT NULL THEN greatest(z.utc_from, q.target - to_seconds(z.off_s)) END) AS until
FROM (
  SELECT l.eid, l.zone, l.now, l.known, :of_local, c.opens_s, c.reason AS closed, date_trunc('week', l.local_) + to_seconds(c.opens_s) AS target
  FROM (
    SELECT g.eid, g.zone, g.now, g.channel, g.jurisdiction, :of, r.off_s IS NOT NULL OR NOT (:local) AS known, g.now + to_seconds(r.off_s) AS local_,
      epoch_us(g.now + to_seconds(r.off_s) - date_trunc('week', g.now + to_seconds(r.off_s))) / 1000000.0 AS week_s
    FROM w_gate AS g LEFT JOIN tz_rule AS r ON r.tz = g.zone AND r.utc_from <= g.now AND g.now < r.utc_to WHERE g.reason IS NULL
  ) AS l LEFT JOIN t_closed AS c ON c.channel = l.channel AND c.jurisdiction = l.jurisdiction AND c.from_s <= l.week_s AND l.week_s < c.to_s
) AS q LEFT JOIN tz_rule AS z ON q.opens_s IS NOT NULL AND z.tz = q.zone AND z.utc_to > q.now AND z.utc_from <= q.now + to_seconds(864000) AND q.target - to_seconds(z.off_s) < z.utc_to
GROUP BY q.eid, :of_found, q.known, q.closed;

-- name: w_quiet_none
-- Without quiet hours nobody waits.
CREATE OR REPLACE TEMP TABLE w_quiet AS SELECT g.eid, :of, TRUE AS known, CAST(NULL AS VARCHAR) AS closed, CAST(NULL AS TIMESTAMP) AS until FROM w_gate AS g WHERE g.reason IS NULL;
