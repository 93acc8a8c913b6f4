-- name: membership
-- Who entered or left a segment at this item.
INSERT INTO membership
SELECT c.pid, c.pid, k.segment, c.now, k.entered, :cause
FROM w_ctx AS c CROSS JOIN (VALUES :changes) AS k(segment, entered) WHERE :changed;
