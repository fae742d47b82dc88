-- name: lock_linked
-- The CRM rows of listings, in id order, before anything of them is written.
SELECT id FROM crm_properties WHERE mls_property_id = ANY ($1::text[]) ORDER BY id FOR NO KEY UPDATE

-- name: lock
SELECT id FROM crm_properties WHERE id = ANY ($1::text[]) ORDER BY id FOR NO KEY UPDATE

-- name: bring_in_step
-- The one way in which a listing's facts come to its CRM properties, for ingest, link and sync alike. Writes only what
-- differs. Under the locks of the listings: it sees what they saw committed. The CRM rows are locked in id order, before
-- anything of them is written; a locked row is read in its newest version. In brackets stands what `in_step` is given.
-- Materialized, or the facts would be parsed three times: to compare, to write and to name what differed.
WITH (along) o AS MATERIALIZED (
    SELECT id, mls_property_id, fields FROM crm_properties
    WHERE mls_property_id = ANY ($1::text[]) (among)
    ORDER BY id FOR NO KEY UPDATE
), w AS MATERIALIZED (facts)
UPDATE crm_properties AS c
SET fields = w.fields, synced_hash = w.content_hash, synced_at = now()
FROM o JOIN w ON w.property_id = o.mls_property_id
WHERE c.id = o.id AND o.fields IS DISTINCT FROM w.fields
RETURNING c.id, c.platform, c.mls_property_id AS property_id, ARRAY(
    SELECT key FROM jsonb_each(o.fields) AS b FULL JOIN jsonb_each(w.fields) AS a USING (key)
    WHERE b.value IS DISTINCT FROM a.value ORDER BY key COLLATE "C"
) AS field_names

-- name: stored_facts
SELECT p.property_id, p.fields::jsonb - $2::text[] AS fields, s.content_hash
FROM mls_properties AS p JOIN mls_state AS s USING (property_id)
WHERE p.property_id IN (SELECT mls_property_id FROM o)

-- name: would_change
-- What bring_in_step would write after these listings have the given facts; for a dry run.
SELECT count(*) FROM crm_properties AS c
JOIN unnest($1::text[], $2::jsonb[]) AS i (property_id, fields) ON i.property_id = c.mls_property_id
WHERE c.fields IS DISTINCT FROM i.fields - $3::text[]

-- name: link_targets
SELECT id, platform, mls_property_id FROM crm_properties WHERE id = ANY ($1::text[])

-- name: set_links
-- Links are the CRM's; whether the facts follow is bring_in_step's.
UPDATE crm_properties AS c SET mls_property_id = i.property_id, updated_at = now(), version = c.version + 1
FROM unnest($1::text[], $2::text[]) AS i (id, property_id)
WHERE c.id = i.id

-- name: close_links
UPDATE property_links SET unlinked_at = now() WHERE crm_id = ANY ($1::text[]) AND unlinked_at IS NULL

-- name: open_links
INSERT INTO property_links (crm_id, property_id) SELECT * FROM unnest($1::text[], $2::text[])

-- name: unlink
UPDATE crm_properties
SET mls_property_id = NULL, fields = CASE WHEN $2 THEN '{}'::jsonb ELSE fields END,
    synced_hash = NULL, updated_at = now(), version = version + 1
WHERE id = $1

-- name: linked_ids
SELECT DISTINCT mls_property_id AS property_id FROM crm_properties
WHERE mls_property_id > $1 AND ($2::text IS NULL OR platform = $2)
ORDER BY mls_property_id LIMIT $3

-- name: count_linked
SELECT count(*) FROM crm_properties WHERE mls_property_id = ANY ($1::text[]) AND ($2::text IS NULL OR platform = $2)

-- name: has_platform
SELECT EXISTS (SELECT FROM crm_properties WHERE platform = $1)

-- name: count_by_listing
SELECT mls_property_id AS property_id, count(*) FROM crm_properties
WHERE mls_property_id = ANY ($1::text[]) GROUP BY mls_property_id

-- name: insert_one
INSERT INTO crm_properties (id, platform, crm_status, notes, tags, assigned_agent, own, custom)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING RETURNING id

-- name: upsert
-- An import speaks for the CRM: columns it brings are set, others stay. `own` and `custom` are merged member by
-- member; a member whose column is empty is removed. An id of another platform is left alone (and not returned).
INSERT INTO crm_properties AS c (id, platform, crm_status, notes, tags, assigned_agent, own, custom)
SELECT id, $2, crm_status, notes, array(SELECT jsonb_array_elements_text(tags::jsonb)), assigned_agent,
       own, custom
FROM unnest($1::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::jsonb[])
    AS i (id, crm_status, notes, tags, assigned_agent, own, custom)
ORDER BY id COLLATE "C"
ON CONFLICT (id) DO UPDATE SET
    crm_status = CASE WHEN 'crm_status' = ANY ($9::text[]) THEN excluded.crm_status ELSE c.crm_status END,
    notes = CASE WHEN 'notes' = ANY ($9::text[]) THEN excluded.notes ELSE c.notes END,
    tags = CASE WHEN 'tags' = ANY ($9::text[]) THEN excluded.tags ELSE c.tags END,
    assigned_agent = CASE WHEN 'assigned_agent' = ANY ($9::text[]) THEN excluded.assigned_agent ELSE c.assigned_agent END,
    own = (c.own - $10::text[]) || excluded.own,
    custom = (c.custom - $11::text[]) || excluded.custom,
    version = c.version + 1,
    updated_at = now()
WHERE c.platform = excluded.platform
  AND ROW (
      CASE WHEN 'crm_status' = ANY ($9::text[]) THEN excluded.crm_status ELSE c.crm_status END,
      CASE WHEN 'notes' = ANY ($9::text[]) THEN excluded.notes ELSE c.notes END,
      CASE WHEN 'tags' = ANY ($9::text[]) THEN excluded.tags ELSE c.tags END,
      CASE WHEN 'assigned_agent' = ANY ($9::text[]) THEN excluded.assigned_agent ELSE c.assigned_agent END,
      (c.own - $10::text[]) || excluded.own,
      (c.custom - $11::text[]) || excluded.custom
  ) IS DISTINCT FROM ROW (c.crm_status, c.notes, c.tags, c.assigned_agent, c.own, c.custom)
RETURNING c.id, (xmax = 0) AS made

-- name: platforms_of
SELECT id, platform FROM crm_properties WHERE id = ANY ($1::text[])

-- name: get_for_edit
SELECT id, platform, crm_status, notes, tags, assigned_agent, custom, own, fields, overrides, override_details, version,
       mls_property_id
FROM crm_properties WHERE id = $1 FOR NO KEY UPDATE

-- name: save_edit
UPDATE crm_properties
SET crm_status = $2, notes = $3, tags = $4, assigned_agent = $5, custom = $6, own = $7, overrides = $8,
    override_details = $9, version = version + 1, updated_at = now()
WHERE id = $1
RETURNING version

-- name: delete
DELETE FROM crm_properties WHERE id = $1 RETURNING mls_property_id

-- name: empty_fields
-- A purge takes the MLS's content out of the CRM too; links, and what the CRM owns, stay.
UPDATE crm_properties
SET fields = '{}', synced_hash = NULL, synced_at = now(),
    override_details = coalesce((SELECT jsonb_object_agg(key, value - 'mls_value') FROM jsonb_each(override_details)), '{}')
WHERE mls_property_id = ANY ($1::text[]) AND (fields <> '{}' OR override_details <> '{}')

-- name: filled
SELECT id, platform, mls_property_id,
       ARRAY(SELECT key FROM jsonb_object_keys(fields) AS m (key) ORDER BY key COLLATE "C") AS field_names
FROM crm_properties WHERE mls_property_id = ANY ($1::text[]) AND fields <> '{}' ORDER BY id

-- name: read
-- CRM properties as the reader gets them, by id, sync_status computed. Every filter is optional.
SELECT * FROM (
    SELECT c.id, c.platform, c.crm_status, c.notes, c.tags, c.assigned_agent, c.custom, c.own, c.fields,
           active_overrides(c.overrides, c.override_details) AS overrides, c.override_details,
           c.mls_property_id, c.synced_hash, c.synced_at, c.version, c.created_at, c.updated_at,
           p.source, p.source_key, greatest(p.last_changed_at, seen.at) AS last_seen_at,
           sync_status(c, p, greatest(p.last_changed_at, seen.at), :stale_after) AS sync_status
    FROM crm_properties AS c
    LEFT JOIN mls_properties AS p ON p.property_id = c.mls_property_id
    LEFT JOIN LATERAL (
        SELECT max(coalesce(ll.last_shown_at, lo.last_pass_at)) AS at
        FROM location_listings AS ll JOIN locations AS lo USING (location_id) WHERE ll.property_id = c.mls_property_id
    ) AS seen ON true
    WHERE c.id > :after
      /*crm_id*/ AND c.id = :crm_id
      /*platform*/ AND c.platform = :platform
      /*crm_status*/ AND c.crm_status = :crm_status
      /*property_id*/ AND c.mls_property_id = :property_id
      /*pattern*/ AND concat_ws(' ', c.id, c.notes, c.own ->> 'UnparsedAddress', c.fields ->> 'UnparsedAddress', c.own ->> 'ListingId', c.fields ->> 'ListingId') COLLATE "default" ILIKE :pattern
) AS q
WHERE true
  /*sync_status*/ AND q.sync_status = :sync_status
ORDER BY q.id
LIMIT :limit

-- name: count_out_of_step
-- The invariant, asked of the data itself: linked properties whose fields are not their listing's. Always 0.
SELECT count(*) FROM crm_properties AS c JOIN mls_properties AS p ON p.property_id = c.mls_property_id
WHERE c.fields IS DISTINCT FROM p.fields::jsonb - $1::text[]

-- name: owned_digest
-- One value for everything the CRM owns: the same before and after whatever sync did.
SELECT md5(string_agg(md5(ROW (id, platform, crm_status, notes, tags, assigned_agent, custom, own, overrides,
                               override_details, version)::text), '' ORDER BY id))
FROM crm_properties

-- name: count_by_status
SELECT sync_status(c, p, greatest(p.last_changed_at, seen.at), $1) AS sync_status, count(*)
FROM crm_properties AS c
LEFT JOIN mls_properties AS p ON p.property_id = c.mls_property_id
LEFT JOIN LATERAL (
    SELECT max(coalesce(ll.last_shown_at, lo.last_pass_at)) AS at
    FROM location_listings AS ll JOIN locations AS lo USING (location_id) WHERE ll.property_id = c.mls_property_id
) AS seen ON true
GROUP BY 1 ORDER BY 1

-- name: linked_to
SELECT mls_property_id FROM crm_properties WHERE id = $1

