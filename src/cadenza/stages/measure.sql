-- The metric of every unit of a holdout, and its exact sums per arm.

-- name: units
-- One row per unit: person, arm, whether it was in both arms, whether its window is over, the metric's value.
-- A unit is a person at its first assignment; those first assigned in [:since, :until) are taken, and a window
-- must be over by both :until and :before.
WITH ranked AS (
    SELECT a.pid, a.arm, a.ts, a.ts + :within_s * INTERVAL 1 SECOND AS over_at,
           row_number() OVER (PARTITION BY a.pid ORDER BY a.ts, a.origin_pid, a.bucket) AS nth,
           min(a.arm) OVER (PARTITION BY a.pid) <> max(a.arm) OVER (PARTITION BY a.pid) AS crossed
    FROM slot_assigned AS a
    WHERE a.ts < :before
),
unit AS (
    SELECT pid, arm, ts, over_at, crossed, over_at < :before AND over_at <= :until AS complete
    FROM ranked WHERE nth = 1 AND ts >= :since AND ts < :until
),
counted AS (
    SELECT e.pid, e.occurred_at, e.recorded_at, CAST(:amount AS DECIMAL(18, 4)) AS amount
    FROM event AS e
    WHERE e.name IN (:names) AND e.recorded_at < :before AND :condition
),
measured AS (
    SELECT unit.pid, unit.arm, unit.crossed, unit.complete, coalesce(sum(counted.amount), 0) AS amount
    FROM unit
    LEFT JOIN counted ON counted.pid = unit.pid AND counted.recorded_at > unit.ts
        AND counted.occurred_at >= unit.ts AND counted.occurred_at < unit.over_at
    GROUP BY unit.pid, unit.arm, unit.crossed, unit.complete
)
SELECT pid, arm, crossed, complete, CAST(:value AS DECIMAL(18, 4)) AS value FROM measured;

-- name: arms
-- Sums per arm over the units whose window is over.
SELECT arm, count(*) AS units, count(*) FILTER (WHERE complete) AS complete, count(*) FILTER (WHERE crossed) AS crossed,
       coalesce(sum(value) FILTER (WHERE complete), 0) AS total,
       coalesce(sum(value * value) FILTER (WHERE complete), 0) AS squares
FROM units GROUP BY arm ORDER BY arm DESC;

-- name: values
-- The units whose window is over, in order.
SELECT pid, arm, value FROM units WHERE complete ORDER BY pid;

-- name: entrants
-- Persons who first entered a journey in [:since, :until), and what their metric adds up to by :before.
WITH unit AS (
    SELECT e.pid, min(e.entered_at) AS ts FROM enrollment AS e JOIN journey_version AS v ON v.jid = e.jid
    WHERE v.journey = :journey AND e.entered_at >= :since AND e.entered_at < :until GROUP BY e.pid
),
counted AS (
    SELECT e.pid, e.occurred_at, e.recorded_at, CAST(:amount AS DECIMAL(18, 4)) AS amount
    FROM event AS e
    WHERE e.name IN (:names) AND e.recorded_at < :before AND :condition
),
measured AS (
    SELECT unit.pid, coalesce(sum(counted.amount), 0) AS amount
    FROM unit
    LEFT JOIN counted ON counted.pid = unit.pid AND counted.recorded_at > unit.ts
        AND counted.occurred_at >= unit.ts AND counted.occurred_at < unit.ts + :within_s * INTERVAL 1 SECOND
    GROUP BY unit.pid
)
SELECT count(*) AS people, coalesce(sum(CAST(:value AS DECIMAL(18, 4))), 0) AS total FROM measured;

-- name: versions
-- One row per version of a journey: persons who began in it, those whose window is over, and the sum of their metric.
WITH unit AS (
    SELECT t.jid, t.pid, min(t.ts) AS ts, min(t.ts) + :within_s * INTERVAL 1 SECOND AS over_at
    FROM transition AS t JOIN journey_version AS v ON v.jid = t.jid
    WHERE v.journey = :journey AND t.cause IN ('entered', 'restarted') AND t.ts < :before GROUP BY t.jid, t.pid
),
counted AS (
    SELECT e.pid, e.occurred_at, e.recorded_at, CAST(:amount AS DECIMAL(18, 4)) AS amount
    FROM event AS e
    WHERE e.name IN (:names) AND e.recorded_at < :before AND :condition
),
measured AS (
    SELECT unit.jid, unit.pid, unit.over_at < :before AS complete, coalesce(sum(counted.amount), 0) AS amount
    FROM unit
    LEFT JOIN counted ON counted.pid = unit.pid AND counted.recorded_at > unit.ts
        AND counted.occurred_at >= unit.ts AND counted.occurred_at < unit.over_at
    GROUP BY unit.jid, unit.pid, unit.over_at
)
SELECT jid, count(*), count(*) FILTER (WHERE complete), coalesce(sum(CAST(:value AS DECIMAL(18, 4))) FILTER (WHERE complete), 0)
FROM measured GROUP BY jid ORDER BY jid;

-- name: held
-- The assignments under a holdout.
SELECT pid, arm, ts, origin_pid, bucket FROM assignment WHERE holdout = :holdout;

-- name: walked
-- The walks through an experiment, each with its arm.
SELECT t.pid, k.arm, t.ts, t.eid AS origin_pid, 0 AS bucket
FROM transition AS t JOIN (VALUES :ways) AS k(jid, hop, arm) ON k.jid = t.jid AND k.hop = t.hop;
