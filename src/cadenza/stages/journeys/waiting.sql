-- name: w_clock
-- Until when those rest who have come to a wait by the clock: the first instant at which it shows the target or later.
CREATE OR REPLACE TEMP TABLE w_local AS
SELECT q.eid, q.known, min(greatest(z.utc_from, q.target - to_seconds(z.off_s))) AS until
FROM (
  SELECT l.eid, l.now, l.zone, l.known, date_trunc('day', l.local_) + to_days(CAST(CASE WHEN l.today IS NULL THEN l.days
      WHEN substr(l.today, l.weekday, 1) = '1' AND date_trunc('day', l.local_) + to_seconds(l.clock_s) > l.local_ THEN 0
      ELSE CAST(substr(l.ahead, l.weekday, 1) AS BIGINT) END AS INTEGER))
    + coalesce(to_seconds(l.clock_s), l.local_ - date_trunc('day', l.local_)) AS target
  FROM (
    SELECT g.*, r.off_s IS NOT NULL AS known, g.now + to_seconds(r.off_s) AS local_,
      CAST(isodow(g.now + to_seconds(r.off_s)) AS INTEGER) AS weekday
    FROM (
      SELECT m.eid, m.now, t.days, t.clock_s, t.today, t.ahead, coalesce(t.zone, :zone) AS zone
      FROM w_move AS m JOIN w_ctx AS c ON c.pid = m.pid JOIN t_local AS t ON t.jid = m.jid AND t.step = m.to_step WHERE t.form = 'clock'
    ) AS g LEFT JOIN tz_rule AS r ON r.tz = g.zone AND r.utc_from <= g.now AND g.now < r.utc_to
  ) AS l
) AS q LEFT JOIN tz_rule AS z ON z.tz = q.zone AND z.utc_to > q.now AND z.utc_from <= q.target + to_days(3) AND q.target - to_seconds(z.off_s) < z.utc_to
GROUP BY q.eid, q.known;

-- name: w_business
-- Until when those rest who have come to a wait for business hours: when so much open time has gone by.
CREATE OR REPLACE TEMP TABLE w_local AS
SELECT g.eid, g.known, u.until FROM (
  SELECT b.*, EXISTS (SELECT 1 FROM tz_rule AS r WHERE r.tz = b.zone) AS known FROM (
    SELECT m.eid, m.now, t.calendar, coalesce(t.zone, :zone) AS zone
    FROM w_move AS m JOIN w_ctx AS c ON c.pid = m.pid JOIN t_local AS t ON t.jid = m.jid AND t.step = m.to_step WHERE t.form = 'business'
  ) AS b
) AS g LEFT JOIN (
  SELECT k.eid, min(k.closes - to_microseconds(CAST(k.total - k.work_us AS BIGINT))) AS until FROM (
    SELECT o.eid, o.closes, o.work_us, sum(epoch_us(o.closes) - epoch_us(o.opens)) OVER (PARTITION BY o.eid ORDER BY o.opens, o.closes) AS total
    FROM (
      SELECT y.eid, y.work_us, greatest(y.now, (
        SELECT min(greatest(z.utc_from, y.opens - to_seconds(z.off_s))) FROM tz_rule AS z
        WHERE z.tz = y.zone AND z.utc_to > y.opens - to_days(2) AND z.utc_from <= y.opens + to_days(3) AND y.opens - to_seconds(z.off_s) < z.utc_to
      )) AS opens, (
        SELECT min(greatest(z.utc_from, y.closes - to_seconds(z.off_s))) FROM tz_rule AS z
        WHERE z.tz = y.zone AND z.utc_to > y.closes - to_days(2) AND z.utc_from <= y.closes + to_days(3) AND y.closes - to_seconds(z.off_s) < z.utc_to
      ) AS closes
      FROM (
        SELECT d.eid, d.now, d.zone, d.work_us, d.day + to_seconds(h.from_s) AS opens, d.day + to_seconds(h.to_s) AS closes
        FROM (
          SELECT e.eid, e.now, e.zone, e.calendar, e.work_us, e.today + to_days(CAST(e.ahead AS INTEGER)) AS day
          FROM (
            SELECT s.eid, s.now, s.zone, s.calendar, s.work_us, date_trunc('day', s.now + to_seconds(r.off_s)) AS today, unnest(range(-1, s.days + 1)) AS ahead
            FROM (
              SELECT m.eid, m.now, t.calendar, t.days, t.work_s * 1000000 AS work_us, coalesce(t.zone, :zone) AS zone
              FROM w_move AS m JOIN w_ctx AS c ON c.pid = m.pid JOIN t_local AS t ON t.jid = m.jid AND t.step = m.to_step WHERE t.form = 'business'
            ) AS s JOIN tz_rule AS r ON r.tz = s.zone AND r.utc_from <= s.now AND s.now < r.utc_to
          ) AS e
        ) AS d JOIN t_open AS h ON h.calendar = d.calendar AND h.weekday = CAST(isodow(d.day) AS INTEGER)
        ANTI JOIN t_holiday AS f ON f.calendar = d.calendar AND f.day = CAST(d.day AS DATE)
      ) AS y
    ) AS o WHERE o.closes > o.opens
  ) AS k WHERE k.total >= k.work_us GROUP BY k.eid
) AS u ON u.eid = g.eid;

-- name: w_move_local
-- They rest until then. Who has no zone (or whose calendar is gone) ends here.
UPDATE w_move SET wake_at = CASE WHEN l.until IS NOT NULL THEN least(l.until, w_move.limit_at) END,
  to_step = CASE WHEN l.until IS NULL THEN -1 ELSE w_move.to_step END, kind = CASE WHEN l.until IS NULL THEN 'end' ELSE w_move.kind END,
  reason = CASE WHEN l.until IS NOT NULL THEN w_move.reason WHEN l.known THEN 'no_calendar' ELSE 'no_time_zone' END
FROM w_local AS l WHERE l.eid = w_move.eid;

-- name: w_dated
-- Those who wait for a date, with the instant it means now: a value at midnight UTC is a date in their zone.
CREATE OR REPLACE TEMP TABLE w_dated AS
SELECT x.rid, x.eid, x.target, CASE WHEN x.target IS NULL THEN 'unknown' WHEN x.target < x.now THEN 'past' WHEN x.target = x.now THEN 'timer' END AS way,
  CASE WHEN x.target > x.now THEN least(x.target, x.limit_at) ELSE x.now END AS wake_at, x.was
FROM (
  SELECT q.rid, q.eid, q.now, q.limit_at, q.was,
    CASE WHEN q.by_clock THEN min(greatest(z.utc_from, q.target - to_seconds(z.off_s))) ELSE q.value END - to_seconds(q.minus_s) AS target
  FROM (
    SELECT v.*, v.clock_s IS NOT NULL OR v.plain AS by_clock,
      CASE WHEN v.clock_s IS NULL THEN v.value
        ELSE date_trunc('day', CASE WHEN v.plain THEN v.value ELSE v.value + to_seconds(r.off_s) END) - to_days(CAST(v.days AS INTEGER)) + to_seconds(v.clock_s) END AS target
    FROM (
      SELECT g.*, g.value = date_trunc('day', g.value) AS plain FROM (
        SELECT e.rid, e.eid, e.now, e.limit_at, e.wake_at AS was, t.clock_s, t.days, t.minus_s, coalesce(t.zone, :zone) AS zone, :value AS value
        FROM w_enr AS e JOIN w_ctx AS c ON c.pid = e.pid JOIN t_local AS t ON t.jid = e.jid AND t.step = e.step WHERE t.form = 'date'
      ) AS g
    ) AS v LEFT JOIN tz_rule AS r ON r.tz = v.zone AND r.utc_from <= v.value AND v.value < r.utc_to
  ) AS q LEFT JOIN tz_rule AS z ON q.by_clock AND z.tz = q.zone AND z.utc_to > q.target - to_days(2) AND z.utc_from <= q.target + to_days(3) AND q.target - to_seconds(z.off_s) < z.utc_to
  GROUP BY q.rid, q.eid, q.now, q.limit_at, q.was, q.by_clock, q.value, q.minus_s
) AS x;

-- name: enrollment_dated
-- A wait follows its date.
UPDATE enrollment SET wake_at = d.wake_at FROM w_dated AS d WHERE d.rid = enrollment.rowid AND d.was IS DISTINCT FROM d.wake_at;
