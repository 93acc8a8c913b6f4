-- Who went another way in one store than in another. A passage is known by journey, person, key and the how-manieth of
-- these it is; who did not enter has the reason of the last refusal instead.

-- name: paths
-- How each passage that was inside in [:since, :before) went, and how it stood at the end.
SELECT p.journey AS journey, p.pid AS pid, p.key AS key, p.nth AS nth, p.end_ AS ending, p.way AS way FROM (
  SELECT e.journey, e.pid, e.key, e.nth, coalesce(x.reason, 'inside at ' || coalesce(w.last_, '?')) AS end_, coalesce(w.way, '') AS way
  FROM (
    SELECT v.journey, e.eid, e.pid, e.key, row_number() OVER (PARTITION BY v.journey, e.pid, e.key ORDER BY e.entered_at, e.eid) AS nth
    FROM enrollment AS e JOIN journey_version AS v ON v.jid = e.jid WHERE e.entered_at < :before
  ) AS e
  LEFT JOIN (SELECT eid, min(reason) AS reason, min(ts) AS ts FROM enrollment_end WHERE ts < :before GROUP BY eid) AS x ON x.eid = e.eid
  LEFT JOIN (
    SELECT t.eid, string_agg(t.cause || ':' || t.arms || t.what, ' > ' ORDER BY t.ts, t.rid) AS way, arg_max(t.what, (t.ts, t.rid)) AS last_ FROM (
      SELECT t.eid, t.ts, t.rowid AS rid, t.cause,
        coalesce(array_to_string(list_transform(from_json(h.taken, '["VARCHAR"]'), lambda a: '[' || split_part(a, ': ', 2) || ']'), ''), '') AS arms,
        coalesce(s.kind || CASE WHEN s.template IS NULL THEN '' ELSE ' ' || s.template END, 'end') AS what
      FROM transition AS t LEFT JOIN journey_step AS s ON s.jid = t.jid AND s.step = t.to_step
      LEFT JOIN journey_hop AS h ON h.jid = t.jid AND h.hop = t.hop WHERE t.ts < :before
    ) AS t GROUP BY t.eid
  ) AS w ON w.eid = e.eid
  WHERE x.ts IS NULL OR x.ts >= :since
  UNION ALL
  SELECT v.journey, r.pid, r.key, 0, 'refused: ' || arg_max(r.reason, (r.ts, r.offset_)), '' FROM refusal AS r JOIN journey_version AS v ON v.jid = r.jid
  WHERE r.ts >= :since AND r.ts < :before GROUP BY v.journey, r.pid, r.key
) AS p ORDER BY p.journey, p.pid, p.key, p.nth;

-- name: changes
-- Both sides, passage by passage. A side without the passage has its refusal, or nothing at all.
SELECT journey, was, becomes, count(*) AS passages, count(DISTINCT pid) AS persons, count(*) FILTER (WHERE was = becomes) AS another_way,
  list_slice(list_sort(list(DISTINCT pid)), 1, :examples) AS examples
FROM (
  SELECT coalesce(o.journey, n.journey) AS journey, coalesce(o.pid, n.pid) AS pid,
    coalesce(o.ending, ro.ending, 'did not enter') AS was, coalesce(n.ending, rn.ending, 'did not enter') AS becomes,
    coalesce(o.way, '') AS old_way, coalesce(n.way, '') AS new_way
  FROM (SELECT * FROM t_old_path WHERE nth > 0) AS o
  FULL JOIN (SELECT * FROM t_new_path WHERE nth > 0) AS n ON n.journey = o.journey AND n.pid = o.pid AND n.key = o.key AND n.nth = o.nth
  LEFT JOIN (SELECT * FROM t_old_path WHERE nth = 0) AS ro ON ro.journey = n.journey AND ro.pid = n.pid AND ro.key = n.key
  LEFT JOIN (SELECT * FROM t_new_path WHERE nth = 0) AS rn ON rn.journey = o.journey AND rn.pid = o.pid AND rn.key = o.key
  UNION ALL
  SELECT coalesce(o.journey, n.journey), coalesce(o.pid, n.pid), coalesce(o.ending, 'did not enter'), coalesce(n.ending, 'did not enter'), '', ''
  FROM (SELECT * FROM t_old_path AS t WHERE nth = 0 AND NOT EXISTS (SELECT 1 FROM t_new_path AS u WHERE u.nth > 0 AND u.journey = t.journey AND u.pid = t.pid AND u.key = t.key)
    AND NOT EXISTS (SELECT 1 FROM t_old_path AS u WHERE u.nth > 0 AND u.journey = t.journey AND u.pid = t.pid AND u.key = t.key)) AS o
  FULL JOIN (SELECT * FROM t_new_path AS t WHERE nth = 0 AND NOT EXISTS (SELECT 1 FROM t_old_path AS u WHERE u.nth > 0 AND u.journey = t.journey AND u.pid = t.pid AND u.key = t.key)
    AND NOT EXISTS (SELECT 1 FROM t_new_path AS u WHERE u.nth > 0 AND u.journey = t.journey AND u.pid = t.pid AND u.key = t.key)) AS n
  ON n.journey = o.journey AND n.pid = o.pid AND n.key = o.key
) AS b WHERE was <> becomes OR old_way <> new_way
GROUP BY journey, was, becomes ORDER BY journey, passages DESC, was, becomes;

-- name: compared
-- How many passages stand against each other, per journey: entered in both, only in the old, only in the new.
SELECT coalesce(o.journey, n.journey) AS journey, count(*) FILTER (WHERE o.pid IS NOT NULL AND n.pid IS NOT NULL) AS both_,
  count(*) FILTER (WHERE n.pid IS NULL) AS only_old, count(*) FILTER (WHERE o.pid IS NULL) AS only_new,
  count(*) FILTER (WHERE o.ending = n.ending AND o.way = n.way) AS alike
FROM (SELECT * FROM t_old_path WHERE nth > 0) AS o
FULL JOIN (SELECT * FROM t_new_path WHERE nth > 0) AS n ON n.journey = o.journey AND n.pid = o.pid AND n.key = o.key AND n.nth = o.nth
GROUP BY coalesce(o.journey, n.journey) ORDER BY journey;
