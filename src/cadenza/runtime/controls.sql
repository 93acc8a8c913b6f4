-- How journeys stand.

-- name: controlled
-- Since when each journey stands as it does.
SELECT journey, max(ts) FROM control WHERE command IN ('pause', 'resume', 'stop') GROUP BY journey ORDER BY journey;

-- name: inside
-- Who is inside which version of a journey, and how many stand still.
SELECT v.journey, v.version, count(*), count(p.since) FROM enrollment AS e JOIN journey_version AS v ON v.jid = e.jid
LEFT JOIN paused AS p ON p.eid = e.eid WHERE e.step >= 0 GROUP BY v.journey, v.version ORDER BY v.journey, v.version;

-- name: journeys_ever
-- Every journey that was ever in force.
SELECT DISTINCT journey FROM journey_version ORDER BY journey;
