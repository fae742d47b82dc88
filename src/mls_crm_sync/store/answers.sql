-- name: begin
-- Ours when nobody has used the key, or when whoever did has died of it (no answer, or none but an error, after $4).
WITH forgotten AS (
    DELETE FROM kept_answers WHERE (caller, key) IN (
        SELECT caller, key FROM kept_answers
        WHERE started_at < now() - $5::interval AND (caller, key) <> ($1, $2)
        ORDER BY started_at LIMIT 10 FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO kept_answers AS a (caller, key, fingerprint) VALUES ($1, $2, $3)
ON CONFLICT (caller, key) DO UPDATE
SET fingerprint = excluded.fingerprint, started_at = now(), status = NULL, headers = NULL, body = NULL, purged = false
WHERE a.started_at < now() - $5::interval
   OR ((a.status IS NULL OR a.status >= 500) AND a.fingerprint = excluded.fingerprint AND a.started_at < now() - $4::interval)
RETURNING true

-- name: find
SELECT fingerprint, status, headers, body FROM kept_answers WHERE caller = $1 AND key = $2

-- name: keep
-- $6: whether a purge since it began leaves it as it is.
UPDATE kept_answers
SET status = $3, headers = CASE WHEN $6 OR NOT purged THEN $4::jsonb END,
    body = CASE WHEN $6 OR NOT purged THEN $5::bytea END
WHERE caller = $1 AND key = $2

-- name: keep_status
UPDATE kept_answers SET status = $3, headers = NULL, body = NULL WHERE caller = $1 AND key = $2

-- name: empty
-- A purge: which of them tell of the listing nobody knows, so none of them may stay. That they were given stays.
-- An answer that is on its way may tell of it too.
UPDATE kept_answers SET headers = NULL, body = NULL, purged = true WHERE body IS NOT NULL OR status IS NULL

-- name: bar
-- Until a purge has committed no request begins: it would still read what is going.
LOCK TABLE kept_answers IN SHARE ROW EXCLUSIVE MODE

-- name: forget
DELETE FROM kept_answers WHERE caller = $1 AND key = $2 AND status IS NULL
