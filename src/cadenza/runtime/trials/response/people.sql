-- A day of people in a store of its own: what they do, and how they answer messages. Chance is the MD5 of a name: the same
-- for the same seed, whatever the order, the engine's threads and the size of a batch.

-- name: sim_cell
-- The cell of every person as the day begins.
CREATE OR REPLACE TEMP TABLE sim_cell AS SELECT pid, CAST(:cell AS BIGINT) AS cell FROM profile WHERE pid < :first_account;

-- name: sim_touched
-- Who got a message not long ago. Those of the simulation count as delivered.
CREATE OR REPLACE TEMP TABLE sim_touched AS
SELECT DISTINCT pid FROM message
WHERE message_class = 'marketing' AND (deliverable OR planned_at > :since) AND planned_at > :day - to_seconds(:within_s) AND planned_at <= :day;

-- name: sim_stand
-- Everybody behind one another, for each event, as wide as their rate (in thousand millionths a day).
CREATE OR REPLACE TEMP TABLE sim_stand AS
SELECT number, pid, CAST(sum(weight) OVER (PARTITION BY number ORDER BY pid) AS BIGINT) AS upto FROM (
  SELECT v.number, c.pid,
    CAST(round(coalesce(r.rate, v.rate) / 1e9 * coalesce(p.weight, 1000000000) * CASE WHEN t.pid IS NULL THEN 1.0 ELSE v.lift / 1e9 END) AS BIGINT) AS weight
  FROM sim_cell AS c CROSS JOIN sim_chance AS v
  LEFT JOIN sim_chances AS r ON r.number = v.number AND r.cell = c.cell
  LEFT JOIN sim_propensity AS p ON p.number = v.number AND p.pid = c.pid
  LEFT JOIN sim_touched AS t ON t.pid = c.pid
) AS w WHERE weight > 0;

-- name: totals
SELECT number, max(upto) AS total FROM sim_stand GROUP BY number ORDER BY number;

-- name: arrivals
-- What happens on the day: each event to somebody, as something like it happened before.
WITH aimed AS (
  SELECT d.number, d.total, :key || ':' || CAST(d.number AS VARCHAR) || ':' || CAST(d.nth AS VARCHAR) AS tag
  FROM (SELECT number, total, unnest(range(n)) AS nth FROM sim_drawn) AS d
),
placed AS (
  SELECT number, tag, least(CAST(floor(total * (CAST(md5_number_upper(tag || ':who') AS DOUBLE) / 18446744073709551616)) AS BIGINT), total - 1) AS at_, CAST(NULL AS BIGINT) AS pid
  FROM aimed
  UNION ALL SELECT number, NULL, upto, pid FROM sim_stand
),
hit AS (
  -- Whoever reaches beyond the place, and nobody before them does. (An ASOF join takes time by the square here.)
  SELECT number, tag, who AS pid FROM (
    SELECT number, tag, last_value(pid IGNORE NULLS) OVER (PARTITION BY number ORDER BY at_ DESC, tag IS NULL, tag ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS who
    FROM placed
  ) AS f WHERE tag IS NOT NULL
),
chosen AS (
  SELECT h.number, h.tag, h.pid, coalesce(p.cell, -1) AS cell,
    least(CAST(floor(coalesce(p.size, q.size) * (CAST(md5_number_upper(h.tag || ':what') AS DOUBLE) / 18446744073709551616)) AS BIGINT), coalesce(p.size, q.size) - 1) AS nth
  FROM hit AS h JOIN sim_cell AS c ON c.pid = h.pid LEFT JOIN sim_pool AS p ON p.number = h.number AND p.cell = c.cell
  JOIN sim_pool AS q ON q.number = h.number AND q.cell = -1
)
SELECT epoch_us(:day) + d.within_us AS at_us, c.tag AS tag,
  CAST(json_object('type', d.type, 'event', v.name, 'person', c.pid, 'occurred_at', epoch_us(:day) + d.within_us,
    'properties', CAST(replace(d.properties, :mark, c.tag) AS JSON)) AS VARCHAR) AS body
FROM chosen AS c JOIN sim_donor AS d ON d.number = c.number AND d.cell = c.cell AND d.nth = c.nth JOIN sim_event AS v ON v.number = c.number
ORDER BY at_us, tag;

-- name: answers
-- What becomes of the messages planned after :after up to :upto. Nobody answers sooner than :soonest (microseconds) after.
WITH told AS (
  SELECT m.message_id, m.pid, m.channel, epoch_us(m.planned_at) AS planned_us, v.journey, s.path, m.template, :key || m.message_id AS tag, a.*
  FROM message AS m JOIN journey_version AS v ON v.jid = m.jid JOIN journey_step AS s ON s.jid = m.jid AND s.step = m.step
  LEFT JOIN sim_cell AS c ON c.pid = m.pid LEFT JOIN (SELECT pid, CAST(:cell AS BIGINT) AS cell FROM profile) AS p ON p.pid = m.pid
  JOIN (SELECT DISTINCT channel, cell FROM sim_share) AS k ON k.channel = m.channel
  JOIN (SELECT channel AS of_channel, cell AS of_cell, failed, sent, bounced, delivered, opened, clicked, blind, unsubscribed, complained FROM sim_share) AS a
    ON a.of_channel = m.channel AND a.of_cell = k.cell
  WHERE m.planned_at > :after AND m.planned_at <= :upto
  QUALIFY row_number() OVER (PARTITION BY m.message_id ORDER BY k.cell = coalesce(c.cell, p.cell, -1) DESC, k.cell) = 1
),
tossed AS (
  SELECT *, arrived AND NOT opens AND CAST(md5_number_upper(tag || ':blind') AS DOUBLE) / 18446744073709551616 < blind / 1e9 AS blinds,
    opens AND CAST(md5_number_upper(tag || ':clicked') AS DOUBLE) / 18446744073709551616 < clicked / 1e9 AS clicks
  FROM (
    SELECT *, arrived AND CAST(md5_number_upper(tag || ':opened') AS DOUBLE) / 18446744073709551616 < opened / 1e9 AS opens FROM (
      SELECT *, NOT fails AND NOT bounces AS arrived FROM (
        SELECT *, NOT fails AND CAST(md5_number_upper(tag || ':bounced') AS DOUBLE) / 18446744073709551616 < bounced / 1e9 AS bounces FROM (
          SELECT *, CAST(md5_number_upper(tag || ':failed') AS DOUBLE) / 18446744073709551616 < failed / 1e9 AS fails FROM told
        ) AS f
      ) AS b
    ) AS r
  ) AS o
),
answered AS (
  SELECT message_id, pid, channel, planned_us, journey, path, template, tag, kind FROM (
    SELECT *, unnest([
      CASE WHEN fails THEN 'failed' END, CASE WHEN bounces THEN 'bounced' END, CASE WHEN opens THEN 'opened' END,
      CASE WHEN clicks THEN 'clicked' END, CASE WHEN blinds THEN 'blind' END,
      CASE WHEN NOT fails AND CAST(md5_number_upper(tag || ':sent') AS DOUBLE) / 18446744073709551616 < sent / 1e9 THEN 'sent' END,
      CASE WHEN arrived AND CAST(md5_number_upper(tag || ':delivered') AS DOUBLE) / 18446744073709551616 < delivered / 1e9 THEN 'delivered' END,
      CASE WHEN arrived AND CAST(md5_number_upper(tag || ':unsubscribed') AS DOUBLE) / 18446744073709551616 < unsubscribed / 1e9 THEN 'unsubscribed' END,
      CASE WHEN arrived AND CAST(md5_number_upper(tag || ':complained') AS DOUBLE) / 18446744073709551616 < complained / 1e9 THEN 'complained' END
    ]) AS kind FROM tossed
  ) AS u WHERE kind IS NOT NULL
),
echoed AS (
  SELECT a.*, e.delay_us, e.properties
  FROM answered AS a JOIN sim_echoes AS n ON n.channel = a.channel AND n.kind = a.kind
  JOIN sim_echo AS e ON e.channel = a.channel AND e.kind = a.kind
    AND e.nth = least(CAST(floor(n.size * (CAST(md5_number_upper(a.tag || ':' || a.kind || ':how') AS DOUBLE) / 18446744073709551616)) AS BIGINT), n.size - 1)
)
SELECT at_us, tag || ':' || kind AS tag, kind IN ('failed', 'sent') AS reported,
  CAST(json_object('type', 'track', 'event', name, 'person', pid, 'occurred_at', at_us, 'properties',
    json_merge_patch(CAST(properties AS JSON), json_object('message_id', message_id, 'journey', journey, 'step', path, 'template', template, 'channel', channel))) AS VARCHAR) AS body
FROM (
  SELECT e.*, k.name, e.planned_us + greatest(CASE WHEN e.kind = 'clicked' THEN greatest(o.delay_us, :soonest) ELSE 0 END + e.delay_us, :soonest) AS at_us
  FROM echoed AS e JOIN (SELECT * FROM (VALUES :kinds) AS k(kind, name)) AS k ON k.kind = e.kind
  LEFT JOIN echoed AS o ON o.message_id = e.message_id AND o.kind = 'opened' AND e.kind = 'clicked'
) AS x ORDER BY at_us, tag;
