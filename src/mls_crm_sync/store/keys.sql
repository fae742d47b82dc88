-- name: insert
INSERT INTO api_keys (name, digest, scopes) VALUES ($1, $2, $3) RETURNING key_id

-- name: find
SELECT key_id, name, scopes FROM api_keys WHERE digest = $1 AND revoked_at IS NULL

-- name: list
SELECT key_id, name, scopes, created_at, revoked_at FROM api_keys ORDER BY key_id

-- name: revoke
UPDATE api_keys SET revoked_at = now() WHERE key_id = $1 AND revoked_at IS NULL RETURNING key_id

-- name: any
SELECT EXISTS (SELECT FROM api_keys)
