-- One person's row as the stages saw it at an instant: records with offset <= :through are known, :now is the time.

-- name: through
-- The last record of the person that an item at an instant can see.
SELECT coalesce(max(offset_), -1) FROM event WHERE pid = :pid AND :seen;

-- name: trait
-- The latest value sent (or set) by then.
(SELECT v.value FROM trait_value v
 WHERE v.pid = :pid AND v.trait = :called AND v.applied_at <= :now AND coalesce(v.offset_, 0) <= :through
 ORDER BY v.occurred_at DESC, v.applied_at DESC, v.origin_pid DESC, v.wave DESC, coalesce(v.eid, 0) DESC LIMIT 1);

-- name: term
-- An aggregate over the events known by then.
(SELECT (:value) FROM event AS e CROSS JOIN (SELECT CAST(:now AS TIMESTAMP) AS now) AS w
 WHERE e.pid = :pid AND e.offset_ <= :through);

-- name: member
-- Whether the person is in a segment after the item.
(SELECT coalesce(sum(CASE WHEN m.entered THEN 1 ELSE -1 END), 0) > 0 FROM membership m
 WHERE m.origin_pid IN (:family) AND m.segment = :called AND m.ts <= :now);

-- name: inside
-- Whether the person is in a journey before the item.
(SELECT count(*) > 0 FROM enrollment n JOIN journey_version v ON v.jid = n.jid
 LEFT JOIN enrollment_end x ON x.eid = n.eid
 WHERE n.pid = :pid AND v.journey = :called AND n.entered_at < :now AND (x.ts IS NULL OR x.ts >= :now));

-- name: consent
-- The statement in force by then; a tie denies, none is no.
(SELECT coalesce(bool_and(c.granted), FALSE) FROM (
   SELECT s.granted, s.occurred_at = max(s.occurred_at) OVER () AS latest FROM consent s
   WHERE s.pid = :pid AND s.purpose = :purpose AND s.channel = :channel AND s.offset_ <= :through
 ) AS c WHERE c.latest);

-- name: property
-- A property of the record that is the item.
(SELECT (:value) FROM event AS e WHERE e.offset_ = :item);

-- name: item
-- The name of the record that is the item.
(SELECT e.name FROM event AS e WHERE e.offset_ = :item);

-- name: answers
-- The expressions over that row.
SELECT c.now, :answers FROM (SELECT CAST(:now AS TIMESTAMP) AS now, :columns) AS c;
