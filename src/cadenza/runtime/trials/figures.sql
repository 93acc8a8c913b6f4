-- What happened in a store in [:since, :before), journey by journey. Facts with an instant only, never the present
-- state: so a store that has gone further says the same of the time before.

-- name: entered
SELECT v.journey AS name, count(*) AS n FROM enrollment AS e JOIN journey_version AS v ON v.jid = e.jid
WHERE e.entered_at >= :since AND e.entered_at < :before GROUP BY v.journey ORDER BY v.journey;

-- name: live
-- Passages without an end at the end of the time.
SELECT v.journey AS name, count(*) AS n FROM enrollment AS e JOIN journey_version AS v ON v.jid = e.jid
ANTI JOIN (SELECT eid FROM enrollment_end WHERE ts < :before) AS x ON x.eid = e.eid
WHERE e.entered_at < :before GROUP BY v.journey ORDER BY v.journey;

-- name: ends
SELECT v.journey AS journey, x.reason AS name, count(*) AS n FROM enrollment_end AS x JOIN journey_version AS v ON v.jid = x.jid
WHERE x.ts >= :since AND x.ts < :before GROUP BY v.journey, x.reason ORDER BY v.journey, n DESC, name;

-- name: not_qualified
-- Counted by the hour: an hour belongs to the time when it begins in it.
SELECT v.journey AS journey, q.rule AS name, CAST(sum(q.n) AS BIGINT) AS n FROM nonqualified AS q JOIN journey_version AS v ON v.jid = q.jid
WHERE q.hour >= date_trunc('hour', :since) AND q.hour < :before GROUP BY v.journey, q.rule ORDER BY v.journey, n DESC, name;

-- name: losses
-- Who did not enter, and which messages were dropped or put off, by reason and rule. Put off: messages, not decisions.
SELECT * FROM (
  SELECT v.journey AS journey, 'refused' AS verdict, r.reason AS reason, coalesce(r.rule, '') AS rule, count(*) AS n
  FROM refusal AS r JOIN journey_version AS v ON v.jid = r.jid WHERE r.ts >= :since AND r.ts < :before
  GROUP BY v.journey, r.reason, coalesce(r.rule, '')
  UNION ALL
  SELECT v.journey, d.verdict, coalesce(d.reason, ''), coalesce(d.rule, ''), count(DISTINCT (d.eid, d.step))
  FROM decision AS d JOIN journey_version AS v ON v.jid = d.jid
  WHERE d.ts >= :since AND d.ts < :before AND d.verdict NOT IN ('send', 'wait') GROUP BY v.journey, d.verdict, coalesce(d.reason, ''), coalesce(d.rule, '')
) AS l ORDER BY journey, verdict DESC, n DESC, reason, rule;

-- name: messages
-- By day (UTC), with those that were withdrawn before anybody could have handed them over.
SELECT CAST(m.planned_at AS DATE) AS day, v.journey AS journey, m.channel AS channel, m.message_class AS message_class, count(*) AS planned,
  count(c.message_id) AS cancelled
FROM message AS m JOIN journey_version AS v ON v.jid = m.jid
LEFT JOIN (SELECT DISTINCT message_id FROM cancellation WHERE ts < :before) AS c ON c.message_id = m.message_id
WHERE m.planned_at >= :since AND m.planned_at < :before
GROUP BY CAST(m.planned_at AS DATE), v.journey, m.channel, m.message_class ORDER BY day, journey, channel, message_class;

-- name: steps
-- Arrivals at each resting step of each version, and how many of them stood there at the end.
SELECT v.journey AS journey, v.version AS version, s.path AS path, s.kind AS kind, coalesce(s.template, '') AS template,
  count(*) FILTER (WHERE t.ts >= :since) AS arrived, count(l.rid) AS standing
FROM transition AS t JOIN journey_version AS v ON v.jid = t.jid JOIN journey_step AS s ON s.jid = t.jid AND s.step = t.to_step
LEFT JOIN (
  SELECT k.eid, max(k.rowid) AS rid FROM transition AS k ANTI JOIN (SELECT eid FROM enrollment_end WHERE ts < :before) AS x ON x.eid = k.eid
  WHERE k.ts < :before GROUP BY k.eid
) AS l ON l.rid = t.rowid
WHERE t.ts < :before
GROUP BY v.journey, v.version, s.path, s.kind, coalesce(s.template, '')
HAVING count(*) FILTER (WHERE t.ts >= :since) > 0 OR count(l.rid) > 0 ORDER BY v.journey, v.version, s.path;

-- name: ways
-- How each resting step was left, and the arms of branches and splits that were taken.
SELECT * FROM (
  SELECT v.journey AS journey, v.version AS version, s.path AS path, s.kind AS kind, t.cause AS way, count(*) AS n
  FROM transition AS t JOIN journey_version AS v ON v.jid = t.jid JOIN journey_step AS s ON s.jid = t.jid AND s.step = t.from_step
  WHERE t.ts >= :since AND t.ts < :before GROUP BY v.journey, v.version, s.path, s.kind, t.cause
  UNION ALL
  SELECT k.journey, k.version, split_part(k.taken, ': ', 1), 'arms', split_part(k.taken, ': ', 2), count(*) FROM (
    SELECT v.journey, v.version, unnest(from_json(h.taken, '["VARCHAR"]')) AS taken
    FROM transition AS t JOIN journey_version AS v ON v.jid = t.jid JOIN journey_hop AS h ON h.jid = t.jid AND h.hop = t.hop
    WHERE t.ts >= :since AND t.ts < :before
  ) AS k GROUP BY k.journey, k.version, k.taken
) AS w ORDER BY journey, version, path, n DESC, way;

-- name: losers
-- Who lost to whom, person by person: refused for a journey with priority in the same arena, superseded by one, or put
-- off or dropped at a cap whose room messages of others had. One loss may have several winners.
WITH version AS (
  SELECT jid, journey, priority,
    CASE WHEN json_type(definition, '$.arena') = 'NULL' THEN NULL ELSE coalesce(json_extract_string(definition, '$.arena'), 'default') END AS arena
  FROM journey_version
),
template AS (SELECT template, CAST(topic AS VARCHAR) AS topic, purpose FROM (VALUES :templates) AS t(template, topic, purpose)),
capped AS (
  SELECT d.eid, d.pid, d.step, d.ts, d.rule, l.journey, c.per_s, CAST(c.channel AS VARCHAR) AS of_channel, CAST(c.topic AS VARCHAR) AS of_topic,
    CAST(c.journey AS VARCHAR) AS of_journey, CAST(c.each_ AS VARCHAR) AS each_, CAST(c.calendar AS VARCHAR) AS calendar,
    json_extract_string(d.evidence, '$.channel') AS channel, json_extract_string(d.evidence, '$.template') AS template,
    json_extract_string(d.evidence, '$.zone') AS zone
  FROM decision AS d JOIN version AS l ON l.jid = d.jid
  JOIN (VALUES :caps) AS c(rule, per_s, channel, topic, journey, each_, calendar) ON c.rule = d.rule
  WHERE d.reason = 'cap' AND d.verdict <> 'send' AND d.ts >= :since AND d.ts < :before
),
-- When the local day, week or month of a loss began: the first instant at which the clock showed its beginning, or later.
began AS (
  SELECT k.eid, k.step, k.ts, min(CASE WHEN greatest(z.utc_from, k.local_ - to_seconds(z.off_s)) < z.utc_to THEN greatest(z.utc_from, k.local_ - to_seconds(z.off_s)) END) AS from_
  FROM (
    SELECT x.eid, x.step, x.ts, x.zone, CASE x.calendar WHEN 'day' THEN date_trunc('day', x.ts + to_seconds(r.off_s))
      WHEN 'week' THEN date_trunc('week', x.ts + to_seconds(r.off_s)) ELSE date_trunc('month', x.ts + to_seconds(r.off_s)) END AS local_
    FROM capped AS x JOIN tz_rule AS r ON r.tz = x.zone AND r.utc_from <= x.ts AND x.ts < r.utc_to WHERE x.calendar IS NOT NULL
  ) AS k JOIN tz_rule AS z ON z.tz = k.zone AND z.utc_to > k.ts - to_seconds(2851200) AND z.utc_from <= k.ts
  GROUP BY k.eid, k.step, k.ts
)
SELECT DISTINCT l.journey AS journey, w.journey AS winner, 'arena ' || l.arena AS what, r.pid AS pid, r.ts AS ts, CAST(0 AS BIGINT) AS eid, 0 AS step
FROM refusal AS r JOIN version AS l ON l.jid = r.jid JOIN enrollment AS e ON e.pid = r.pid AND e.entered_at <= r.ts
JOIN version AS w ON w.jid = e.jid AND w.journey <> l.journey AND w.arena = l.arena AND w.priority >= l.priority
LEFT JOIN enrollment_end AS x ON x.eid = e.eid
WHERE r.reason = 'priority' AND r.ts >= :since AND r.ts < :before
  AND (x.ts IS NULL OR x.ts > r.ts OR (x.ts = r.ts AND x.reason NOT IN ('goal', 'disqualified', 'time_limit')))
UNION ALL
SELECT DISTINCT l.journey, w.journey, 'superseded in ' || l.arena, x.pid, x.ts, x.eid, 0
FROM enrollment_end AS x JOIN version AS l ON l.jid = x.jid JOIN enrollment AS e ON e.pid = x.pid AND e.entered_at = x.ts
JOIN version AS w ON w.jid = e.jid AND w.journey <> l.journey AND w.arena = l.arena AND w.priority > l.priority
WHERE x.reason = 'superseded' AND x.ts >= :since AND x.ts < :before
UNION ALL
SELECT DISTINCT k.journey, w.journey, 'cap ' || k.rule, k.pid, TIMESTAMP '1970-01-01', k.eid, k.step
FROM capped AS k LEFT JOIN began AS b ON b.eid = k.eid AND b.step = k.step AND b.ts = k.ts
LEFT JOIN template AS g ON g.template = k.template
JOIN message AS m ON m.pid = k.pid AND m.message_class = 'marketing' AND m.planned_at <= k.ts
  AND CASE WHEN k.calendar IS NULL THEN m.planned_at > k.ts - to_seconds(k.per_s) ELSE m.planned_at >= b.from_ END
LEFT JOIN template AS o ON o.template = m.template
JOIN version AS w ON w.jid = m.jid
LEFT JOIN cancellation AS n ON n.message_id = m.message_id AND n.ts <= k.ts
LEFT JOIN (SELECT message_id, min(occurred_at) AS at_ FROM message_outcome WHERE name = 'Message Failed' GROUP BY message_id) AS f
  ON f.message_id = m.message_id AND f.at_ <= k.ts
WHERE n.message_id IS NULL AND f.message_id IS NULL
  AND coalesce(k.of_channel, CASE WHEN k.each_ = 'channel' THEN k.channel END, m.channel) = m.channel
  AND coalesce(k.of_topic, CASE WHEN k.each_ = 'topic' THEN coalesce(g.topic, g.purpose) END, o.topic, m.purpose) = coalesce(o.topic, m.purpose)
  AND coalesce(k.of_journey, CASE WHEN k.each_ = 'journey' THEN k.journey END, w.journey) = w.journey;

-- name: contention
SELECT journey, winner, what, count(*) AS n FROM slot_losers AS k GROUP BY journey, winner, what ORDER BY n DESC, journey, winner, what;

-- name: contested
-- Those whom several want, the most wanted first: how often some journey lost them, and which journeys took part.
SELECT k.pid AS pid, count(DISTINCT (k.what, k.journey, k.ts, k.eid, k.step)) AS losses,
  list_sort(list_distinct(list_concat(list(k.journey), list(k.winner)))) AS journeys
FROM slot_losers AS k GROUP BY k.pid ORDER BY losses DESC, k.pid LIMIT :most;

-- name: contested_persons
SELECT count(DISTINCT k.pid) AS n FROM slot_losers AS k;
