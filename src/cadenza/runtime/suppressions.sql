-- The suppression lists.

-- name: suppressions
-- Reasons not to use a channel of a person, with what ended them and who the person is.
SELECT s.pid, coalesce((SELECT list(i.type || ':' || i.value ORDER BY i.type, i.value) FROM identifier AS i WHERE i.pid = s.pid), []), s.channel, s.reason,
  s.ts, s.until, l.ts, s.by_, l.by_, s.offset_
FROM suppression AS s LEFT JOIN suppression AS l ON l.lifts = s.offset_
WHERE s.lifts IS NULL AND (:wanted) ORDER BY s.offset_ LIMIT :most;
