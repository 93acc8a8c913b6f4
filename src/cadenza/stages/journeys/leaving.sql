-- name: w_state_leaving
-- Who is at the last steps of an exit has left by it, whatever the exits say now.
UPDATE w_state SET reason = l.exit FROM t_leaving AS l WHERE l.jid = w_state.jid AND l.step = w_state.step;

-- name: w_end_leaving
-- And does not leave once more.
DELETE FROM w_end USING t_leaving AS l WHERE l.jid = w_end.jid AND l.step = w_end.step;

-- name: w_go_leaving
-- Who leaves by an exit that has last steps goes on to them, except in a pause. From now on no time limit holds.
INSERT INTO w_go
SELECT s.rid, s.eid, s.pid, s.jid, s.key, s.step, s.now, s.offset_, s.entered_at, TIMESTAMP '9000-01-01', s.entry_offset, x.reason
FROM w_end AS x JOIN w_state AS s ON s.eid = x.eid JOIN t_way AS y ON y.jid = x.jid AND y.step = x.step AND y.way = x.reason
ANTI JOIN paused AS p ON p.eid = x.eid AND p.since IS NOT NULL;

-- name: without_limit
-- Also later.
UPDATE enrollment SET limit_at = g.limit_at FROM w_go AS g WHERE g.rid = enrollment.rowid AND g.limit_at = TIMESTAMP '9000-01-01' AND enrollment.limit_at <> g.limit_at;

-- name: w_gone
-- Those who ended by an exit and have nothing left to do.
CREATE OR REPLACE TEMP TABLE w_gone AS SELECT x.* FROM w_end AS x ANTI JOIN w_go AS g ON g.eid = x.eid;
