-- name: read_states
-- The state of the listings of a page, without a lock: enough to recognise what did not change.
SELECT s.property_id, s.location_id, s.digest, s.payload_digest, s.content_hash, s.norm_version, s.source_modified_at
FROM unnest($1::text[]) AS i (property_id)
JOIN mls_state AS s USING (property_id)

-- name: differing_states
-- Of the listings of a page, those that are not stored exactly as they were sighted, or not here: most of a re-read is,
-- and of that nothing travels back. Without a lock, like the one above; a listing that nobody has has no state.
-- $3: the digests one behind the other, 16 bytes each; the driver takes three times as long over an array of them.
SELECT i.property_id AS sighted, s.property_id, s.location_id, s.digest, s.payload_digest, s.content_hash,
       s.norm_version, s.source_modified_at
FROM unnest($2::text[], $4::timestamptz[]) WITH ORDINALITY AS i (property_id, modified_at, place)
LEFT JOIN mls_state AS s ON s.property_id = i.property_id
WHERE s.digest IS DISTINCT FROM substring($3::bytea, 16 * i.place::int - 15, 16) OR s.location_id <> $1 OR s.source_modified_at IS DISTINCT FROM i.modified_at

-- name: stored_at
-- How the listings of a location are stored, in the form of `stored_as`: by the bytes of their records, and by what
-- those say where it was today's normaliser ($3) that heard it; and the event up to which that is so. One statement, one
-- snapshot. Left out, so that it is asked for: what is purged, and a clock of the year 1, which the driver writes as
-- -infinity. Nothing of a location that has more than $2 rows.
SELECT coalesce((SELECT max(seq) FROM events), 0), coalesce(array_agg(id || digest || clock), '{}'),
       coalesce(array_agg(id || payload_digest || clock) FILTER (WHERE norm_version = $3), '{}')
FROM (
    SELECT textsend(property_id) AS id, digest, payload_digest, norm_version,
           coalesce(timestamptz_send(source_modified_at), '\x8000000000000000') AS clock
    FROM mls_state
    WHERE location_id = $1 AND length(digest) = 16 AND isfinite(source_modified_at) IS NOT FALSE
      AND (SELECT count(*) FROM (SELECT FROM mls_state WHERE location_id = $1 LIMIT $2 + 1) AS l) <= $2
) AS s

-- name: ids_by_source_key
-- The ids of listings by the source's own keys; a pushed listing may have brought an id of its own.
SELECT source_key, property_id FROM mls_properties WHERE source = $1 AND source_key = ANY ($2::text[])

-- name: keys_by_id
SELECT property_id, source, source_key FROM mls_properties WHERE property_id = ANY ($1::text[])

-- name: ids_by_any_source_key
-- For people, who may leave the source out: several ids for one key are an ambiguity to report.
SELECT source_key, array_agg(property_id ORDER BY property_id) AS property_ids
FROM mls_properties WHERE source_key = ANY ($1::text[]) AND ($2::text IS NULL OR source = $2)
GROUP BY source_key

-- name: insert_states
-- New listings, in id order; the ones that somebody else made first are left out and go back to Decide.
INSERT INTO mls_state (property_id, location_id, digest, payload_digest, content_hash, norm_version, source_modified_at)
SELECT * FROM unnest($1::text[], $2::int[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[], $7::timestamptz[])
    AS i (property_id, location_id, digest, payload_digest, content_hash, norm_version, source_modified_at)
ORDER BY property_id COLLATE "C"
ON CONFLICT (property_id) DO NOTHING
RETURNING property_id

-- name: insert_location_listings
-- $3: when a pass of the location has last shown them; null: the newest, which is under way.
INSERT INTO location_listings (location_id, property_id, last_shown_at)
SELECT $1, property_id, $3 FROM unnest($2::text[]) AS i (property_id)
ORDER BY property_id COLLATE "C"
ON CONFLICT DO NOTHING

-- name: insert_new_location_listings
-- The same, of listings that nobody else can have: a third cheaper.
INSERT INTO location_listings (location_id, property_id, last_shown_at)
SELECT $1, property_id, $3 FROM unnest($2::text::text[]) AS i (property_id)

-- name: lock_states
-- The row locks of a page, in id order: the order that every writer keeps. A locked row is read in its newest version;
-- everything else about a listing is read in a statement of its own, after.
SELECT s.*
FROM (
    SELECT property_id, location_id, digest, payload_digest, content_hash, norm_version, source_modified_at
    FROM mls_state WHERE property_id = ANY ($1::text[]) ORDER BY property_id FOR NO KEY UPDATE
) AS s
JOIN unnest($1::text[], $2::bytea[]) AS i (property_id, digest) ON i.property_id = s.property_id
WHERE i.digest IS DISTINCT FROM s.digest

-- name: share_states
-- What linking holds, so that no sync of these listings can run between its reading and its commit.
SELECT property_id FROM mls_state WHERE property_id = ANY ($1::text[]) ORDER BY property_id FOR SHARE

-- name: read_stored
-- Everything Decide needs, in the form after all that was committed before our locks.
SELECT s.property_id, s.location_id, s.digest, s.payload_digest, s.content_hash, s.norm_version, s.source_modified_at,
       p.fields AS text, p.payload, p.payload_codec, p.purged_at, p.last_changed_at
FROM mls_state AS s
JOIN mls_properties AS p USING (property_id)
WHERE s.property_id = ANY ($1::text[])

-- name: lock_stored
-- The same of a few listings at once with their locks (in brackets stands the query above). Both rows are locked, so both
-- are read in their newest version.
(read_stored)
ORDER BY s.property_id FOR NO KEY UPDATE

-- name: count_outdated
SELECT p.source, count(*) FROM mls_state AS s JOIN mls_properties AS p USING (property_id)
WHERE s.norm_version <> $1 AND p.purged_at IS NULL GROUP BY p.source ORDER BY p.source

-- name: outdated
-- In id order, so that all pages together read the narrow rows once.
SELECT s.property_id, p.source_key FROM mls_state AS s JOIN mls_properties AS p USING (property_id)
WHERE s.norm_version <> $1 AND p.source = $2 AND s.property_id > $3 AND p.purged_at IS NULL
ORDER BY s.property_id LIMIT $4

-- name: renew_listings
UPDATE mls_properties AS p
SET fields = i.fields, standard_status = i.standard_status, listing_id = i.listing_id, city = i.city,
    postal_code = i.postal_code
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
    AS i (property_id, fields, standard_status, listing_id, city, postal_code)
WHERE p.property_id = i.property_id

-- name: update_payloads
-- The same facts, but members beside them that a replay or a photo needs: only the payload moves.
UPDATE mls_properties AS p SET payload = i.payload, payload_codec = $3
FROM unnest($1::text[], $2::bytea[]) AS i (property_id, payload)
WHERE p.property_id = i.property_id

-- name: update_states
UPDATE mls_state AS s
SET digest = i.digest, payload_digest = i.payload_digest, content_hash = i.content_hash, norm_version = $2,
    source_modified_at = i.source_modified_at
FROM unnest($1::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::timestamptz[])
    AS i (property_id, digest, payload_digest, content_hash, source_modified_at)
WHERE s.property_id = i.property_id

-- name: move_clocks
-- Records whose facts are known and whose time stamp alone is newer: only that moves.
UPDATE mls_state AS s SET source_modified_at = i.modified_at
FROM unnest($1::text[], $2::timestamptz[]) AS i (property_id, modified_at)
WHERE s.property_id = i.property_id AND (s.source_modified_at IS NULL OR s.source_modified_at < i.modified_at)

-- name: listing
SELECT p.property_id, p.source, p.source_key, p.fields::json, p.absence_state, p.first_seen_at, p.last_changed_at, p.purged_at,
       s.content_hash, s.norm_version, s.source_modified_at, l.name AS location,
       greatest(p.last_changed_at, seen.at) AS last_seen_at,
       ARRAY(SELECT c.id FROM crm_properties AS c WHERE c.mls_property_id = p.property_id ORDER BY c.id) AS crm_property_ids
FROM mls_properties AS p
JOIN mls_state AS s USING (property_id)
LEFT JOIN locations AS l USING (location_id)
LEFT JOIN LATERAL (
    SELECT max(coalesce(ll.last_shown_at, lo.last_pass_at)) AS at
    FROM location_listings AS ll JOIN locations AS lo USING (location_id) WHERE ll.property_id = p.property_id
) AS seen ON true
WHERE p.property_id = $1

-- name: list_listings
-- One page of listings by id; every filter is optional.
SELECT p.property_id, p.source, p.source_key, p.fields::json, p.absence_state, p.last_changed_at, p.purged_at,
       (SELECT count(*) FROM crm_properties AS c WHERE c.mls_property_id = p.property_id) AS linked
FROM mls_properties AS p
WHERE p.property_id > :after
  /*source*/ AND p.source = :source
  /*status*/ AND p.standard_status = :status
  /*city*/ AND p.city = :city
  /*postal_code*/ AND p.postal_code = :postal_code
  /*listing_id*/ AND p.listing_id = :listing_id
  /*linked*/ AND :linked = EXISTS (SELECT FROM crm_properties AS c WHERE c.mls_property_id = p.property_id)
  /*absence*/ AND p.absence_state = :absence
  /*missing*/ AND :missing = EXISTS (SELECT FROM location_listings AS ll WHERE ll.property_id = p.property_id AND ll.missing_since IS NOT NULL)
  /*pattern*/ AND concat_ws(' ', p.source_key, p.fields::json ->> 'ListingId', p.fields::json ->> 'UnparsedAddress') COLLATE "default" ILIKE :pattern
ORDER BY p.property_id
LIMIT :limit

-- name: listing_changes
-- Newest first.
SELECT change_id, run_id, at, type, field_name, previous_value, new_value
FROM property_changes WHERE property_id = $1 AND change_id < $3 ORDER BY change_id DESC LIMIT $2

-- name: purge_listing
UPDATE mls_properties
SET fields = '{}', standard_status = NULL, listing_id = NULL, city = NULL, postal_code = NULL,
    payload = NULL, purged_at = now()
WHERE property_id = ANY ($1::text[])

-- name: purge_state
-- No digest matches an empty one: the next delivery fills the listing as new.
UPDATE mls_state SET digest = '', payload_digest = '', content_hash = '', source_modified_at = NULL
WHERE property_id = ANY ($1::text[])

-- name: purge_changes
DELETE FROM property_changes WHERE property_id = ANY ($1::text[])

-- name: purgeable
-- What a rule says of listings that still have content, by id. What no pass ever showed (it was pushed), or what was seen
-- by other means since, nobody knows to be unseen: a push of the same facts leaves no trace.
SELECT p.property_id, p.source, p.standard_status, p.absence_state,
       (SELECT count(*) FROM crm_properties AS c WHERE c.mls_property_id = p.property_id) AS linked
FROM mls_properties AS p
WHERE p.purged_at IS NULL
  /*after*/ AND p.property_id > :after
  /*ids*/ AND p.property_id = ANY (:ids::text[])
  /*source*/ AND p.source = :source
  /*statuses*/ AND p.standard_status = ANY (:statuses::text[])
  /*absent_for*/ AND p.absence_state = 'absent' AND EXISTS (SELECT FROM absences AS a WHERE a.property_id = p.property_id AND a.decided_at <= now() - :absent_for::interval)
  /*not_seen_for*/ AND p.last_changed_at <= now() - :not_seen_for::interval
  /*not_seen_for*/ AND NOT EXISTS (SELECT FROM location_listings AS ll WHERE ll.property_id = p.property_id AND ll.left_at IS NOT NULL)
  /*not_seen_for*/ AND (SELECT max(coalesce(ll.last_shown_at, lo.last_pass_at)) FROM location_listings AS ll JOIN locations AS lo USING (location_id) WHERE ll.property_id = p.property_id AND ll.last_shown_at IS DISTINCT FROM '-infinity') <= now() - :not_seen_for::interval
  /*not_seen_for*/ AND NOT EXISTS (SELECT FROM location_passes AS running JOIN pass_shown AS s USING (pass_id) WHERE running.ended_at IS NULL AND s.key = p.property_id)
ORDER BY p.property_id
LIMIT :limit::bigint

-- name: count_purgeable
-- The same listings, counted; in brackets stands the query above.
SELECT source, standard_status, absence_state, count(*) AS listings, sum(linked)::bigint AS linked
FROM (purgeable) AS p GROUP BY 1, 2, 3 ORDER BY 1, 2, 3

-- name: count_by_status
SELECT coalesce(standard_status, 'unknown') AS standard_status, count(*)
FROM mls_properties WHERE purged_at IS NULL GROUP BY 1 ORDER BY 1

-- name: crm_changes_of_run
-- What a run changed in the CRM and why: each change of a listing beside the CRM properties linked to it.
SELECT c.id AS crm_id, ch.property_id, p.source_key, ch.type, ch.field_name, ch.previous_value, ch.new_value, ch.at,
       s.source_modified_at
FROM scraping_jobs AS r
JOIN property_changes AS ch ON ch.change_id >= r.first_change AND ch.run_id = r.run_id
JOIN crm_properties AS c ON c.mls_property_id = ch.property_id
JOIN mls_properties AS p ON p.property_id = ch.property_id
JOIN mls_state AS s ON s.property_id = ch.property_id
WHERE r.run_id = $1
ORDER BY c.id, ch.change_id LIMIT $2

-- name: changes_of_run
-- What a run changed, oldest first, and which CRM properties were linked then: an override holds what its field became after it.
SELECT ch.change_id, ch.at, ch.type, ch.property_id, p.source_key AS listing_key,
       p.fields::json ->> 'UnparsedAddress' AS address, ch.field_name, ch.previous_value, ch.new_value,
       coalesce((
           SELECT jsonb_object_agg(c.id, CASE
               WHEN active_overrides(c.overrides, c.override_details) ? ch.field_name
                    AND (c.override_details -> ch.field_name ->> 'at')::timestamptz <= ch.at THEN 'held_by_override'
               ELSE 'applied' END)
           FROM property_links AS l JOIN crm_properties AS c ON c.id = l.crm_id
           WHERE l.property_id = ch.property_id AND l.linked_at <= ch.at AND ch.at <= coalesce(l.unlinked_at, 'infinity')
       ), '{}') AS crm_properties
FROM scraping_jobs AS r
JOIN property_changes AS ch ON ch.change_id BETWEEN r.first_change AND coalesce(r.last_change, 9223372036854775807)
JOIN mls_properties AS p ON p.property_id = ch.property_id
WHERE r.run_id = $1 AND ch.run_id = $1 AND ch.change_id > $2
ORDER BY ch.change_id LIMIT $3

-- name: case_of
SELECT source, property_id, source_key, postal_code, fields::json ->> 'UnparsedAddress' AS address
FROM mls_properties WHERE property_id = $1
