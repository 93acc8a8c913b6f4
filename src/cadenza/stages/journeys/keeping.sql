-- name: remember
-- What has come true for passages that wait for several things.
UPDATE enrollment SET seen = coalesce(enrollment.seen, 0) | :bits FROM w_ctx AS c, w_enr AS w
WHERE w.rid = enrollment.rowid AND c.pid = enrollment.pid AND enrollment.jid * 4096 + enrollment.step IN (:stops);

-- name: begin_remembering
-- What is true already for those that arrive at such a wait.
UPDATE enrollment SET seen = :bits FROM w_ctx AS c, w_rest AS r
WHERE r.eid = enrollment.eid AND c.pid = enrollment.pid AND enrollment.jid * 4096 + enrollment.step IN (:stops);

-- name: keep_at_entry
-- What later conditions of those who enter read as it is now.
UPDATE enrollment SET :kept FROM w_ctx AS c, w_move AS m
WHERE m.eid = enrollment.eid AND m.rid IS NULL AND c.pid = m.pid AND enrollment.jid IN (:jids);
