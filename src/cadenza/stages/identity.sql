-- name: t_ident
-- Every usable identifier of every queued record. An alias gives two candidates, settled when its turn comes.
CREATE OR REPLACE TEMP TABLE t_ident AS
SELECT i.offset_, i.recorded_at, i.type, i.value, min(i.priority) AS priority, bool_and(i.alias) AS alias
FROM (
  SELECT q.offset_, q.recorded_at, k.type, k.priority, k.alias,
    CASE WHEN k.type = 'person' THEN CASE WHEN q.kind IN ('outcome', 'task', 'person') THEN list_extract(q.s, k.index_) END
      WHEN :accounts AND k.type = 'account' THEN CASE WHEN q.kind = 'account' THEN list_extract(q.s, k.index_) END
      WHEN q.kind IN ('outcome', 'task', 'person', 'account') OR (k.alias AND (q.type IS DISTINCT FROM 'alias' OR trim(list_extract(q.s, k.index_), :space) IS NOT DISTINCT FROM trim(list_extract(q.s, :user), :space))) THEN NULL
      WHEN k.type = 'email' THEN lower(trim(list_extract(q.s, k.index_), :space)) ELSE trim(list_extract(q.s, k.index_), :space) END AS value
  FROM t_queue AS q CROSS JOIN (VALUES :kinds) AS k(type, priority, alias, index_)
) AS i
WHERE i.value IS NOT NULL AND (:usable)
GROUP BY i.offset_, i.recorded_at, i.type, i.value;

-- name: t_edge
-- Records joined to nodes: the person an identifier belongs to already, else the identifier itself.
CREATE OR REPLACE TEMP TABLE t_edge AS
SELECT i.offset_, i.pid, CASE WHEN i.pid IS NOT NULL THEN 'p:' || CAST(i.pid AS VARCHAR) ELSE i.type || ':' || i.value END AS node
FROM slot_owners AS i;

-- name: t_edge_created
-- A delivery outcome may name a person whom a record of this tick creates: that record's number is the person's.
INSERT INTO t_edge SELECT DISTINCT i.offset_, CAST(NULL AS BIGINT), 'person:' || CAST(i.offset_ AS VARCHAR) FROM t_ident AS i WHERE i.type <> 'person';

-- name: t_known
-- Whether a record brings nothing new to identity: all its identifiers have one owner, or an earlier record brings the same ones.
-- ``starts``: a person begins with it, because none of its identifiers has an owner or came with an earlier record.
CREATE OR REPLACE TEMP TABLE t_known AS
SELECT s.offset_, s.known OR row_number() OVER (PARTITION BY s.nodes ORDER BY s.offset_) > 1 AS passive, s.owned = 0 AND s.earliest = s.offset_ AS starts
FROM (
  SELECT e.offset_, count(DISTINCT e.node) = 1 AND count(e.pid) = count(*) AS known, count(e.pid) AS owned, min(e.first_) AS earliest,
    string_agg(e.node, '|' ORDER BY e.node) AS nodes
  FROM (SELECT d.offset_, d.node, d.pid, min(d.offset_) OVER (PARTITION BY d.node) AS first_ FROM t_edge AS d) AS e GROUP BY e.offset_
) AS s;

-- name: t_lane
-- To begin with, every record is a lane of its own.
CREATE OR REPLACE TEMP TABLE t_lane AS SELECT DISTINCT offset_, offset_ AS lane FROM t_edge;

-- name: t_lane_none
-- A record alone needs no lane.
CREATE OR REPLACE TEMP TABLE t_lane (offset_ BIGINT, lane BIGINT);

-- name: t_lane_person_one
-- The same for a record alone.
CREATE OR REPLACE TEMP TABLE t_lane_person AS SELECT DISTINCT e.pid, e.offset_ AS lane FROM t_edge AS e WHERE e.pid IS NOT NULL;

-- name: t_lane_person_none
-- Without records nobody's timers wait.
CREATE OR REPLACE TEMP TABLE t_lane_person (pid BIGINT, lane BIGINT);

-- name: t_lane_next
-- One round: a lane takes the smallest number among the lanes it shares a node with, and that lane's own.
CREATE OR REPLACE TEMP TABLE t_lane_next AS
SELECT e.offset_, min(least(n.lane, j.lane)) AS lane
FROM t_edge AS e
JOIN (SELECT d.node, min(l.lane) AS lane FROM t_edge AS d JOIN t_lane AS l ON l.offset_ = d.offset_ GROUP BY d.node) AS n ON n.node = e.node
JOIN t_lane AS j ON j.offset_ = n.lane
GROUP BY e.offset_;

-- name: t_lane_settle
-- Take the round over.
CREATE OR REPLACE TEMP TABLE t_lane AS SELECT offset_, lane FROM t_lane_next;

-- name: t_lane_person
-- The known persons of each lane: their timers wait for the lane's turn.
CREATE OR REPLACE TEMP TABLE t_lane_person AS
SELECT DISTINCT e.pid, l.lane FROM t_edge AS e JOIN t_lane AS l ON l.offset_ = e.offset_ WHERE e.pid IS NOT NULL;

-- name: owners
-- Identifiers of queued records and who holds them now.
SELECT i.offset_, i.recorded_at, i.type, i.value, i.priority, i.alias, d.pid
FROM t_ident AS i LEFT JOIN identifier AS d ON d.type = i.type AND d.value = i.value;

-- name: owners_outcomes
-- The same where delivery outcomes name their person by number.
SELECT i.offset_, i.recorded_at, i.type, i.value, i.priority, i.alias, coalesce(d.pid, p.merged_into, p.pid) AS pid
FROM t_ident AS i LEFT JOIN identifier AS d ON d.type = i.type AND d.value = i.value
LEFT JOIN person AS p ON i.type = 'person' AND p.pid = TRY_CAST(i.value AS BIGINT);

-- name: w_owner
-- The identifiers of the wave's records and who holds them.
CREATE OR REPLACE TEMP TABLE w_owner AS
SELECT i.* FROM slot_owners AS i SEMI JOIN w_rec AS r ON r.offset_ = i.offset_ WHERE i.type <> 'person' OR i.pid IS NOT NULL;

-- name: w_alias
-- An alias names a known user if it can, else an anonymous visitor.
CREATE OR REPLACE TEMP TABLE w_owner AS
SELECT o.* FROM w_owner AS o
QUALIFY NOT o.alias OR o.type = CASE WHEN bool_or(o.alias AND o.type = 'user_id' AND o.pid IS NOT NULL) OVER (PARTITION BY o.offset_)
  THEN 'user_id' ELSE 'anonymous_id' END;

-- name: w_res
-- The person of each record: the oldest owner, or a new person numbered like the record.
CREATE OR REPLACE TEMP TABLE w_res AS
SELECT offset_, min(recorded_at) AS now, coalesce(min(pid), offset_) AS pid, count(DISTINCT pid) AS owners, count(*) - count(pid) AS brought
FROM w_owner GROUP BY offset_;

-- name: known
-- What the wave's records are: names of events, traits, new persons, new identifiers, merges, records of nobody, persons.
SELECT (SELECT coalesce(list(DISTINCT name), []) FROM w_rec WHERE name IS NOT NULL), (SELECT bool_or(has_traits) FROM w_rec),
  count(*) FILTER (WHERE owners = 0), coalesce(sum(brought), 0), count(*) FILTER (WHERE owners > 1), (SELECT count(*) FROM w_rec) - count(*), count(*)
FROM w_res;

-- name: unidentified
-- Records without any usable identifier are kept with their reason.
INSERT INTO unidentified
SELECT q.offset_, q.recorded_at, q.name, 'no_identifier' FROM w_rec AS q ANTI JOIN w_res AS r ON r.offset_ = q.offset_;

-- name: person
-- New persons.
INSERT INTO person SELECT pid, now, NULL FROM w_res WHERE owners = 0;

-- name: lane_person
-- New persons belong to their record's lane for the rest of the tick.
INSERT INTO t_lane_person SELECT r.pid, coalesce(l.lane, r.offset_) FROM w_res AS r LEFT JOIN t_lane AS l ON l.offset_ = r.offset_ WHERE r.owners = 0;

-- name: identifier
-- New identifiers.
INSERT INTO identifier SELECT o.type, o.value, r.pid FROM w_owner AS o JOIN w_res AS r ON r.offset_ = o.offset_ WHERE o.pid IS NULL AND o.type <> 'person';

-- name: link
-- Each attachment is a row of the ledger of identity.
INSERT INTO link
SELECT o.offset_, o.recorded_at, r.pid, CASE WHEN r.owners = 0 THEN 'new' ELSE 'attach' END, o.type, o.value, NULL, 1.0
FROM w_owner AS o JOIN w_res AS r ON r.offset_ = o.offset_ WHERE o.pid IS NULL AND o.type <> 'person';

-- name: w_merge
-- Persons that this wave's records show to be one.
CREATE OR REPLACE TEMP TABLE w_merge AS
SELECT DISTINCT o.pid AS loser, r.pid AS survivor, r.now, r.offset_
FROM w_owner AS o JOIN w_res AS r ON r.offset_ = o.offset_ WHERE r.owners > 1 AND o.pid <> r.pid;

-- name: link_merge
-- Each merge is a row of the ledger of identity, with the identifier that proved it.
INSERT INTO link
SELECT m.offset_, m.now, m.survivor, 'merge', min(o.type), min_by(o.value, (o.type, o.value)), m.loser, 1.0
FROM w_merge AS m JOIN w_owner AS o ON o.offset_ = m.offset_ AND o.pid = m.loser GROUP BY m.offset_, m.now, m.survivor, m.loser;

-- name: merge_person
-- The merged point to the survivor, also those merged into them before.
UPDATE person SET merged_into = m.survivor FROM w_merge AS m WHERE person.pid = m.loser OR person.merged_into = m.loser;

-- name: merge_rows
-- What belonged to the merged belongs to the survivor.
UPDATE merged_table SET pid = m.survivor FROM w_merge AS m WHERE merged_table.pid = m.loser;

-- name: merge_membership
-- The survivor is a member where any of them was (never a trigger); the merged end.
INSERT INTO membership
SELECT * FROM (
  SELECT m.survivor AS pid, m.survivor AS origin_pid, x.segment, min(m.now) AS ts, TRUE AS entered, 'merged' AS cause
  FROM w_merge AS m JOIN w_member AS x ON x.pid = m.loser ANTI JOIN w_member AS y ON y.pid = m.survivor AND y.segment = x.segment
  GROUP BY m.survivor, x.segment
  UNION ALL
  SELECT m.loser, m.loser, x.segment, m.now, FALSE, 'merged' FROM w_merge AS m JOIN w_member AS x ON x.pid = m.loser
) AS rows_;

-- name: w_member
-- Memberships of the merging persons, tall.
CREATE OR REPLACE TEMP TABLE w_member AS
SELECT p.pid, s.segment FROM profile AS p JOIN (SELECT loser AS pid FROM w_merge UNION SELECT survivor FROM w_merge) AS m ON m.pid = p.pid
CROSS JOIN (VALUES :segments) AS s(segment) WHERE :member;

-- name: merge_profile
-- The survivor takes the union of memberships.
UPDATE profile SET check_at = u.check_at, :updates FROM (
  SELECT g.survivor, min(p.check_at) AS check_at, :unions
  FROM (SELECT survivor, loser AS pid FROM w_merge UNION SELECT survivor, survivor FROM w_merge) AS g JOIN profile AS p ON p.pid = g.pid
  GROUP BY g.survivor
) AS u WHERE profile.pid = u.survivor;

-- name: unprofile
-- The merged have no profile of their own any more.
DELETE FROM profile USING w_merge AS m WHERE profile.pid = m.loser;

-- name: w_conflict
-- Two live passages through one journey with one key: the earliest stays.
CREATE OR REPLACE TEMP TABLE w_conflict AS
SELECT e.eid, e.pid, e.jid, m.now FROM enrollment AS e JOIN (SELECT DISTINCT survivor, now FROM w_merge) AS m ON m.survivor = e.pid
JOIN t_version AS v ON v.jid = e.jid ANTI JOIN t_leaving AS l ON l.jid = e.jid AND l.step = e.step
WHERE e.step >= 0
QUALIFY row_number() OVER (PARTITION BY e.pid, v.journey, e.key ORDER BY e.entered_at, e.eid) > 1;

-- name: w_conflict_declared
-- The same where journeys declare which one stays: the earliest, the latest, the one that has moved most, or both.
CREATE OR REPLACE TEMP TABLE w_conflict AS
SELECT e.eid, e.pid, e.jid, m.now FROM enrollment AS e JOIN (SELECT DISTINCT survivor, now FROM w_merge) AS m ON m.survivor = e.pid
JOIN t_version AS v ON v.jid = e.jid ANTI JOIN t_leaving AS l ON l.jid = e.jid AND l.step = e.step
LEFT JOIN (
  SELECT t.eid, count(*) AS n FROM transition AS t SEMI JOIN w_merge AS m ON m.survivor = t.pid GROUP BY t.eid
) AS k ON k.eid = e.eid
WHERE e.step >= 0 AND v.on_merge <> 'both'
QUALIFY row_number() OVER (PARTITION BY e.pid, v.journey, e.key ORDER BY
  CASE WHEN v.on_merge = 'furthest' THEN coalesce(k.n, 0) END DESC, CASE WHEN v.on_merge = 'latest' THEN e.entered_at END DESC, e.entered_at, e.eid) > 1;

-- name: end_conflict
-- The others end.
INSERT INTO enrollment_end SELECT eid, pid, jid, now, 'merged' FROM w_conflict;

-- name: stop_conflict
-- And rest nowhere.
UPDATE enrollment SET step = -1, wake_at = NULL FROM w_conflict AS x WHERE enrollment.eid = x.eid;

-- name: w_p_records
-- The wave's persons: of its records that can change a decision.
CREATE OR REPLACE TEMP TABLE w_p AS SELECT r.pid, r.now, r.offset_, q.name FROM w_res AS r JOIN w_rec AS q ON q.offset_ = r.offset_ WHERE q.decides;

-- name: w_p_timers
-- The wave's persons: with due timers.
CREATE OR REPLACE TEMP TABLE w_p AS SELECT pid, now, CAST(NULL AS BIGINT) AS offset_, CAST(NULL AS VARCHAR) AS name FROM w_timer;

-- name: w_p
-- The wave's persons: of its records and with due timers.
CREATE OR REPLACE TEMP TABLE w_p AS
SELECT r.pid, r.now, r.offset_, q.name FROM w_res AS r JOIN w_rec AS q ON q.offset_ = r.offset_ WHERE q.decides
UNION ALL SELECT pid, now, NULL, NULL FROM w_timer;

-- name: w_p_everyone
-- Everyone, at one instant: after a deployment.
CREATE OR REPLACE TEMP TABLE w_p AS
SELECT pid, getvariable('horizon') AS now, CAST(NULL AS BIGINT) AS offset_, CAST(NULL AS VARCHAR) AS name FROM profile;
