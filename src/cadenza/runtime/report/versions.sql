-- What happened in each version of a journey that has had several.

-- name: versions
-- Passages that began in a version and that came over to it, and messages that it sent; by journey, oldest version first
WITH moved AS (
    SELECT t.jid, count(*) FILTER (WHERE t.cause IN ('entered', 'restarted')) AS began,
           count(*) FILTER (WHERE t.cause = 'mapped') AS came_over
    FROM transition AS t WHERE t.ts < :before GROUP BY t.jid
),
sent AS (SELECT d.jid, count(*) AS n FROM decision AS d WHERE d.verdict = 'send' AND d.ts < :before GROUP BY d.jid)
SELECT v.journey, v.jid, v.version, v.deployed_at, coalesce(moved.began, 0), coalesce(moved.came_over, 0), coalesce(sent.n, 0)
FROM journey_version AS v LEFT JOIN moved ON moved.jid = v.jid LEFT JOIN sent ON sent.jid = v.jid
WHERE v.deployed_at < :before
QUALIFY count(*) OVER (PARTITION BY v.journey) > 1
ORDER BY v.journey, v.deployed_at, v.jid;

-- name: exits_by_version
-- Ends of passages by the version in which they ended, and reason
SELECT x.jid, x.reason, count(*) FROM enrollment_end AS x WHERE x.ts < :before GROUP BY x.jid, x.reason ORDER BY x.jid, 3 DESC, x.reason;
