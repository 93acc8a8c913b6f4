-- name: recheck
-- The next instant at which time alone may change what a passage waits for, or may exit by.
UPDATE enrollment SET check_at = :at FROM w_ctx AS c WHERE c.pid = enrollment.pid AND enrollment.step >= 0 AND enrollment.jid IN (:jids);
