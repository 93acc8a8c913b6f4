-- name: w_leaving
-- Those who leave their version when another comes into force, with what is done with them.
CREATE OR REPLACE TEMP TABLE w_leaving AS
SELECT e.rowid AS rid, e.eid, e.pid, e.origin_pid, e.jid, e.key, e.entry_offset, e.wake_at, e.limit_at, e.due_since, v.journey,
  t.fate, t.new_jid, t.to_step, t.carry, t.seconds, t.limit_s, t.to_kind
FROM enrollment AS e JOIN t_migration AS t ON t.jid = e.jid AND t.step = e.step JOIN journey_version AS v ON v.jid = e.jid WHERE e.step >= 0;

-- name: leave_end
-- Those who do not go over end here.
INSERT INTO enrollment_end SELECT eid, pid, jid, getvariable('horizon'), CASE fate WHEN 'restart' THEN 'restarted' ELSE 'replaced' END FROM w_leaving WHERE fate <> 'map';

-- name: leave_rest
-- And rest nowhere.
UPDATE enrollment SET step = -1, wake_at = NULL FROM w_leaving AS w WHERE w.rid = enrollment.rowid AND w.fate <> 'map';

-- name: restart
-- Those who begin again: a passage of their own through the new version, due at once.
INSERT INTO enrollment BY NAME
SELECT CAST(md5_number_upper(journey || ':restarted|' || CAST(pid AS VARCHAR) || '|' || CAST(eid AS VARCHAR) || '|' || CAST(epoch_us(getvariable('horizon')) AS VARCHAR)) >> 1 AS BIGINT) AS eid,
  pid, origin_pid, new_jid AS jid, key, getvariable('horizon') AS entered_at, entry_offset, getvariable('horizon') + to_seconds(limit_s) AS limit_at,
  to_step AS step, getvariable('horizon') AS wake_at, CAST(NULL AS TIMESTAMP) AS due_since, :kept
FROM w_leaving AS w WHERE fate = 'restart';

-- name: map
-- Those who go over stand at the step that the map names, with their clocks.
UPDATE enrollment SET jid = w.new_jid, step = w.to_step, limit_at = w.limit_at + to_seconds(w.limit_s),
  wake_at = greatest(getvariable('horizon'), least(w.limit_at + to_seconds(w.limit_s),
    CASE w.carry WHEN 'clock' THEN w.wake_at + to_seconds(w.seconds) WHEN 'stay' THEN w.wake_at ELSE getvariable('horizon') + to_seconds(w.seconds) END)),
  due_since = CASE WHEN w.to_kind = 'send' THEN CASE w.carry WHEN 'stay' THEN w.due_since ELSE getvariable('horizon') END END
FROM w_leaving AS w WHERE w.rid = enrollment.rowid AND w.fate = 'map';

-- name: mapped
-- Which is a move.
INSERT INTO transition SELECT eid, pid, new_jid, getvariable('horizon'), 'mapped', -2, to_step, NULL, NULL FROM w_leaving WHERE fate = 'map';

-- name: forget_seen
-- What several conditions have said in the older version is not known in the new one.
UPDATE enrollment SET seen = NULL FROM w_leaving AS w WHERE w.rid = enrollment.rowid AND w.fate = 'map';

-- name: look_at_mapped
-- They are looked at at once.
UPDATE profile SET check_at = getvariable('horizon') FROM w_leaving AS w WHERE w.pid = profile.pid AND w.fate = 'map';

-- name: unhold
-- A way that a pause held back is not one of the new version.
DELETE FROM paused USING w_leaving AS w WHERE w.eid = paused.eid;
