-- name: filters
-- What may be asked of a property beside its crm_status; `q.facts` is what a reader gets.
  /*platform*/ AND c.platform = ANY (:platform::text[])
  /*assigned_agent*/ AND c.assigned_agent = ANY (:assigned_agent::text[])
  /*tags*/ AND c.tags && :tags::text[]
  /*postal_code*/ AND left(q.facts ->> 'PostalCode', 5) = ANY (:postal_code::text[])
  /*city*/ AND lower(q.facts ->> 'City') = ANY (:city::text[])
  /*standard_status*/ AND q.facts ->> 'StandardStatus' = ANY (:standard_status::text[])
  /*property_type*/ AND q.facts ->> 'PropertyType' = ANY (:property_type::text[])
  /*min_list_price*/ AND (q.facts ->> 'ListPrice')::numeric >= :min_list_price::numeric
  /*max_list_price*/ AND (q.facts ->> 'ListPrice')::numeric <= :max_list_price::numeric
  /*max_age_days*/ AND coalesce((coalesce(q.facts ->> 'OnMarketDate', q.facts ->> 'ListingContractDate'))::date, c.created_at::date) >= current_date - :max_age_days::int

-- name: active
-- The distinct places of active CRM properties, each at the source of its linked listings ('': linked to none): read from
-- the index alone, in its order. A walk from one place to the next by a recursive query took twice as long.
SELECT mls_source, place, count(*) AS properties
FROM crm_properties WHERE crm_status = 'active' AND place IS NOT NULL GROUP BY mls_source, place

-- name: active_of
SELECT '' AS mls_source, NULL AS place, count(*) AS properties, (array_agg(c.id ORDER BY c.id))[1:10] AS examples
FROM crm_properties AS c
WHERE c.crm_status = 'active' AND c.place IS NOT NULL AND c.mls_source = ANY ($1::text[])

-- name: placeless
-- Active properties of which the index does not know where they are: an override of it expires some day, or nobody knows.
SELECT c.mls_source, q.place, count(*) AS properties, (array_agg(c.id ORDER BY c.id))[1:10] AS examples
FROM crm_properties AS c CROSS JOIN LATERAL (
    SELECT v.facts, place_name(v.facts ->> 'PostalCode', v.facts ->> 'City', v.facts ->> 'StateOrProvince') AS place
    FROM (SELECT c.own || c.fields || active_overrides(c.overrides, c.override_details) AS facts) AS v
) AS q
WHERE c.crm_status = 'active' AND c.place IS NULL
GROUP BY 1, 2

-- name: selected
-- The same of the properties that filters select.
SELECT c.mls_source, q.place, count(*) AS properties, (array_agg(c.id ORDER BY c.id))[1:10] AS examples
FROM crm_properties AS c CROSS JOIN LATERAL (
    SELECT v.facts, place_name(v.facts ->> 'PostalCode', v.facts ->> 'City', v.facts ->> 'StateOrProvince') AS place
    FROM (SELECT c.own || c.fields || active_overrides(c.overrides, c.override_details) AS facts) AS v
) AS q
WHERE c.crm_status = ANY (:crm_status::text[])
(filters)
GROUP BY 1, 2

-- name: unseen_ones
-- Listings of a source linked to properties that are selected, which nothing has shown since a run began: no pass that
-- began since, no delivery that the run knew again, no change.
FROM crm_properties AS c CROSS JOIN LATERAL (
    SELECT c.own || c.fields || active_overrides(c.overrides, c.override_details) AS facts
) AS q
JOIN mls_properties AS p ON p.property_id = c.mls_property_id
WHERE c.crm_status = ANY (:crm_status::text[]) AND c.mls_source = :source AND p.purged_at IS NULL
  AND p.last_changed_at < :since
  AND NOT EXISTS (
      SELECT FROM location_listings AS ll JOIN locations AS lo USING (location_id)
      WHERE ll.property_id = p.property_id AND coalesce(ll.last_shown_at, lo.last_pass_at) >= :since
  )
  AND NOT EXISTS (
      SELECT FROM location_listings AS ll JOIN scraping_job_locations AS j USING (location_id)
      WHERE ll.property_id = p.property_id AND ll.last_shown_at IS NULL
        AND j.run_id = :run_id::bigint AND j.outcome = 'same_delivery'
  )
(filters)

-- name: has_unseen
SELECT EXISTS (SELECT
(unseen_ones)
)

-- name: unseen
-- In another order for each run, so that a limit is fair.
SELECT p.property_id, p.source_key, p.postal_code, p.fields::json ->> 'UnparsedAddress' AS address
(unseen_ones)
GROUP BY p.property_id
ORDER BY md5(p.property_id || :run_id::bigint)
LIMIT :limit::int
