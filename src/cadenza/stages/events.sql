-- name: t_raw
-- The records of this tick as they were read from the log.
CREATE OR REPLACE TEMP TABLE t_raw (offset_ BIGINT, recorded_us BIGINT, kind VARCHAR, source VARCHAR, message_id VARCHAR, body VARCHAR);

-- name: t_extract
-- The records of this tick and those carried over, every path of interest extracted in one pass.
CREATE OR REPLACE TEMP TABLE t_extract AS
SELECT r.offset_, r.recorded_at, r.kind, r.source, r.message_id,
  json_extract_string(r.body, :paths) AS s, json_extract(r.body, :paths) AS j
FROM (
  SELECT offset_, make_timestamp(recorded_us) AS recorded_at, kind, source, message_id, body FROM t_raw
  UNION ALL SELECT offset_, recorded_at, kind, source, message_id, body FROM pending
) AS r;

-- name: t_queue
-- Every declared property typed, in the order of the log.
CREATE OR REPLACE TEMP TABLE t_queue AS
SELECT x.offset_, x.recorded_at, x.kind, x.source, x.message_id, list_extract(x.s, 1) AS type,
  CASE list_extract(x.s, 1) WHEN 'track' THEN list_extract(x.s, 2) WHEN 'page' THEN 'Page Viewed' WHEN 'screen' THEN 'Screen Viewed' END AS name,
  least(make_timestamp(TRY_CAST(list_extract(x.s, 3) AS BIGINT)), x.recorded_at) AS occurred_at,
  list_extract(x.j, 5) IS NOT NULL AS has_traits, :columns
FROM t_extract AS x ORDER BY x.offset_;

-- name: t_payload
-- What the records said, kept aside: only templates and people read it.
CREATE OR REPLACE TEMP TABLE t_payload AS
SELECT x.offset_, CAST(list_extract(x.j, 4) AS VARCHAR) AS properties, CAST(list_extract(x.j, 5) AS VARCHAR) AS traits
FROM t_extract AS x WHERE list_extract(x.j, 4) IS NOT NULL OR list_extract(x.j, 5) IS NOT NULL ORDER BY x.offset_;

-- name: payload
-- The payloads of the processed records are kept.
INSERT INTO event_payload SELECT y.* FROM t_payload AS y SEMI JOIN t_done AS d ON d.offset_ = y.offset_;

-- name: t_item
-- The records that can change a decision, each with its lane; processed ones are removed.
CREATE OR REPLACE TEMP TABLE t_item AS
SELECT q.offset_, q.recorded_at, coalesce(l.lane, q.offset_) AS lane
FROM t_queue AS q LEFT JOIN t_lane AS l ON l.offset_ = q.offset_ LEFT JOIN t_known AS k ON k.offset_ = q.offset_
WHERE coalesce(q.name, '') IN (:reactive) OR q.type NOT IN ('track', 'page', 'screen') OR q.has_traits OR NOT coalesce(k.passive, FALSE);

-- name: w_next
-- For every lane its next item: an instant with due timers, or a record; a timer at T comes before a record at T.
CREATE OR REPLACE TEMP TABLE w_next AS
SELECT coalesce(r.lane, t.lane) AS lane,
  CASE WHEN r.at_ IS NULL OR t.at_ <= r.at_ THEN t.at_ END AS timer_at,
  CASE WHEN t.at_ IS NULL OR r.at_ < t.at_ THEN r.at_ END AS record_at
FROM (SELECT lane, min(recorded_at) AS at_ FROM t_item GROUP BY lane) AS r
FULL JOIN (
  SELECT coalesce(p.lane, -d.pid) AS lane, min(d.at_) AS at_
  FROM (
    SELECT pid, wake_at AS at_ FROM enrollment WHERE wake_at <= getvariable('horizon')
    UNION ALL SELECT pid, check_at FROM profile WHERE check_at <= getvariable('horizon')
  ) AS d LEFT JOIN t_lane_person AS p ON p.pid = d.pid
  GROUP BY coalesce(p.lane, -d.pid)
) AS t ON t.lane = r.lane;

-- name: w_next_records
-- The same when no timer can be due.
CREATE OR REPLACE TEMP TABLE w_next AS
SELECT lane, CAST(NULL AS TIMESTAMP) AS timer_at, min(recorded_at) AS record_at FROM t_item GROUP BY lane;

-- name: w_next_timers
-- The same when no record is left.
CREATE OR REPLACE TEMP TABLE w_next AS
SELECT coalesce(p.lane, -d.pid) AS lane, min(d.at_) AS timer_at, CAST(NULL AS TIMESTAMP) AS record_at
FROM (
  SELECT pid, wake_at AS at_ FROM enrollment WHERE wake_at <= getvariable('horizon')
  UNION ALL SELECT pid, check_at FROM profile WHERE check_at <= getvariable('horizon')
) AS d LEFT JOIN t_lane_person AS p ON p.pid = d.pid
GROUP BY coalesce(p.lane, -d.pid);

-- name: w_rec
-- The records of this wave, at most one of a lane.
CREATE OR REPLACE TEMP TABLE w_rec AS
SELECT q.* FROM t_queue AS q JOIN t_item AS i ON i.offset_ = q.offset_ JOIN w_next AS n ON n.lane = i.lane AND n.record_at = i.recorded_at;

-- name: w_timer
-- The persons with a timer due at their lane's instant; ``checks``: a segment may change because time passed.
CREATE OR REPLACE TEMP TABLE w_timer AS
SELECT d.pid, n.timer_at AS now, bool_or(d.checks) AS checks
FROM (
  SELECT pid, wake_at AS at_, FALSE AS checks FROM enrollment WHERE wake_at <= getvariable('horizon')
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
SELECT q.* FROM t_queue AS q LEFT JOIN t_lane AS l ON l.offset_ = q.offset_
LEFT JOIN (SELECT lane, min(recorded_at) AS at_ FROM t_item GROUP BY lane) AS b ON b.lane = coalesce(l.lane, q.offset_)
WHERE q.offset_ NOT IN (SELECT offset_ FROM t_done) AND q.offset_ NOT IN (SELECT offset_ FROM t_item) AND (b.at_ IS NULL OR b.at_ > q.recorded_at);

-- name: passive_person
-- Their persons: every identifier of a passive record belongs to one person by now.
CREATE OR REPLACE TEMP TABLE w_res AS
SELECT i.offset_, min(i.recorded_at) AS now, min(i.pid) AS pid, 1 AS owners FROM slot_owners AS i GROUP BY i.offset_;

-- name: t_done
-- Offsets of the records processed as items in this tick.
CREATE OR REPLACE TEMP TABLE t_done (offset_ BIGINT);

-- name: mark_done
-- The wave's records are processed.
INSERT INTO t_done SELECT offset_ FROM w_rec;

-- name: carry_clear
-- Whatever was carried over is in the queue now.
DELETE FROM pending;

-- name: carry_over
-- Records whose turn has not come wait in the store.
INSERT INTO pending
SELECT r.offset_, make_timestamp(r.recorded_us), r.kind, r.source, r.message_id, r.body FROM t_raw AS r ANTI JOIN t_done AS d ON d.offset_ = r.offset_
UNION ALL SELECT p.offset_, p.recorded_at, p.kind, p.source, p.message_id, p.body FROM t_carried AS p ANTI JOIN t_done AS d ON d.offset_ = p.offset_;

-- name: t_carried
-- What an earlier tick carried over.
CREATE OR REPLACE TEMP TABLE t_carried AS SELECT * FROM pending;
