-- name: lock
-- Held to the commit: whoever appends next sees our events before its own, so seq is in commit order.
SELECT pg_advisory_xact_lock(1299997550)

-- name: after
SELECT seq, at, type, property_id, crm_property_id, platform, run_id, field_names, change_types, source
FROM events WHERE seq > $1 ORDER BY seq LIMIT $2

-- name: listings_since
-- The listings that were changed or emptied after an event, and the newest event: one statement, one snapshot.
SELECT coalesce(max(seq), $1), array_agg(property_id) FILTER (WHERE type IN ('listing.changed', 'listing.purged'))
FROM events WHERE seq > $1
