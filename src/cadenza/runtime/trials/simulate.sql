-- What one simulated future comes to, in [:since, :before).

-- name: pressure
-- Messages of one person, and how many persons got as many.
SELECT n, count(*) AS people FROM (
  SELECT pid, count(*) AS n FROM message WHERE message_class = 'marketing' AND planned_at >= :since AND planned_at < :before GROUP BY pid
) AS p GROUP BY n ORDER BY n;

-- name: answered
-- Of each channel and kind of answer, how often it came.
SELECT m.channel AS channel, e.name AS name, count(DISTINCT m.message_id) AS n
FROM event AS e JOIN message AS m ON m.message_id = e.p_message_id
WHERE e.recorded_at >= :since AND e.recorded_at < :before AND m.planned_at >= :since AND e.name IN (:names)
GROUP BY m.channel, e.name ORDER BY channel, name;
