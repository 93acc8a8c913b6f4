-- name: t_queue
-- The records of this tick behind those carried over, each body read once, every declared property typed.
-- ``s``: the texts that identifiers and traits are taken from.
CREATE OR REPLACE TEMP TABLE t_queue AS
SELECT x.offset_, x.recorded_at, x.kind, x.source, x.message_id, x.b.type AS type,
  CASE x.b.type WHEN 'track' THEN x.b.event WHEN 'page' THEN 'Page Viewed' WHEN 'screen' THEN 'Screen Viewed' END AS name,
  least(make_timestamp(TRY_CAST(x.b.occurred_at AS BIGINT)), x.recorded_at) AS occurred_at,
  x.b.traits IS NOT NULL AS has_traits, list_concat(:fixed, :traits) AS s,
  CAST(x.b.properties AS VARCHAR) AS properties, CAST(x.b.traits AS VARCHAR) AS traits, :columns
FROM (
  SELECT y.*, json_extract_string(y.b.properties, :properties) AS p FROM (
    SELECT r.offset_, r.recorded_at, r.kind, r.source, r.message_id, r.body, from_json(r.body, :shape) AS b
    FROM (
      SELECT offset_, recorded_at, kind, source, message_id, body FROM pending
      UNION ALL SELECT offset_, make_timestamp(recorded_us), kind, source, message_id, body FROM t_raw
    ) AS r
  ) AS y
) AS x;

-- name: t_queue_accounts
-- What records say of accounts, as records of these: numbered in the same order, far above, so that they are lanes of their own.
INSERT INTO t_queue
SELECT q.* REPLACE (CASE WHEN q.kind = 'call' THEN q.offset_ + :above ELSE q.offset_ END AS offset_, 'account' AS kind, q.type = 'group' AND q.properties IS NOT NULL AS has_traits,
  list_concat(list_slice(q.s, 1, :group_index - 1), [k.value], list_slice(q.s, :group_index + 1, :fixed), CASE WHEN q.type = 'group' THEN :traits END) AS s,
  CASE WHEN q.type = 'group' THEN q.properties END AS traits)
FROM t_queue AS q JOIN (
  SELECT i.offset_, i.value FROM (
    SELECT offset_, 'account' AS type, trim(list_extract(s, CASE WHEN type = 'group' THEN :group_index ELSE :account_index END), :space) AS value
    FROM t_queue WHERE type IN ('group', 'track', 'page', 'screen') AND (kind = 'account_carried' OR (kind = 'call' AND offset_ IN (SELECT offset_ FROM t_raw)))
  ) AS i WHERE i.value IS NOT NULL AND (:usable)
) AS k ON k.offset_ = q.offset_;

-- name: accounts_carried
-- As those that were carried over stand there now.
DELETE FROM t_queue WHERE kind = 'account_carried';

-- name: t_queue_none
-- No record in this tick.
CREATE OR REPLACE TEMP TABLE t_queue (offset_ BIGINT, recorded_at TIMESTAMP, kind VARCHAR, p_message_id VARCHAR, properties VARCHAR);

-- name: payload
-- What the records said, kept aside: only templates and people read it.
INSERT INTO event_payload SELECT q.offset_, q.properties, q.traits FROM t_queue AS q WHERE q.properties IS NOT NULL OR q.traits IS NOT NULL;

-- name: payload_done
-- The same where some records are left for the next tick.
INSERT INTO event_payload SELECT q.offset_, q.properties, q.traits FROM t_queue AS q
ANTI JOIN t_item AS i ON i.offset_ = q.offset_ ANTI JOIN t_passive AS p ON p.offset_ = q.offset_
WHERE q.properties IS NOT NULL OR q.traits IS NOT NULL;

-- name: t_item
-- The records that can change a decision, each with its lane; processed ones are removed. In a lane in which persons may
-- merge every record has its turn: whose it was depends on whether it comes before the merge. ``decides`` only if it can.
CREATE OR REPLACE TEMP TABLE t_item AS
SELECT x.offset_, x.recorded_at, x.lane, x.decides FROM (
  SELECT q.offset_, q.recorded_at, coalesce(l.lane, q.offset_) AS lane, g.lane IS NOT NULL AS merges,
    coalesce(q.name, '') IN (:reactive) OR q.type NOT IN ('track', 'page', 'screen') OR q.has_traits OR NOT coalesce(k.passive, FALSE) AS decides
  FROM t_queue AS q LEFT JOIN t_lane AS l ON l.offset_ = q.offset_ LEFT JOIN t_known AS k ON k.offset_ = q.offset_
  LEFT JOIN (
    SELECT m.lane FROM (
      SELECT p.lane, CAST(p.pid AS VARCHAR) AS who FROM t_lane_person AS p
      UNION SELECT o.lane, 'new ' || f.offset_ FROM t_known AS f JOIN t_lane AS o ON o.offset_ = f.offset_ WHERE f.starts
    ) AS m GROUP BY m.lane HAVING count(*) > 1
  ) AS g ON g.lane = l.lane
) AS x WHERE x.decides OR x.merges;

-- name: t_item_one
-- The same for a record alone, which is a lane of its own.
CREATE OR REPLACE TEMP TABLE t_item AS
SELECT q.offset_, q.recorded_at, q.offset_ AS lane, TRUE AS decides FROM t_queue AS q
WHERE coalesce(q.name, '') IN (:reactive) OR q.type NOT IN ('track', 'page', 'screen') OR q.has_traits
  OR NOT coalesce((SELECT count(DISTINCT node) = 1 AND count(pid) = count(*) FROM t_edge), FALSE);

-- name: t_passive
-- The records that cannot: appended at the end of the tick.
CREATE OR REPLACE TEMP TABLE t_passive AS SELECT q.offset_ FROM t_queue AS q ANTI JOIN t_item AS i ON i.offset_ = q.offset_;

-- name: t_passive_none
-- There are none.
CREATE OR REPLACE TEMP TABLE t_passive (offset_ BIGINT);

-- name: left_records
-- What is left to do: items, the earliest timer of a passage and of a segment, and whether some record is an alias.
SELECT (SELECT count(*) FROM t_item), (SELECT min(:wakes) FROM enrollment), (SELECT min(check_at) FROM profile), (SELECT coalesce(bool_or(alias), FALSE) FROM t_ident);

-- name: left
-- The same when no record is queued.
SELECT 0, (SELECT min(:wakes) FROM enrollment), (SELECT min(check_at) FROM profile), FALSE;

-- name: w_next
-- For every lane its next item: an instant with due timers, or a record; a timer at T comes before a record at T. Records
-- ``before`` the next one that decides, and before the next timer, may come with the first of them.
-- Lanes do not depend on each other, so a wave may take some of them; that bounds its memory.
CREATE OR REPLACE TEMP TABLE w_next AS
SELECT coalesce(r.lane, t.lane) AS lane,
  CASE WHEN r.at_ IS NULL OR t.at_ <= r.at_ THEN t.at_ END AS timer_at,
  CASE WHEN t.at_ IS NULL OR r.at_ < t.at_ THEN r.at_ END AS record_at,
  coalesce(least(r.decides_at, t.at_), TIMESTAMP '9999-12-31') AS before
FROM (SELECT lane, min(recorded_at) AS at_, min(recorded_at) FILTER (WHERE decides) AS decides_at FROM t_item GROUP BY lane) AS r
FULL JOIN (
  SELECT coalesce(p.lane, -d.pid) AS lane, min(d.at_) AS at_
  FROM (
    SELECT pid, :wakes AS at_ FROM enrollment WHERE :wakes <= getvariable('horizon')
    UNION ALL SELECT pid, check_at FROM profile WHERE check_at <= getvariable('horizon')
  ) AS d LEFT JOIN t_lane_person AS p ON p.pid = d.pid
  GROUP BY coalesce(p.lane, -d.pid)
) AS t ON t.lane = r.lane ORDER BY coalesce(r.lane, t.lane) LIMIT :most;

-- name: w_next_records
-- The same when no timer can be due.
CREATE OR REPLACE TEMP TABLE w_next AS
SELECT lane, CAST(NULL AS TIMESTAMP) AS timer_at, min(recorded_at) AS record_at,
  coalesce(min(recorded_at) FILTER (WHERE decides), TIMESTAMP '9999-12-31') AS before
FROM t_item GROUP BY lane ORDER BY lane LIMIT :most;

-- name: w_next_timers
-- The same when no record is left.
CREATE OR REPLACE TEMP TABLE w_next AS
SELECT coalesce(p.lane, -d.pid) AS lane, min(d.at_) AS timer_at, CAST(NULL AS TIMESTAMP) AS record_at
FROM (
  SELECT pid, :wakes AS at_ FROM enrollment WHERE :wakes <= getvariable('horizon')
  UNION ALL SELECT pid, check_at FROM profile WHERE check_at <= getvariable('horizon')
) AS d LEFT JOIN t_lane_person AS p ON p.pid = d.pid
GROUP BY coalesce(p.lane, -d.pid) ORDER BY lane LIMIT :most;

-- name: w_rec
-- The records of this wave, of a lane at most one that decides; those that do not come all together, up to the next item.
CREATE OR REPLACE TEMP TABLE w_rec AS
SELECT q.* EXCLUDE (s, properties, traits), i.decides FROM t_queue AS q JOIN t_item AS i ON i.offset_ = q.offset_ JOIN w_next AS n ON n.lane = i.lane AND n.record_at IS NOT NULL
  AND (i.recorded_at = n.record_at OR i.recorded_at < n.before);

-- name: w_rec_alone
-- The one record of the tick.
CREATE OR REPLACE TEMP TABLE w_rec AS SELECT q.* EXCLUDE (s, properties, traits), TRUE AS decides FROM t_queue AS q;

-- name: items_done
-- It leaves the queue.
DELETE FROM t_item;

-- name: w_timer
-- The persons with a timer due at their lane's instant; ``checks``: a segment may change because time passed.
CREATE OR REPLACE TEMP TABLE w_timer AS
SELECT d.pid, n.timer_at AS now, bool_or(d.checks) AS checks
FROM (
  SELECT pid, :wakes AS at_, FALSE AS checks FROM enrollment WHERE :wakes <= getvariable('horizon')
  UNION ALL SELECT pid, check_at, TRUE FROM profile WHERE check_at <= getvariable('horizon')
) AS d LEFT JOIN t_lane_person AS p ON p.pid = d.pid
JOIN w_next AS n ON n.lane = coalesce(p.lane, -d.pid) AND n.timer_at = d.at_
GROUP BY d.pid, n.timer_at;

-- name: item_done
-- Processed records leave the queue.
DELETE FROM t_item USING w_rec WHERE w_rec.offset_ = t_item.offset_;

-- name: event
-- The records of the wave become events of their persons.
INSERT INTO event BY NAME
SELECT q.offset_, r.pid, r.pid AS origin_pid, q.type, q.name, q.occurred_at, q.recorded_at, q.source, q.message_id, :columns
FROM w_rec AS q JOIN w_res AS r ON r.offset_ = q.offset_;

-- name: outcome
-- What delivery reported in this wave.
INSERT INTO message_outcome
SELECT q.p_message_id, q.name, q.occurred_at, q.offset_, q.p_detail FROM w_rec AS q WHERE q.kind = 'outcome';

-- name: passive_ready
-- Records nothing reacts to, whose lane has no earlier item left.
CREATE OR REPLACE TEMP TABLE w_rec AS
SELECT q.* EXCLUDE (s, properties, traits) FROM t_queue AS q JOIN t_passive AS k ON k.offset_ = q.offset_ LEFT JOIN t_lane AS l ON l.offset_ = q.offset_
LEFT JOIN (SELECT lane, min(recorded_at) AS at_ FROM t_item GROUP BY lane) AS b ON b.lane = coalesce(l.lane, q.offset_)
WHERE b.at_ IS NULL OR b.at_ > q.recorded_at;

-- name: passive_person
-- Their persons: every identifier of a passive record belongs to one person by now.
CREATE OR REPLACE TEMP TABLE w_res AS
SELECT i.offset_, min(i.recorded_at) AS now, min(i.pid) AS pid, 1 AS owners FROM slot_owners AS i GROUP BY i.offset_;

-- name: passive_done
-- They are processed.
DELETE FROM t_passive USING w_rec WHERE w_rec.offset_ = t_passive.offset_;

-- name: carry_clear
-- Whatever was carried over is in the queue now.
DELETE FROM pending;

-- name: carry_over
-- Records whose turn has not come wait in the store.
INSERT INTO pending
SELECT r.offset_, r.recorded_at, r.kind, r.source, r.message_id, r.body FROM (
  SELECT p.offset_, p.recorded_at, p.kind, p.source, p.message_id, p.body FROM t_carried AS p
  UNION ALL SELECT n.offset_, make_timestamp(n.recorded_us), n.kind, n.source, n.message_id, n.body FROM t_raw AS n
) AS r SEMI JOIN (SELECT offset_ FROM t_item UNION ALL SELECT offset_ FROM t_passive) AS d ON d.offset_ = r.offset_;

-- name: carry_over_accounts
-- The same where the parts of a record that speak of an account have turns of their own.
INSERT INTO pending
SELECT r.offset_, r.recorded_at, r.kind, r.source, r.message_id, r.body FROM (
  SELECT p.offset_, p.recorded_at, p.kind, p.source, p.message_id, p.body FROM t_carried AS p
  UNION ALL SELECT n.offset_, make_timestamp(n.recorded_us), n.kind, n.source, n.message_id, n.body FROM t_raw AS n
  UNION ALL SELECT n.offset_ + :above, make_timestamp(n.recorded_us), 'account_carried', n.source, n.message_id, n.body FROM t_raw AS n
) AS r SEMI JOIN (SELECT offset_ FROM t_item UNION ALL SELECT offset_ FROM t_passive) AS d ON d.offset_ = r.offset_;

-- name: kept_accounts
-- Of what was kept until the first deployment.
INSERT INTO pending SELECT offset_ + :above, recorded_at, 'account_carried', source, message_id, body FROM pending WHERE kind = 'call';

-- name: t_carried
-- What an earlier tick carried over.
CREATE OR REPLACE TEMP TABLE t_carried AS SELECT * FROM pending;
