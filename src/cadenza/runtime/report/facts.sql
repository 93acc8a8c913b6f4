-- Queries of the report. Every one is cut by the exclusive instant :before: what happened then or later is
-- not seen. Counts are of rows as they were written; no figure is another one subtracted, so that the
-- conservation checks can fail.

-- name: clock
-- How far the store is
SELECT horizon, live_from FROM clock;

-- name: people
-- Living persons, those with an identifier of the given kinds, and those merged away; accounts, numbered from 2^62 on, are none
WITH merged AS (
    SELECT DISTINCT link.other_pid AS pid
    FROM link WHERE link.other_pid IS NOT NULL AND link.recorded_at < :before
),
known AS (
    SELECT DISTINCT identifier.pid
    FROM identifier
    JOIN link ON link.type = identifier.type AND link.value = identifier.value AND link.other_pid IS NULL
    WHERE link.recorded_at < :before AND identifier.type IN (:kinds)
),
living AS (
    SELECT person.pid FROM person
    WHERE person.created_at < :before AND person.pid < :first_account AND person.pid NOT IN (SELECT pid FROM merged)
)
SELECT (SELECT count(*) FROM person WHERE person.created_at < :before AND person.pid < :first_account),
       (SELECT count(*) FROM living),
       (SELECT count(*) FROM living WHERE pid IN (SELECT pid FROM known)),
       (SELECT count(*) FROM merged);

-- name: events
-- Stored events by name; calls without a name go by their type. What is said of an account is counted once.
SELECT coalesce(name, '(' || type || ')'), count(*)
FROM event WHERE recorded_at < :before AND offset_ < :first_account
GROUP BY 1 ORDER BY 2 DESC, 1;

-- name: unidentified
-- Records that name nobody, by reason
SELECT reason, count(*) FROM unidentified WHERE recorded_at < :before GROUP BY 1 ORDER BY 2 DESC, 1;

-- name: segments
-- Members at the instant and persons who were ever in. A row belongs to the person it was written for: a merge
-- ends the memberships of the merged and opens one of the survivor, so rows balance person by person.
WITH standing AS (
    SELECT m.segment, coalesce(p.merged_into, m.origin_pid) AS pid,
           sum(CASE WHEN m.entered THEN 1 ELSE -1 END) AS inside, bool_or(m.entered) AS ever
    FROM membership m LEFT JOIN person p ON p.pid = m.origin_pid
    WHERE m.ts < :before GROUP BY m.segment, m.origin_pid, p.merged_into
)
SELECT segment, count(DISTINCT pid) FILTER (WHERE inside > 0), count(DISTINCT pid) FILTER (WHERE ever)
FROM standing GROUP BY segment ORDER BY segment;

-- name: entered
-- Enrollments per journey, those at a step now, and those without an end
WITH ended AS (SELECT DISTINCT x.eid FROM enrollment_end x WHERE x.ts < :before)
SELECT v.journey, count(*), count(*) FILTER (WHERE e.step <> -1), count(*) FILTER (WHERE ended.eid IS NULL)
FROM enrollment e
JOIN journey_version v ON v.jid = e.jid
LEFT JOIN ended ON ended.eid = e.eid
WHERE e.entered_at < :before
GROUP BY v.journey ORDER BY v.journey;

-- name: exits
-- Ends of enrollments by reason
SELECT v.journey, x.reason, count(*)
FROM enrollment_end x JOIN journey_version v ON v.jid = x.jid
WHERE x.ts < :before
GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2;

-- name: ways
-- Ways on from tasks and from calls of services
SELECT v.journey, s.kind, t.cause, count(*)
FROM transition t JOIN journey_step s ON s.jid = t.jid AND s.step = t.from_step JOIN journey_version v ON v.jid = t.jid
WHERE t.ts < :before AND s.kind IN ('hand_off', 'call')
GROUP BY 1, 2, 3 ORDER BY 1, 2, 4 DESC, 3;

-- name: refused
-- Candidates that did not enter, by reason and rule
SELECT v.journey, r.reason, coalesce(r.rule, ''), count(*)
FROM refusal r JOIN journey_version v ON v.jid = r.jid
WHERE r.ts < :before
GROUP BY 1, 2, 3 ORDER BY 1, 4 DESC, 2, 3;

-- name: not_qualified
-- Candidates whose condition was false or unknown, by rule
SELECT v.journey, q.rule, CAST(sum(q.n) AS BIGINT)
FROM nonqualified q JOIN journey_version v ON v.jid = q.jid
WHERE q.hour < :before
GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2;

-- name: verdicts
-- Final verdicts on messages by reason
SELECT v.journey, d.verdict, coalesce(d.reason, ''), count(*)
FROM decision d JOIN journey_version v ON v.jid = d.jid
WHERE d.ts < :before AND d.verdict IN ('send', 'drop')
GROUP BY 1, 2, 3 ORDER BY 1, 2 DESC, 4 DESC, 3;

-- name: deferrals
-- Messages put off at least once, by reason
WITH once AS (
    SELECT DISTINCT d.jid, d.eid, d.step, coalesce(d.reason, '') AS reason
    FROM decision d WHERE d.ts < :before AND d.verdict = 'defer'
)
SELECT v.journey, once.reason, count(*)
FROM once JOIN journey_version v ON v.jid = once.jid
GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2;

-- name: candidates
-- Arrivals at send steps, and what stands there: waiting now (no verdict, not ended, not gone on),
-- or withdrawn because the journey ended first, or was left for the last steps of an exit
WITH arrival AS (
    SELECT t.eid, t.jid, t.to_step AS step, count(*) AS times
    FROM transition t JOIN journey_step s ON s.jid = t.jid AND s.step = t.to_step
    WHERE s.kind = 'send' AND t.ts < :before
    GROUP BY t.eid, t.jid, t.to_step
),
gone_on AS (
    SELECT DISTINCT t.eid, t.from_step AS step FROM transition t
    WHERE t.ts < :before AND t.cause NOT IN ('goal', 'disqualified', 'superseded', 'time_limit')
),
left_ AS (
    SELECT DISTINCT t.eid, t.from_step AS step FROM transition t
    WHERE t.ts < :before AND t.cause IN ('goal', 'disqualified', 'superseded', 'time_limit')
),
ended AS (SELECT DISTINCT x.eid FROM enrollment_end x WHERE x.ts < :before),
judged AS (
    SELECT DISTINCT d.eid, d.step FROM decision d WHERE d.ts < :before AND d.verdict IN ('send', 'drop')
)
SELECT v.journey, CAST(sum(arrival.times) AS BIGINT),
       count(*) FILTER (WHERE judged.eid IS NULL AND coalesce(ended.eid, left_.eid) IS NULL AND gone_on.eid IS NULL),
       count(*) FILTER (WHERE judged.eid IS NULL AND coalesce(ended.eid, left_.eid) IS NOT NULL AND gone_on.eid IS NULL)
FROM arrival
JOIN journey_version v ON v.jid = arrival.jid
LEFT JOIN judged ON judged.eid = arrival.eid AND judged.step = arrival.step
LEFT JOIN ended ON ended.eid = arrival.eid
LEFT JOIN gone_on ON gone_on.eid = arrival.eid AND gone_on.step = arrival.step
LEFT JOIN left_ ON left_.eid = arrival.eid AND left_.step = arrival.step
GROUP BY v.journey ORDER BY v.journey;

-- name: messages
-- Rows of the message table, and where each stands: replayed, cancelled, reported on, or on its way
WITH reported AS (
    SELECT o.message_id,
           bool_or(o.name = 'Message Sent') AS sent,
           bool_or(o.name = 'Message Failed') AS failed,
           bool_or(o.name = 'Message Ambiguous') AS ambiguous
    FROM message_outcome o WHERE o.occurred_at < :before GROUP BY o.message_id
),
withdrawn AS (SELECT DISTINCT c.message_id FROM cancellation c WHERE c.ts < :before)
SELECT v.journey,
       CASE WHEN NOT m.deliverable THEN 'replayed'
            WHEN reported.sent THEN 'handed over'
            WHEN reported.failed THEN 'failed'
            WHEN reported.ambiguous THEN 'ambiguous'
            WHEN withdrawn.message_id IS NOT NULL THEN 'cancelled'
            ELSE 'on its way' END AS state,
       count(*)
FROM message m
JOIN journey_version v ON v.jid = m.jid
LEFT JOIN reported ON reported.message_id = m.message_id
LEFT JOIN withdrawn ON withdrawn.message_id = m.message_id
WHERE m.planned_at < :before
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: channels
-- Messages decided to be sent, by channel
SELECT v.journey, m.channel, count(*) FROM message m JOIN journey_version v ON v.jid = m.jid
WHERE m.planned_at < :before GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2;

-- name: reactions
-- What receivers did, as messages (not events) per kind
SELECT v.journey, o.name, count(DISTINCT o.message_id)
FROM message_outcome o
JOIN message m ON m.message_id = o.message_id
JOIN journey_version v ON v.jid = m.jid
WHERE o.occurred_at < :before AND NOT starts_with(o.name, 'Message ')
GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2;

-- name: merged
-- Persons that point to a survivor.
SELECT count(*) FROM person WHERE merged_into IS NOT NULL;

-- name: profiles
-- Living persons by the profile, and members per segment by its columns, in the order given
SELECT count(*) FILTER (WHERE pid < :first_account), :counts FROM profile;
