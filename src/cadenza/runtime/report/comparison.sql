-- What became of the messages of compared units.

-- name: delivered
-- Messages of journeys that went (or may go) to someone, and those that never will
SELECT count(*) FILTER (WHERE m.deliverable), count(*) FILTER (WHERE NOT m.deliverable)
FROM message m JOIN journey_version v ON v.jid = m.jid
WHERE v.journey IN (:journeys) AND m.planned_at >= :since AND m.planned_at < :until AND m.planned_at < :before;
