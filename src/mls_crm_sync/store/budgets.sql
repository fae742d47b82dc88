-- name: make
INSERT INTO source_budgets (source) VALUES ($1) ON CONFLICT DO NOTHING

-- name: lock
SELECT failures, openings, open_until, probe_until, limited, not_before, stopped_at
FROM source_budgets WHERE source = $1 FOR UPDATE

-- name: latest
SELECT max(at) FROM source_requests WHERE source = $1

-- name: nth_latest
SELECT at FROM source_requests WHERE source = $1 ORDER BY at DESC OFFSET $2 LIMIT 1

-- name: spent
-- The newest start from which on the bytes of the window come to the limit; none: there is room.
SELECT max(at) FROM (
    SELECT at, sum(bytes) OVER (ORDER BY at DESC, request_id DESC) AS so_far
    FROM source_requests WHERE source = $1 AND at > $2
) AS back WHERE so_far >= $3

-- name: begin
INSERT INTO source_requests (source, at) VALUES ($1, $2) RETURNING request_id

-- name: count
UPDATE source_requests SET bytes = bytes + $2 WHERE request_id = $1

-- name: forget
DELETE FROM source_requests WHERE source = $1 AND at < $2

-- name: update
UPDATE source_budgets
SET failures = $2, openings = $3, open_until = $4, probe_until = $5, limited = $6, not_before = $7,
    stopped_at = $8
WHERE source = $1
