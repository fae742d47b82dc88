-- name: summaries
-- CRM properties as a list shows them, the newest touched first, with how many there are in all. What is asked of every
-- row stays small; facts, status and the last price are read for the rows of the page.
WITH matching AS (
    SELECT c.id, greatest(c.updated_at, c.synced_at) AS touched_at
    FROM crm_properties AS c LEFT JOIN mls_properties AS p ON p.property_id = c.mls_property_id
    WHERE true
      /*platform*/ AND c.platform = :platform
      /*crm_status*/ AND c.crm_status = :crm_status
      /*standard_status*/ AND p.standard_status = :standard_status
      /*linked*/ AND (c.mls_property_id IS NOT NULL) = :linked
      /*city*/ AND lower(coalesce(c.overrides ->> 'City', c.fields ->> 'City', c.own ->> 'City')) = lower(:city)
      /*pattern*/ AND concat_ws(' ', c.id, c.notes, c.own ->> 'UnparsedAddress', c.fields ->> 'UnparsedAddress', c.own ->> 'ListingId', c.fields ->> 'ListingId') COLLATE "default" ILIKE :pattern
      /*sync_statuses*/ AND sync_status(c, p, greatest(p.last_changed_at, (SELECT max(coalesce(ll.last_shown_at, lo.last_pass_at)) FROM location_listings AS ll JOIN locations AS lo USING (location_id) WHERE ll.property_id = c.mls_property_id)), :stale_after) = ANY (:sync_statuses::text[])
), page AS (
    SELECT id, touched_at FROM matching
    WHERE true
      /*before_at*/ AND (touched_at, id) < (:before_at, :before_id)
    ORDER BY touched_at DESC, id DESC LIMIT :limit
)
SELECT (SELECT count(*) FROM matching) AS total, page.touched_at, c.id, c.platform, c.crm_status, c.assigned_agent, c.own,
       c.fields, active_overrides(c.overrides, c.override_details) AS overrides, c.mls_property_id, c.version, p.source,
       p.source_key AS listing_key, greatest(p.last_changed_at, seen.at) AS last_seen_at,
       sync_status(c, p, greatest(p.last_changed_at, seen.at), :stale_after) AS sync_status,
       price.at AS price_changed_at, price.previous_value AS previous_price
FROM page JOIN crm_properties AS c USING (id)
LEFT JOIN mls_properties AS p ON p.property_id = c.mls_property_id
LEFT JOIN LATERAL (
    SELECT max(coalesce(ll.last_shown_at, lo.last_pass_at)) AS at
    FROM location_listings AS ll JOIN locations AS lo USING (location_id) WHERE ll.property_id = c.mls_property_id
) AS seen ON true
LEFT JOIN LATERAL (
    SELECT at, previous_value FROM property_changes AS ch
    WHERE ch.property_id = c.mls_property_id AND ch.field_name = 'ListPrice' ORDER BY change_id DESC LIMIT 1
) AS price ON true
ORDER BY page.touched_at DESC, page.id DESC

-- name: last_changes
-- When each field of a listing last changed, and by which run.
SELECT DISTINCT ON (field_name) field_name, at, run_id
FROM property_changes WHERE property_id = $1 AND field_name IS NOT NULL ORDER BY field_name, change_id DESC

-- name: history
-- What happened to the facts of a CRM property, newest first: its links, and what changed of the listings while they were
-- linked. `place` orders what happened at once: a link before the changes behind it.
SELECT * FROM (
    SELECT l.linked_at AS at, 0::bigint AS place, 'linked' AS kind, l.property_id, NULL AS type, NULL AS field_name,
           NULL::jsonb AS previous_value, NULL::jsonb AS new_value, NULL::bigint AS run_id, NULL AS run_kind, NULL AS crm
    FROM property_links AS l WHERE l.crm_id = :crm_id
    UNION ALL
    SELECT l.unlinked_at, 9223372036854775807, 'unlinked', l.property_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM property_links AS l WHERE l.crm_id = :crm_id AND l.unlinked_at IS NOT NULL
    UNION ALL
    SELECT ch.at, ch.change_id, 'change', ch.property_id, ch.type, ch.field_name, ch.previous_value, ch.new_value,
           ch.run_id, r.kind,
           CASE WHEN ch.field_name = ANY (:unsynced::text[]) THEN 'not_copied'
                WHEN active_overrides(c.overrides, c.override_details) ? ch.field_name
                     AND (c.override_details -> ch.field_name ->> 'at')::timestamptz <= ch.at THEN 'held_by_override'
                ELSE 'applied' END
    FROM property_links AS l
    JOIN crm_properties AS c ON c.id = l.crm_id
    JOIN property_changes AS ch ON ch.property_id = l.property_id AND ch.at >= l.linked_at
     AND ch.at <= coalesce(l.unlinked_at, 'infinity')
    LEFT JOIN scraping_jobs AS r ON r.run_id = ch.run_id
    WHERE l.crm_id = :crm_id
) AS h
WHERE true
  /*before_at*/ AND (at, place) < (:before_at, :before_place)
ORDER BY at DESC, place DESC LIMIT :limit

-- name: market_changes
-- What the market changed, newest first, and which CRM properties were linked then; new listings and what we read anew are not it.
SELECT ch.change_id, ch.run_id, ch.at, ch.type, ch.property_id, p.source_key AS listing_key,
       p.fields::json ->> 'UnparsedAddress' AS address, p.fields::json ->> 'ListOfficeName' AS courtesy_of, ch.field_name,
       ch.previous_value, ch.new_value,
       coalesce((
           SELECT jsonb_object_agg(c.id, CASE
               WHEN active_overrides(c.overrides, c.override_details) ? ch.field_name
                    AND (c.override_details -> ch.field_name ->> 'at')::timestamptz <= ch.at THEN 'held_by_override'
               ELSE 'applied' END)
           FROM property_links AS l JOIN crm_properties AS c ON c.id = l.crm_id
           WHERE l.property_id = ch.property_id AND l.linked_at <= ch.at AND ch.at <= coalesce(l.unlinked_at, 'infinity')
       ), '{}') AS crm_properties
FROM property_changes AS ch JOIN mls_properties AS p USING (property_id)
WHERE ch.type NOT IN ('new', 'renormalised') AND ch.change_id < :before
  /*linked*/ AND EXISTS (SELECT FROM crm_properties AS c WHERE c.mls_property_id = ch.property_id) = :linked
ORDER BY ch.change_id DESC LIMIT :limit
