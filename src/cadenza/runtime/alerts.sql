-- Counts of each journey in a window that ends now, and in the four windows of its length before it.

-- name: entries
-- People who entered, over all versions
SELECT w.journey, min(v.deployed_at), count(e.eid) FILTER (e.entered_at > :now - to_seconds(w.entries_s)),
  count(e.eid) FILTER (e.entered_at <= :now - to_seconds(w.entries_s) AND e.entered_at > :now - to_seconds(5 * w.entries_s))
FROM slot_windows AS w JOIN journey_version AS v ON v.journey = w.journey
LEFT JOIN enrollment AS e ON e.jid = v.jid AND e.entered_at <= :now
GROUP BY w.journey;

-- name: arrivals
-- Arrivals at each resting step of the version in force
SELECT w.journey, s.path, count(t.eid) FILTER (t.ts > :now - to_seconds(w.step_s)),
  count(t.eid) FILTER (t.ts <= :now - to_seconds(w.step_s) AND t.ts > :now - to_seconds(5 * w.step_s))
FROM slot_windows AS w JOIN journey_version AS v ON v.journey = w.journey AND v.current
JOIN journey_step AS s ON s.jid = v.jid
LEFT JOIN transition AS t ON t.jid = s.jid AND t.to_step = s.step AND t.ts <= :now
WHERE s.step >= 0
GROUP BY w.journey, s.path;

-- name: choices
-- Which ways were taken, each with the decisions on it
SELECT w.journey, h.taken, count(t.eid) FILTER (t.ts > :now - to_seconds(w.over_s)),
  count(t.eid) FILTER (t.ts <= :now - to_seconds(w.over_s) AND t.ts > :now - to_seconds(5 * w.over_s))
FROM slot_windows AS w JOIN journey_version AS v ON v.journey = w.journey AND v.current
JOIN journey_hop AS h ON h.jid = v.jid
JOIN transition AS t ON t.jid = h.jid AND t.hop = h.hop AND t.ts <= :now
GROUP BY w.journey, h.taken;

-- name: verdicts
-- Messages that were sent or dropped, by reason; what is put off is decided later
SELECT w.journey, coalesce(d.reason, 'sent'), count(d.eid) FILTER (d.ts > :now - to_seconds(w.over_s)),
  count(d.eid) FILTER (d.ts <= :now - to_seconds(w.over_s) AND d.ts > :now - to_seconds(5 * w.over_s))
FROM slot_windows AS w JOIN journey_version AS v ON v.journey = w.journey
JOIN decision AS d ON d.jid = v.jid AND d.ts <= :now AND d.verdict IN ('send', 'drop')
GROUP BY w.journey, coalesce(d.reason, 'sent');
