-- Everything about one person: :pid is the living person, :family it and all merged into it.

-- name: clock
-- How far the store is.
SELECT horizon FROM clock;

-- name: person
-- The person under a number, or the one it was merged into.
SELECT coalesce(merged_into, pid) FROM person WHERE pid = :pid;

-- name: born
-- When the oldest of the family was first seen.
SELECT min(created_at) FROM person WHERE pid IN (:family);

-- name: holders
-- Who holds an identifier with one of these values.
SELECT type, value, pid FROM identifier WHERE value IN (:wanted) ORDER BY pid, type;

-- name: near
-- The identifiers most like a value, if half of it agrees.
SELECT DISTINCT value, levenshtein(lower(value), lower(:value)) AS apart FROM identifier
WHERE levenshtein(lower(value), lower(:value)) <= greatest(2, length(:value) // 2) ORDER BY apart, value LIMIT 3;

-- name: absorbed
-- Whom the person took over.
SELECT pid FROM person WHERE merged_into = :pid ORDER BY pid;

-- name: identifiers
-- What the person holds, with the link that brought it.
SELECT i.type, i.value, l.rule, l.offset_, l.recorded_at
FROM identifier i
LEFT JOIN link l ON l.type = i.type AND l.value = i.value AND l.other_pid IS NULL
WHERE i.pid = :pid ORDER BY l.offset_, i.type, i.value;

-- name: merges
-- The merges that made the person.
SELECT l.recorded_at, l.other_pid, l.pid, l.offset_, l.type || ' ' || l.value
FROM link l WHERE l.other_pid IS NOT NULL AND l.pid IN (:family) ORDER BY l.offset_, l.other_pid;

-- name: records
-- How many records the person has.
SELECT count(*) FROM event WHERE pid = :pid;

-- name: sent_values
-- The latest three values sent for each trait.
SELECT v.trait, v.value, v.occurred_at, v.cause, v.offset_, e.type, e.name, e.source
FROM trait_value v LEFT JOIN event e ON e.offset_ = v.offset_
WHERE v.pid = :pid
QUALIFY row_number() OVER (PARTITION BY v.trait ORDER BY v.occurred_at DESC, v.applied_at DESC, v.wave DESC) <= 3
ORDER BY v.trait, v.occurred_at DESC, v.applied_at DESC, v.wave DESC;

-- name: counted
-- How many events an aggregate counts, and the first and last three.
SELECT c.total, c.offset_, c.name, c.occurred_at, c.source, c.value
FROM (
    SELECT e.offset_, e.name, e.occurred_at, e.source, CAST(:value AS VARCHAR) AS value, count(*) OVER () AS total,
           row_number() OVER (ORDER BY e.occurred_at, e.offset_) AS nth
    FROM event AS e
    WHERE e.pid = :pid AND e.name = :called AND e.occurred_at > :since AND :condition
) AS c
WHERE c.nth <= 3 OR c.nth > c.total - 3 ORDER BY c.nth;

-- name: consents
-- Every statement of consent; those of the latest instant of a purpose and channel decide.
SELECT c.purpose, c.channel, c.granted,
       c.occurred_at = max(c.occurred_at) OVER (PARTITION BY c.purpose, c.channel) AS in_force,
       c.occurred_at, c.offset_, c.source, c.text_version
FROM consent c WHERE c.pid = :pid ORDER BY c.purpose, c.channel, c.occurred_at, c.offset_;

-- name: suppressions
-- Reasons not to use a channel, and what ended them.
SELECT s.channel, s.reason, s.occurred_at, s.offset_, s.until, l.ts, s.by_, l.by_ FROM suppression AS s
LEFT JOIN suppression AS l ON l.lifts = s.offset_ WHERE s.pid = :pid AND s.lifts IS NULL ORDER BY s.occurred_at, s.offset_, s.channel;

-- name: memberships
-- Stays in segments. Rows of the whole family balance: a merge ends the memberships of the merged.
WITH changed AS (
    SELECT segment, ts, sum(CASE WHEN entered THEN 1 ELSE -1 END) AS delta, min(cause) AS cause
    FROM membership WHERE origin_pid IN (:family) GROUP BY segment, ts
),
running AS (
    SELECT segment, ts, cause, sum(delta) OVER (PARTITION BY segment ORDER BY ts) > 0 AS member FROM changed
),
turns AS (
    SELECT segment, ts, cause, member, lag(member, 1, FALSE) OVER (PARTITION BY segment ORDER BY ts) AS was FROM running
),
stays AS (
    SELECT segment, ts, cause, member, lead(ts) OVER (PARTITION BY segment ORDER BY ts) AS until,
           lead(cause) OVER (PARTITION BY segment ORDER BY ts) AS left_by
    FROM turns WHERE member <> was
)
SELECT segment, ts, cause, until, left_by FROM stays WHERE member ORDER BY segment, ts;

-- name: assignments
-- Arms under holdouts; the earliest is in force.
SELECT a.holdout, a.arm, a.bucket, a.ts, v.journey,
       row_number() OVER (PARTITION BY a.holdout ORDER BY a.ts, a.origin_pid) = 1 AS in_force
FROM assignment a LEFT JOIN journey_version v ON v.jid = a.jid
WHERE a.pid = :pid ORDER BY a.ts, a.holdout;
