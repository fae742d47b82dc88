-- name: active_properties
-- Active CRM properties by status, and those that are linked by how long ago their listing was seen: the bucket is the
-- number of bounds (seconds, ascending) that the age has reached.
SELECT sync_status(c, p, seen_at, $2) AS sync_status, c.mls_property_id IS NOT NULL AS linked,
       width_bucket(extract(epoch FROM now() - seen_at)::float8, $1::float8[]) AS bucket, count(*)
FROM crm_properties AS c
LEFT JOIN mls_properties AS p ON p.property_id = c.mls_property_id
LEFT JOIN LATERAL (
    SELECT greatest(p.last_changed_at, max(coalesce(ll.last_shown_at, lo.last_pass_at))) AS seen_at
    FROM location_listings AS ll JOIN locations AS lo USING (location_id) WHERE ll.property_id = c.mls_property_id
) AS seen ON true
WHERE c.crm_status = 'active'
GROUP BY 1, 2, 3

-- name: properties
SELECT count(*) AS properties, count(*) FILTER (WHERE crm_status = 'active') AS active, count(mls_property_id) AS linked
FROM crm_properties

-- name: changes_since
-- How many listings the market changed, by type. `first` bounds the search: no change since then has a smaller id.
SELECT ch.type, count(DISTINCT ch.property_id) AS listings
FROM property_changes AS ch
WHERE ch.change_id >= (
    SELECT coalesce(min(first_change), 9223372036854775807) FROM scraping_jobs
    WHERE first_change IS NOT NULL AND coalesce(finished_at, now()) >= $1
) AND ch.at >= $1 AND ch.type NOT IN ('new', 'renormalised')
GROUP BY 1 ORDER BY 1

-- name: crm_updates_since
SELECT coalesce(sum((counts ->> 'crm_updated')::bigint), 0)::bigint FROM scraping_jobs
WHERE coalesce(finished_at, now()) >= $1
