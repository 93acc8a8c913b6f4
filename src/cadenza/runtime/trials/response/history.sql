-- What the history says of how often things happen to people, and of what people do when they get a message. Days are
-- counted back from the instant :since; day 0 begins at :start. Everything is cut at :since. Accounts, which are
-- numbered from 2^62 on, are no people.

-- name: sim_span
-- In which cell (the sum of the bits of the segments that hold) each person was on which days, from the day after they
-- came: a day belongs to the cell in which it begins.
CREATE OR REPLACE TABLE sim_span AS
WITH born AS (
  SELECT pid, greatest(CAST(floor((epoch_us(created_at) - epoch_us(:start)) / 86400000000) AS INTEGER) + 1, 0) AS day
  FROM person WHERE merged_into IS NULL AND pid < :first_account AND created_at < :since
),
told AS (
  SELECT m.pid, b.bit, m.entered, greatest(CAST(ceil((epoch_us(m.ts) - epoch_us(:start)) / 86400000000) AS INTEGER), n.day) AS day, m.ts, m.rowid AS place
  FROM membership AS m JOIN born AS n ON n.pid = m.pid JOIN (SELECT * FROM (VALUES :bits) AS b(segment, bit)) AS b ON b.segment = m.segment
  WHERE m.ts < :since
),
last AS (
  SELECT pid, bit, day, entered FROM told
  QUALIFY row_number() OVER (PARTITION BY pid, bit, day ORDER BY ts DESC, place DESC) = 1
),
turned AS (
  SELECT pid, day, (CAST(entered AS INTEGER) - coalesce(lag(CAST(entered AS INTEGER)) OVER (PARTITION BY pid, bit ORDER BY day), 0)) * bit AS delta FROM last
),
mark AS (
  SELECT pid, day, CAST(sum(delta) AS BIGINT) AS delta FROM (SELECT pid, day, 0 AS delta FROM born UNION ALL SELECT pid, day, delta FROM turned) AS u GROUP BY pid, day
),
span AS (
  SELECT pid, CAST(sum(delta) OVER (PARTITION BY pid ORDER BY day) AS BIGINT) AS cell, day AS from_day,
    coalesce(lead(day) OVER (PARTITION BY pid ORDER BY day), :days) AS to_day
  FROM mark
)
SELECT pid, cell, from_day, to_day FROM span WHERE from_day < :days ORDER BY pid, from_day;

-- name: exposure
-- Person-days of each cell on each day.
SELECT s.cell AS cell, d.day AS day, count(*) AS people
FROM sim_span AS s JOIN (SELECT CAST(unnest(range(:days)) AS INTEGER) AS day) AS d ON d.day >= s.from_day AND d.day < s.to_day
GROUP BY s.cell, d.day ORDER BY cell, day;

-- name: sim_happened
-- What people did on those days, but for what answers a message.
CREATE OR REPLACE TABLE sim_happened AS
SELECT h.name, s.cell, h.pid, h.day, h.offset_, h.type, h.at_us - h.day * 86400000000 AS within_us
FROM (
  SELECT e.name, e.pid, e.offset_, e.type, epoch_us(e.recorded_at) - epoch_us(:start) AS at_us,
    CAST(floor((epoch_us(e.recorded_at) - epoch_us(:start)) / 86400000000) AS INTEGER) AS day
  FROM event AS e LEFT JOIN message AS m ON m.message_id = e.p_message_id
  WHERE e.recorded_at >= :start AND e.recorded_at < :since AND e.type IN ('track', 'page', 'screen') AND e.name IN (:names)
    AND m.message_id IS NULL
) AS h JOIN sim_span AS s ON s.pid = h.pid AND h.day >= s.from_day AND h.day < s.to_day
ORDER BY h.name, h.offset_;

-- name: happened_by_cell
SELECT name, cell, count(*) AS n FROM sim_happened GROUP BY name, cell ORDER BY name, cell;

-- name: happened_by_day
SELECT name, day, count(*) AS n FROM sim_happened GROUP BY name, day ORDER BY name, day;

-- name: newcomers
-- How many came on each day.
SELECT CAST(floor((epoch_us(created_at) - epoch_us(:start)) / 86400000000) AS INTEGER) AS day, count(*) AS n
FROM person WHERE merged_into IS NULL AND pid < :first_account AND created_at >= :start AND created_at < :since
GROUP BY CAST(floor((epoch_us(created_at) - epoch_us(:start)) / 86400000000) AS INTEGER) ORDER BY day;

-- name: newcomer_records
-- What some of those who came were recorded with on the day on which they came, but for what answers a message.
SELECT e.pid AS pid, e.offset_ AS offset_, epoch_us(e.recorded_at) - epoch_us(:start) - c.day * 86400000000 AS within_us
FROM (
  SELECT pid, day FROM (
    SELECT pid, CAST(floor((epoch_us(created_at) - epoch_us(:start)) / 86400000000) AS BIGINT) AS day FROM person
    WHERE merged_into IS NULL AND pid < :first_account AND created_at >= :start AND created_at < :since
  ) AS b ORDER BY md5_number_upper(CAST(pid AS VARCHAR)), pid LIMIT :most
) AS c JOIN event AS e ON e.pid = c.pid LEFT JOIN message AS m ON m.message_id = e.p_message_id
WHERE e.recorded_at >= :start AND epoch_us(e.recorded_at) - epoch_us(:start) < (c.day + 1) * 86400000000 AND e.recorded_at < :since AND m.message_id IS NULL
ORDER BY e.pid, e.offset_;

-- name: sim_expected
-- How many of each event were expected of each person (in thousand millionths), by the rates of the cells.
CREATE OR REPLACE TABLE sim_expected AS
SELECT r.number, s.pid, CAST(sum((s.to_day - s.from_day) * r.rate) AS BIGINT) AS nano
FROM sim_span AS s JOIN sim_rate AS r ON r.cell = s.cell GROUP BY r.number, s.pid;

-- name: excess
-- Of each event: what was expected of everybody, how far people differ from it, how many people there are. Whole numbers
-- add up to the same in any order.
SELECT x.number AS number, CAST(sum(x.nano) AS BIGINT) AS expected, count(*) AS people,
  CAST(sum(CAST(round(1e6 * power(coalesce(h.n, 0) - x.nano / 1e9, 2) / (x.nano / 1e9)) AS BIGINT)) AS BIGINT) AS excess
FROM sim_expected AS x JOIN sim_event AS v ON v.number = x.number
LEFT JOIN (SELECT name, pid, count(*) AS n FROM sim_happened GROUP BY name, pid) AS h ON h.name = v.name AND h.pid = x.pid
WHERE x.nano > 0 GROUP BY x.number ORDER BY number;

-- name: sim_propensity
-- How much more than expected each person does each thing, in thousand millionths: their history, shrunk to the cell's.
CREATE OR REPLACE TABLE sim_propensity AS
SELECT x.number, x.pid, CAST(round(1e9 * (s.shape / 1e6 + coalesce(h.n, 0)) / (s.shape / 1e6 + x.nano / 1e9)) AS BIGINT) AS weight
FROM sim_expected AS x JOIN sim_event AS v ON v.number = x.number JOIN sim_shape AS s ON s.number = x.number
LEFT JOIN (SELECT name, pid, count(*) AS n FROM sim_happened GROUP BY name, pid) AS h ON h.name = v.name AND h.pid = x.pid
ORDER BY x.number, x.pid;

-- name: repeats
-- Of each event and declared text: how many values there are, and how many different ones.
SELECT h.name AS name, :counts FROM sim_happened AS h JOIN event AS e ON e.offset_ = h.offset_ GROUP BY h.name ORDER BY name;

-- name: sim_donor
-- Events that happen again: when on their day, and what they said; a value that identifies the event is marked. Those of
-- a cell, and those of all cells under -1.
CREATE OR REPLACE TABLE sim_donor AS
WITH said AS (
  SELECT v.number, h.cell, h.offset_, h.type, h.within_us, CASE WHEN y.properties IS NULL THEN '{}' ELSE :properties END AS properties
  FROM sim_happened AS h JOIN sim_event AS v ON v.name = h.name JOIN event AS e ON e.offset_ = h.offset_
  LEFT JOIN event_payload AS y ON y.offset_ = h.offset_
)
SELECT number, cell, row_number() OVER (PARTITION BY number, cell ORDER BY offset_) - 1 AS nth, type, within_us, properties FROM said
UNION ALL SELECT number, -1, row_number() OVER (PARTITION BY number ORDER BY offset_) - 1, type, within_us, properties FROM said;

-- name: sim_pool
CREATE OR REPLACE TABLE sim_pool AS SELECT number, cell, count(*) AS size FROM sim_donor GROUP BY number, cell HAVING cell = -1 OR count(*) >= :few;

-- name: sim_sent
-- Messages that really went out, early enough for their answers to be in.
CREATE OR REPLACE TABLE sim_sent AS
SELECT m.message_id, m.channel, m.planned_at, coalesce(s.cell, 0) AS cell
FROM (SELECT *, CAST(floor((epoch_us(planned_at) - epoch_us(:start)) / 86400000000) AS INTEGER) AS day FROM message) AS m
LEFT JOIN (SELECT pid, cell, to_day, CASE WHEN from_day = min(from_day) OVER (PARTITION BY pid) THEN 0 ELSE from_day END AS from_day FROM sim_span) AS s
  ON s.pid = m.pid AND m.day >= s.from_day AND m.day < s.to_day
ANTI JOIN cancellation AS c ON c.message_id = m.message_id
WHERE m.deliverable AND m.planned_at >= :start AND m.planned_at < :since - to_seconds(:within_s);

-- name: sim_answered
-- What became of them within that time: the first of each kind.
CREATE OR REPLACE TABLE sim_answered AS
SELECT s.message_id, s.channel, s.cell, e.name, e.offset_, epoch_us(e.occurred_at) - epoch_us(s.planned_at) AS delay_us
FROM sim_sent AS s JOIN event AS e ON e.p_message_id = s.message_id
WHERE e.name IN (:names) AND e.recorded_at < :since AND e.occurred_at <= s.planned_at + to_seconds(:within_s)
QUALIFY row_number() OVER (PARTITION BY s.message_id, e.name ORDER BY e.offset_) = 1;

-- name: answers
-- By channel and cell: how many messages, and of them how many failed, ...; each later one among those that did arrive.
SELECT channel, cell, count(*) AS planned, count(*) FILTER (WHERE failed) AS failed, count(*) FILTER (WHERE NOT failed AND sent) AS sent,
  count(*) FILTER (WHERE NOT failed AND bounced) AS bounced, count(*) FILTER (WHERE arrived) AS arrived,
  count(*) FILTER (WHERE arrived AND delivered) AS delivered, count(*) FILTER (WHERE arrived AND opened) AS opened,
  count(*) FILTER (WHERE arrived AND opened AND clicked) AS clicked, count(*) FILTER (WHERE arrived AND NOT opened AND clicked) AS blind,
  count(*) FILTER (WHERE arrived AND unsubscribed) AS unsubscribed, count(*) FILTER (WHERE arrived AND complained) AS complained
FROM (
  SELECT *, NOT failed AND NOT bounced AS arrived FROM (
    SELECT s.channel, s.cell, coalesce(bool_or(a.name = 'Message Failed'), FALSE) AS failed, coalesce(bool_or(a.name = 'Message Sent'), FALSE) AS sent,
      coalesce(bool_or(a.name = 'Email Bounced'), FALSE) AS bounced, coalesce(bool_or(a.name = 'Email Delivered'), FALSE) AS delivered,
      coalesce(bool_or(a.name = 'Email Opened'), FALSE) AS opened, coalesce(bool_or(a.name = 'Email Link Clicked'), FALSE) AS clicked,
      coalesce(bool_or(a.name = 'Unsubscribed'), FALSE) AS unsubscribed, coalesce(bool_or(a.name = 'Email Marked as Spam'), FALSE) AS complained
    FROM sim_sent AS s LEFT JOIN sim_answered AS a ON a.message_id = s.message_id GROUP BY s.message_id, s.channel, s.cell
  ) AS f
) AS g GROUP BY channel, cell ORDER BY channel, cell;

-- name: sim_echo
-- Answers that come again: how long after the message (a click after an opening: after that), and what they said.
CREATE OR REPLACE TABLE sim_echo AS
SELECT k.channel, k.kind, row_number() OVER (PARTITION BY k.channel, k.kind ORDER BY k.offset_) - 1 AS nth, greatest(k.delay_us, 0) AS delay_us,
  coalesce(y.properties, '{}') AS properties
FROM (
  SELECT a.channel, a.offset_, CASE a.name WHEN 'Message Failed' THEN 'failed' WHEN 'Message Sent' THEN 'sent' WHEN 'Email Bounced' THEN 'bounced'
      WHEN 'Email Delivered' THEN 'delivered' WHEN 'Email Opened' THEN 'opened' WHEN 'Unsubscribed' THEN 'unsubscribed'
      WHEN 'Email Marked as Spam' THEN 'complained' ELSE CASE WHEN o.message_id IS NULL THEN 'blind' ELSE 'clicked' END END AS kind,
    a.delay_us - CASE WHEN a.name = 'Email Link Clicked' THEN coalesce(o.delay_us, 0) ELSE 0 END AS delay_us
  FROM sim_answered AS a LEFT JOIN sim_answered AS o ON o.message_id = a.message_id AND o.name = 'Email Opened'
) AS k LEFT JOIN event_payload AS y ON y.offset_ = k.offset_;

-- name: sim_echoes
CREATE OR REPLACE TABLE sim_echoes AS SELECT channel, kind, count(*) AS size FROM sim_echo GROUP BY channel, kind;

-- name: effect
-- Of each event and holdout: units, those who got a message, how often it happened, and its squares, in the :within_s after
-- a unit was assigned, by arm. Only units whom a message that really went out could
-- reach by then, assigned early enough.
WITH unit AS (
  SELECT a.holdout, a.pid, a.arm, a.ts FROM assignment AS a
  WHERE a.ts > (SELECT coalesce(min(planned_at), TIMESTAMP '9999-01-01') FROM message WHERE deliverable) - to_seconds(:within_s) AND a.ts >= :start AND a.ts < :since - to_seconds(:within_s)
  QUALIFY row_number() OVER (PARTITION BY a.holdout, a.pid ORDER BY a.ts, a.origin_pid, a.bucket) = 1
    AND min(a.arm) OVER (PARTITION BY a.holdout, a.pid) = max(a.arm) OVER (PARTITION BY a.holdout, a.pid)
),
reached AS (
  SELECT u.holdout, u.pid, count(m.message_id) > 0 AS got FROM unit AS u
  LEFT JOIN message AS m ON m.pid = u.pid AND m.deliverable AND m.message_class = 'marketing' AND m.planned_at >= u.ts AND m.planned_at < u.ts + to_seconds(:within_s)
  GROUP BY u.holdout, u.pid
),
counted AS (
  SELECT v.name, u.holdout, u.pid, u.arm, count(h.offset_) AS n
  FROM unit AS u CROSS JOIN sim_event AS v
  LEFT JOIN (SELECT h.offset_, h.pid, h.name, e.recorded_at FROM sim_happened AS h JOIN event AS e ON e.offset_ = h.offset_) AS h
    ON h.pid = u.pid AND h.name = v.name AND h.recorded_at > u.ts AND h.recorded_at < u.ts + to_seconds(:within_s)
  GROUP BY v.name, u.holdout, u.pid, u.arm
)
SELECT c.name AS name, c.holdout AS holdout, c.arm AS arm, count(*) AS units, count(*) FILTER (WHERE r.got) AS got, CAST(sum(c.n) AS BIGINT) AS n,
  CAST(sum(c.n * c.n) AS BIGINT) AS squares
FROM counted AS c JOIN reached AS r ON r.holdout = c.holdout AND r.pid = c.pid
GROUP BY c.name, c.holdout, c.arm ORDER BY name, holdout, arm;

-- name: recent
-- The person-days that begin within :within_s after a message, and all of them.
SELECT (SELECT count(*) FROM (
    SELECT DISTINCT s.pid, d.day FROM sim_span AS s JOIN (SELECT CAST(unnest(range(:days)) AS INTEGER) AS day) AS d ON d.day >= s.from_day AND d.day < s.to_day
    JOIN message AS m ON m.pid = s.pid AND m.deliverable AND m.message_class = 'marketing' AND m.planned_at <= :start + to_days(d.day)
      AND m.planned_at > :start + to_days(d.day) - to_seconds(:within_s)
  ) AS k) AS recent, (SELECT coalesce(CAST(sum(to_day - from_day) AS BIGINT), 0) FROM sim_span) AS whole;
