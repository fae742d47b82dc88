-- name: lock
-- Changes are rare, and at most one source may be the default: one at a time.
LOCK TABLE sources IN SHARE ROW EXCLUSIVE MODE

-- name: insert
INSERT INTO sources (name, kind, settings, sealed_secret, is_default, limits, request_delay)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING RETURNING name

-- name: update
UPDATE sources
SET settings = $2, sealed_secret = $3, is_default = $4, limits = $5, request_delay = $6, changed_at = now()
WHERE name = $1

-- name: delete
DELETE FROM sources WHERE name = $1 RETURNING name

-- name: every
SELECT name, kind, settings, sealed_secret, is_default, limits, request_delay, made_at, changed_at, open_until, stopped_at
FROM sources LEFT JOIN source_budgets ON source = name
ORDER BY name

-- name: one
SELECT name, kind, settings, sealed_secret, is_default, limits, request_delay, made_at, changed_at, open_until, stopped_at
FROM sources LEFT JOIN source_budgets ON source = name
WHERE name = $1

-- name: default
SELECT name FROM sources WHERE is_default

-- name: no_default
UPDATE sources SET is_default = false WHERE is_default AND name <> $1

-- name: sealed
SELECT name, sealed_secret FROM sources WHERE sealed_secret IS NOT NULL
