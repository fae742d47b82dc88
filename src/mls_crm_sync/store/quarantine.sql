-- name: put
-- The same bytes from the same place again: one more time, not one more row. In digest order, for the locks.
INSERT INTO quarantined_records AS q
    (location_id, digest, run_id, position, reason, detail, field_name, payload, truncated, is_record)
SELECT $1, digest, $2, position, reason, detail, field_name, payload, truncated, is_record
FROM unnest($3::bytea[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::boolean[], $10::boolean[])
    AS i (digest, position, reason, detail, field_name, payload, truncated, is_record)
ORDER BY digest
ON CONFLICT (location_id, digest) WHERE resolved_at IS NULL DO UPDATE SET
    times = q.times + 1, last_at = now(), run_id = excluded.run_id, position = excluded.position,
    reason = excluded.reason, detail = excluded.detail, field_name = excluded.field_name

-- name: put_back
-- A retry has failed: the record is as old as it was, or a later retry would take it for newer than it is.
UPDATE quarantined_records AS q
SET times = q.times + 1, tried_by = $2, reason = i.reason, detail = i.detail, field_name = i.field_name
FROM unnest($3::bytea[], $4::text[], $5::text[], $6::text[]) AS i (digest, reason, detail, field_name)
WHERE q.location_id = $1 AND q.digest = i.digest AND q.resolved_at IS NULL

-- name: list
SELECT q.quarantine_id, l.source, l.name AS location, q.run_id, q.position, q.reason, q.detail, q.field_name,
       q.times, q.first_at, q.last_at, q.payload, q.truncated, q.is_record
FROM quarantined_records AS q JOIN locations AS l USING (location_id)
WHERE q.resolved_at IS NULL AND ($1::text IS NULL OR l.source = $1) AND q.quarantine_id > $2
  AND ($3::bigint[] IS NULL OR q.quarantine_id = ANY ($3::bigint[]))
ORDER BY q.quarantine_id LIMIT $4

-- name: resolve_but
-- Those that a retry (run $2) has not put back.
UPDATE quarantined_records SET resolved_at = now()
WHERE quarantine_id = ANY ($1::bigint[]) AND tried_by IS DISTINCT FROM $2 AND resolved_at IS NULL
RETURNING quarantine_id

-- name: of_run
SELECT quarantine_id, position, reason, detail, field_name FROM quarantined_records
WHERE run_id = $1 AND resolved_at IS NULL ORDER BY position LIMIT 1000

-- name: count_open
SELECT count(*) FROM quarantined_records WHERE resolved_at IS NULL
