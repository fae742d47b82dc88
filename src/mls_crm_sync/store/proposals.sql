-- name: read
-- Active CRM properties whose listing is over or absent, by id. An override of StandardStatus by which it is not over is
-- somebody's word against it. `since` is when the market said so last, and a dismissal holds for that one time.
SELECT * FROM (
    SELECT f.*, d.crm_id IS NOT NULL AS dismissed, d.note, d.dismissed_by, d.dismissed_at
    FROM (
        SELECT c.id AS crm_property_id, c.platform, c.crm_status, c.version, p.property_id AS mls_property_id, p.source,
               p.source_key AS listing_key, p.standard_status,
               coalesce(c.fields ->> 'UnparsedAddress', c.own ->> 'UnparsedAddress') AS address,
               CASE WHEN over.ended THEN 'ended' ELSE 'absent' END AS reason,
               CASE WHEN over.ended THEN coalesce(ch.at, p.first_seen_at) ELSE a.decided_at END AS since,
               CASE WHEN over.ended THEN NULL ELSE a.evidence END AS evidence
        FROM crm_properties AS c
        JOIN mls_properties AS p ON p.property_id = c.mls_property_id
        LEFT JOIN absences AS a ON a.property_id = p.property_id AND p.absence_state = 'absent'
        CROSS JOIN LATERAL (SELECT coalesce(p.standard_status = ANY (:ended::text[]), false) AS ended) AS over
        LEFT JOIN LATERAL (
            SELECT max(h.at) AS at FROM property_changes AS h
            WHERE over.ended AND h.property_id = p.property_id
              AND (h.type = 'new' OR h.field_name = 'StandardStatus' AND h.type <> 'renormalised')
        ) AS ch ON true
        WHERE c.crm_status = 'active' AND c.mls_property_id IS NOT NULL AND c.id > :after
          AND (over.ended OR a.property_id IS NOT NULL)
          AND coalesce(active_overrides(c.overrides, c.override_details) ->> 'StandardStatus' = ANY (:ended::text[]), true)
          /*crm_id*/ AND c.id = :crm_id
          /*platform*/ AND c.platform = :platform
    ) AS f
    LEFT JOIN proposal_dismissals AS d
      ON d.crm_id = f.crm_property_id AND d.property_id = f.mls_property_id AND d.reason = f.reason AND d.since = f.since
) AS q
WHERE true
  /*reason*/ AND q.reason = :reason
  /*open_only*/ AND NOT q.dismissed
ORDER BY q.crm_property_id
LIMIT :limit::bigint

-- name: count_open
SELECT count(*) FROM (read) AS q

-- name: dismiss
INSERT INTO proposal_dismissals (crm_id, property_id, reason, since, note, dismissed_by)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (crm_id) DO UPDATE SET
    property_id = excluded.property_id, reason = excluded.reason, since = excluded.since, note = excluded.note,
    dismissed_by = excluded.dismissed_by, dismissed_at = now()
