-- name: control
-- What people commanded of running journeys and of delivery.
INSERT INTO control VALUES (:offset, getvariable('horizon'), :command, :journey, :channel, :mode);

-- name: controls
-- All commands, in order.
SELECT command, journey, channel, mode FROM control ORDER BY offset_;

-- name: taken_up
-- Whether passages go on that were held back by a pause which is over.
SELECT count(*) FROM paused WHERE since IS NULL;

-- name: w_paused
-- Those inside a journey that pauses, with their clocks; and by which way one would go on that was held back before.
CREATE OR REPLACE TEMP TABLE w_paused AS
SELECT e.rowid AS rid, e.eid, e.wake_at, e.limit_at, p.way FROM enrollment AS e
JOIN journey_version AS v ON v.jid = e.jid LEFT JOIN paused AS p ON p.eid = e.eid WHERE e.step >= 0 AND v.journey = :journey;

-- name: paused_before
-- A pause takes the place of the one before it.
DELETE FROM paused USING w_paused AS w WHERE w.eid = paused.eid;

-- name: paused
-- Who stands still, since when, and the clocks of then.
INSERT INTO paused SELECT eid, getvariable('horizon'), wake_at, limit_at, way FROM w_paused;

-- name: freeze
-- Frozen clocks: no instant is due any more.
UPDATE enrollment SET wake_at = NULL, limit_at = TIMESTAMP '9999-12-31' FROM w_paused AS w WHERE w.rid = enrollment.rowid;

-- name: hold
-- Running clocks: only the time limit is due.
UPDATE enrollment SET wake_at = w.limit_at FROM w_paused AS w WHERE w.rid = enrollment.rowid;

-- name: resume_frozen
-- Clocks go on where they stood: they are shifted by the length of the pause. Who was held back is due now.
UPDATE enrollment SET wake_at = CASE WHEN p.way IS NULL AND k.kind <> 'wait_date' THEN p.wake_at + (getvariable('horizon') - p.since) ELSE getvariable('horizon') END,
  limit_at = p.limit_at + (getvariable('horizon') - p.since), due_since = enrollment.due_since + (getvariable('horizon') - p.since)
FROM paused AS p, journey_version AS v, journey_step AS k
WHERE p.eid = enrollment.eid AND p.since IS NOT NULL AND enrollment.step >= 0 AND v.jid = enrollment.jid AND v.journey = :journey
  AND k.jid = enrollment.jid AND k.step = enrollment.step;

-- name: resume_held
-- What came due in the pause is due now.
UPDATE enrollment SET wake_at = CASE WHEN p.way IS NULL AND k.kind <> 'wait_date' THEN greatest(p.wake_at, getvariable('horizon')) ELSE getvariable('horizon') END
FROM paused AS p, journey_version AS v, journey_step AS k
WHERE p.eid = enrollment.eid AND p.since IS NOT NULL AND enrollment.step >= 0 AND v.jid = enrollment.jid AND v.journey = :journey
  AND k.jid = enrollment.jid AND k.step = enrollment.step;

-- name: resumed
-- Nobody of the journey stands still any more; those held back are remembered until they have gone on.
DELETE FROM paused USING enrollment AS e, journey_version AS v
WHERE e.eid = paused.eid AND v.jid = e.jid AND v.journey = :journey AND (paused.way IS NULL OR e.step < 0);

-- name: resumed_ways
-- They go on at their next item, which is due at once.
UPDATE paused SET since = NULL FROM enrollment AS e, journey_version AS v
WHERE e.eid = paused.eid AND v.jid = e.jid AND v.journey = :journey;

-- name: hold_back
-- In a pause nobody moves: the first way by which one would have gone on is remembered.
UPDATE paused SET way = g.way FROM w_go AS g JOIN t_stop AS k ON k.jid = g.jid AND k.step = g.step
WHERE g.eid = paused.eid AND paused.since IS NOT NULL AND paused.way IS NULL AND k.kind <> 'wait_date';

-- name: hold_back_clock
-- A wait does not follow its date meanwhile.
UPDATE enrollment SET wake_at = e.wake_at FROM w_enr AS e JOIN paused AS p ON p.eid = e.eid
WHERE e.rid = enrollment.rowid AND p.since IS NOT NULL AND e.wake_at IS DISTINCT FROM enrollment.wake_at;

-- name: hold_back_go
-- And is not taken.
DELETE FROM w_go USING paused AS p WHERE p.eid = w_go.eid AND p.since IS NOT NULL;

-- name: take_up
-- Those whose pause is over go on by the way that was remembered,
DELETE FROM w_go USING paused AS p WHERE p.eid = w_go.eid AND p.since IS NULL;

-- name: take_up_go
-- whatever the present would say.
INSERT INTO w_go
SELECT s.rid, s.eid, s.pid, s.jid, s.key, s.step, s.now, s.offset_, s.entered_at, s.limit_at, s.entry_offset, p.way
FROM w_state AS s JOIN paused AS p ON p.eid = s.eid ANTI JOIN w_end AS x ON x.eid = s.eid WHERE p.since IS NULL;

-- name: take_up_done
-- Once.
DELETE FROM paused USING w_state AS s WHERE s.eid = paused.eid AND paused.since IS NULL;

-- name: refuse_paused
-- A journey that is paused or stopped takes nobody.
UPDATE w_judged SET reason = 'paused', rule = c.mode FROM (VALUES :paused) AS c(journey, mode)
WHERE c.journey = w_judged.journey AND w_judged.reason IS DISTINCT FROM 'no_key';

-- name: w_stopped
-- Those inside a journey that is stopped.
CREATE OR REPLACE TEMP TABLE w_stopped AS
SELECT e.rowid AS rid, e.eid, e.pid, e.jid FROM enrollment AS e JOIN journey_version AS v ON v.jid = e.jid WHERE e.step >= 0 AND v.journey = :journey;

-- name: stop_end
-- End.
INSERT INTO enrollment_end SELECT eid, pid, jid, getvariable('horizon'), 'stopped' FROM w_stopped;

-- name: stop_rest
-- And rest nowhere.
UPDATE enrollment SET step = -1, wake_at = NULL FROM w_stopped AS w WHERE w.rid = enrollment.rowid;

-- name: cancel_stopped
-- Their messages that were not handed over are withdrawn.
INSERT INTO cancellation
SELECT m.message_id, getvariable('horizon'), 'stopped', getvariable('wave') FROM message AS m SEMI JOIN w_stopped AS w ON w.eid = m.eid
ANTI JOIN message_outcome AS o ON o.message_id = m.message_id ANTI JOIN cancellation AS n ON n.message_id = m.message_id WHERE m.deliverable;

-- name: cancel_killed
-- Messages in the reach of a kill switch that were not handed over.
INSERT INTO cancellation
SELECT m.message_id, getvariable('horizon'), 'killed', getvariable('wave') FROM message AS m JOIN journey_version AS v ON v.jid = m.jid
ANTI JOIN message_outcome AS o ON o.message_id = m.message_id ANTI JOIN cancellation AS n ON n.message_id = m.message_id
WHERE m.deliverable AND (CAST(:journey AS VARCHAR) IS NULL OR v.journey = :journey) AND (CAST(:channel AS VARCHAR) IS NULL OR m.channel = :channel);
