-- name: trait_value
-- Values sent for traits in this wave's records, those that convert to the trait's type, with their source.
INSERT INTO trait_value
SELECT r.pid, r.pid, v.trait, v.value, v.occurred_at, v.recorded_at, getvariable('wave'), NULL, v.offset_, 'record'
FROM (
  SELECT q.offset_, q.occurred_at, q.recorded_at, k.trait, k.kind, list_extract(q.s, k.index_) AS value
  FROM t_queue AS q SEMI JOIN w_rec AS w ON w.offset_ = q.offset_ CROSS JOIN (VALUES :traits) AS k(trait, kind, index_) WHERE q.has_traits
) AS v JOIN w_res AS r ON r.offset_ = v.offset_ WHERE v.value IS NOT NULL AND :converts;

-- name: trait_update
-- What an update step sets.
INSERT INTO trait_value
SELECT e.pid, e.pid, u.trait, u.value, e.now, e.now, getvariable('wave'), e.eid, NULL, 'journey'
FROM w_enr AS e JOIN t_update AS u ON u.jid = e.jid AND u.step = e.step WHERE e.wake_at <= e.now;

-- name: w_from
-- The value in force of every sent trait of the wave's persons: the latest.
CREATE OR REPLACE TEMP TABLE w_from AS
SELECT v.pid, :columns FROM trait_value AS v SEMI JOIN w_p AS w ON w.pid = v.pid GROUP BY v.pid;

-- name: consent
-- Explicit statements of consent in this wave.
INSERT INTO consent
SELECT r.pid, r.pid, k.purpose, k.channel, k.granted, q.occurred_at, q.offset_, coalesce(q.p_source, q.source), q.p_text_version
FROM (
  SELECT offset_, p_purpose AS purpose, p_channel AS channel, p_granted AS granted FROM w_rec
  WHERE name = 'Consent Updated' AND p_purpose IS NOT NULL AND p_channel IS NOT NULL AND p_granted IS NOT NULL
  UNION ALL
  SELECT w.offset_, p.purpose, coalesce(w.p_channel, 'email'), FALSE FROM w_rec AS w JOIN (VALUES :purposes) AS p(purpose)
  ON w.p_purpose IS NULL OR w.p_purpose = p.purpose WHERE w.name = 'Unsubscribed'
) AS k JOIN w_rec AS q ON q.offset_ = k.offset_ JOIN w_res AS r ON r.offset_ = k.offset_;

-- name: w_consent
-- What is in force for the wave's persons: the latest statement; a tie denies.
CREATE OR REPLACE TEMP TABLE w_consent AS
SELECT k.pid, :columns FROM (
  SELECT s.pid, s.purpose, s.channel, s.granted, s.occurred_at = max(s.occurred_at) OVER (PARTITION BY s.pid, s.purpose, s.channel) AS latest
  FROM consent AS s SEMI JOIN w_p AS w ON w.pid = s.pid
) AS k WHERE k.latest GROUP BY k.pid;

-- name: suppression
-- Reasons not to use a channel any more.
INSERT INTO suppression
SELECT r.pid, r.pid, k.channel, k.reason, q.occurred_at, q.offset_, r.now, k.until, NULL, k.by_
FROM (
  SELECT offset_, 'email' AS channel, 'hard_bounce' AS reason, CAST(NULL AS TIMESTAMP) AS until, CAST(NULL AS VARCHAR) AS by_ FROM w_rec WHERE name = 'Email Bounced' AND p_bounce_type = 'hard'
  UNION ALL SELECT offset_, 'email', 'complaint', NULL, NULL FROM w_rec WHERE name = 'Email Marked as Spam'
  UNION ALL SELECT w.offset_, w.p_channel, w.p_reason, :until, json_extract_string(t.properties, '$.by') FROM w_rec AS w JOIN t_queue AS t ON t.offset_ = w.offset_
  WHERE w.name = 'Suppressed' AND w.p_channel IS NOT NULL AND w.p_reason IS NOT NULL
) AS k JOIN w_rec AS q ON q.offset_ = k.offset_ JOIN w_res AS r ON r.offset_ = k.offset_;

-- name: unsuppression
-- What ends reasons said so far: a row for each that it ends.
INSERT INTO suppression
SELECT s.pid, s.origin_pid, s.channel, s.reason, q.occurred_at, q.offset_, r.now, NULL, s.offset_, json_extract_string(t.properties, '$.by')
FROM w_rec AS q JOIN w_res AS r ON r.offset_ = q.offset_ JOIN t_queue AS t ON t.offset_ = q.offset_ JOIN suppression AS s ON s.pid = r.pid
ANTI JOIN (SELECT lifts FROM suppression WHERE lifts IS NOT NULL) AS l ON l.lifts = s.offset_
WHERE q.name = 'Unsuppressed' AND s.lifts IS NULL AND coalesce(q.p_channel, s.channel) = s.channel AND coalesce(q.p_reason, s.reason) = s.reason;

-- name: timed
-- Whether some reason ends by itself.
SELECT count(*) > 0 FROM suppression WHERE until IS NOT NULL;

-- name: w_suppression
-- The strongest reason in force per channel: those that hold for every class first.
CREATE OR REPLACE TEMP TABLE w_suppression AS
SELECT s.pid, :columns FROM suppression AS s JOIN w_p AS w ON w.pid = s.pid
ANTI JOIN (SELECT lifts FROM suppression WHERE lifts IS NOT NULL) AS l ON l.lifts = s.offset_
WHERE s.lifts IS NULL AND coalesce(s.until > w.now, TRUE) GROUP BY s.pid;

-- name: w_terms
-- Aggregates over the events of the wave's persons, as of each person's instant.
CREATE OR REPLACE TEMP TABLE w_terms AS
SELECT e.pid, :terms FROM event AS e JOIN w_p AS w ON w.pid = e.pid WHERE e.name IN (:names) GROUP BY e.pid;

-- name: w_live
-- Which journeys the wave's persons are in, before this item.
CREATE OR REPLACE TEMP TABLE w_live AS SELECT e.pid, :journeys FROM w_enr AS e GROUP BY e.pid;

-- name: w_ctx
-- One row per person of the wave, with everything that conditions and templates read.
CREATE OR REPLACE TEMP TABLE w_ctx AS
SELECT c.*, :segments FROM (
  SELECT c.*, :stored FROM (
    SELECT w.pid, w.now, w.offset_, w.name, p.pid IS NULL AS fresh, :columns
    FROM w_p AS w LEFT JOIN profile AS p ON p.pid = w.pid JOIN slot_joins ON TRUE
  ) AS c
) AS c;

-- name: profile_new
-- Profiles of new persons.
INSERT INTO profile BY NAME SELECT c.pid, :columns FROM w_ctx AS c WHERE c.fresh;

-- name: profile_update
-- What this wave changed.
UPDATE profile SET :updates FROM w_ctx AS c WHERE c.pid = profile.pid AND NOT c.fresh;
