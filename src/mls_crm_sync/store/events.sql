-- name: lock
-- Held to the commit: whoever appends next sees our events before its own, so seq is in commit order.
SELECT pg_advisory_xact_lock(1299997550)

-- name: append
INSERT INTO events (type, property_id, crm_property_id, platform, run_id, field_names, change_types)
SELECT type, property_id, crm_property_id, platform, run_id,
       array(SELECT jsonb_array_elements_text(field_names::jsonb)),
       array(SELECT jsonb_array_elements_text(change_types::jsonb))
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[])
    WITH ORDINALITY AS i (type, property_id, crm_property_id, platform, run_id, field_names, change_types, nr)
ORDER BY nr

-- name: after
SELECT seq, at, type, property_id, crm_property_id, platform, run_id, field_names, change_types
FROM events WHERE seq > $1 ORDER BY seq LIMIT $2
