-- name: deployments
-- Every project that was deployed, with the part of the log in which it was in force.
SELECT offset_, recorded_at, project,
       lead(offset_) OVER (ORDER BY offset_) AS next_offset,
       lead(recorded_at) OVER (ORDER BY offset_) AS next_at
FROM deployment WHERE recorded_at < :before ORDER BY offset_;
