-- name: put
-- The same from the same place again: one more time, not one more row. In digest order, for the locks.
INSERT INTO quarantined_records AS q
    (location_id, run_id, origin, digest, source_key, position, reason, detail, field_name, payload, truncated, is_record,
     source_modified_at)
SELECT $1, $2, $3, digest, source_key, position, reason, detail, field_name, payload, truncated, is_record,
       source_modified_at
FROM unnest($4::bytea[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::bytea[], $11::boolean[],
            $12::boolean[], $13::timestamptz[])
    AS i (digest, source_key, position, reason, detail, field_name, payload, truncated, is_record, source_modified_at)
ORDER BY digest
ON CONFLICT (location_id, digest) WHERE resolved_at IS NULL DO UPDATE SET
    times = q.times + 1, last_at = now(), run_id = excluded.run_id, origin = excluded.origin,
    position = excluded.position, reason = excluded.reason, detail = excluded.detail,
    field_name = excluded.field_name, payload = excluded.payload, truncated = excluded.truncated,
    source_modified_at = greatest(q.source_modified_at, excluded.source_modified_at)

-- name: put_back
-- A retry has failed: the record is as old as it was, or a later retry would take it for newer than it is.
UPDATE quarantined_records AS q
SET times = q.times + 1, tried_by = $2, reason = i.reason, detail = i.detail, field_name = i.field_name
FROM unnest($3::bytea[], $4::text[], $5::text[], $6::text[]) AS i (digest, reason, detail, field_name)
WHERE q.location_id = $1 AND q.digest = i.digest AND q.resolved_at IS NULL

-- name: list
SELECT q.quarantine_id, l.source, l.name AS location, q.source_key, q.run_id, q.origin, q.position, q.reason, q.detail,
       q.field_name, q.times, q.first_at, q.last_at, q.source_modified_at, q.payload, q.truncated, q.is_record
FROM quarantined_records AS q JOIN locations AS l USING (location_id)
WHERE q.resolved_at IS NULL AND ($1::text IS NULL OR l.source = $1) AND q.quarantine_id > $2
  AND ($3::bigint[] IS NULL OR q.quarantine_id = ANY ($3::bigint[]))
ORDER BY q.quarantine_id LIMIT $4

-- name: to_retry
-- Without their payloads: those are read page by page.
SELECT q.quarantine_id, l.source, l.name AS location, q.run_id, q.origin, q.last_at, q.truncated, q.is_record
FROM quarantined_records AS q JOIN locations AS l USING (location_id)
WHERE q.resolved_at IS NULL AND ($1::text IS NULL OR l.source = $1)
  AND ($2::bigint[] IS NULL OR q.quarantine_id = ANY ($2::bigint[]))
ORDER BY l.source, l.name, q.run_id, q.origin, q.quarantine_id

-- name: payloads
SELECT position, payload FROM quarantined_records WHERE quarantine_id = ANY ($1::bigint[]) ORDER BY quarantine_id

-- name: has_open
-- Is there anything that a readable record of this source could close?
SELECT EXISTS (
    SELECT FROM quarantined_records JOIN locations USING (location_id)
    WHERE source = $1 AND source_key IS NOT NULL AND resolved_at IS NULL
)

-- name: resolve_read
-- Listings that could be read since; what the same run (run $2) set aside may be newer than what it read. A record that
-- is newer than its listing stands now was never taken in: an older copy says nothing about it.
UPDATE quarantined_records SET resolved_at = now()
WHERE quarantine_id IN (
    SELECT q.quarantine_id
    FROM mls_properties AS p
    JOIN mls_state AS s USING (property_id)
    JOIN locations AS l USING (source)
    JOIN quarantined_records AS q ON q.location_id = l.location_id AND q.source_key = p.source_key
    WHERE p.property_id = ANY ($1::text[]) AND q.resolved_at IS NULL AND q.run_id <> $2
      AND coalesce(q.source_modified_at <= s.source_modified_at, true)
    ORDER BY q.digest FOR NO KEY UPDATE OF q
)

-- name: forget
-- All there is of some listings, closed rows too: their content has to go.
DELETE FROM quarantined_records AS q USING mls_properties AS p, locations AS l
WHERE p.property_id = ANY ($1::text[]) AND l.source = p.source AND q.location_id = l.location_id AND q.source_key = p.source_key

-- name: pushed_without_key
-- What was pushed may name its listing by an id alone.
SELECT quarantine_id, payload FROM quarantined_records WHERE origin = 'push' AND source_key IS NULL

-- name: delete
DELETE FROM quarantined_records WHERE quarantine_id = ANY ($1::bigint[])

-- name: resolve_but
-- Those that a retry (run $2) has not put back.
UPDATE quarantined_records SET resolved_at = now()
WHERE quarantine_id = ANY ($1::bigint[]) AND tried_by IS DISTINCT FROM $2 AND resolved_at IS NULL
RETURNING quarantine_id

-- name: of_run
SELECT quarantine_id, origin, source_key, position, reason, detail, field_name FROM quarantined_records
WHERE run_id = $1 AND resolved_at IS NULL ORDER BY position LIMIT $2

-- name: count_open
SELECT count(*) FROM quarantined_records WHERE resolved_at IS NULL
