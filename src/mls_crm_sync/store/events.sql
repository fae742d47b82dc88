-- name: append
-- In the order given; arrays come as PostgreSQL writes them. The lock is held to the commit, and no row is
-- numbered before it: whoever appends next sees our events before its own, so seq is in commit order.
WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock(1299997550))
INSERT INTO events (type, property_id, crm_property_id, platform, run_id, field_names, change_types, source)
SELECT type, property_id, crm_property_id, platform, run_id, field_names::text[], change_types::text[], source
FROM held, unnest($1::text::text[], $2::text::text[], $3::text::text[], $4::text::text[], $5::text::bigint[],
                  $6::text::text[], $7::text::text[], $8::text::text[])
    AS i (type, property_id, crm_property_id, platform, run_id, field_names, change_types, source)

-- name: after
SELECT seq, at, type, property_id, crm_property_id, platform, run_id, field_names, change_types, source
FROM events WHERE seq > $1 ORDER BY seq LIMIT $2

-- name: listings_since
-- The listings that were changed or emptied after an event, and the newest event: one statement, one snapshot.
SELECT coalesce(max(seq), $1), array_agg(property_id) FILTER (WHERE type IN ('listing.changed', 'listing.purged'))
FROM events WHERE seq > $1
