-- name: along
-- All that is written of listings that changed, along with their CRM properties: narrow rows (in brackets stands another
-- module's statement), history where it is short, facts and payload.
states AS (update_states), history AS (
    INSERT INTO property_changes (property_id, run_id, type, field_name, previous_value, new_value)
    SELECT property_id, $7, type, field_name, previous_value::jsonb, new_value::jsonb
    FROM unnest($8::text[], $9::text[], $10::text[], $11::text[], $12::text[])
        AS i (property_id, type, field_name, previous_value, new_value)
), written AS (
    UPDATE mls_properties AS p
    SET fields = i.fields, payload = i.payload, payload_codec = $13,
        last_changed_at = CASE WHEN i.changed THEN now() ELSE p.last_changed_at END,
        purged_at = NULL, standard_status = i.standard_status, listing_id = i.listing_id, city = i.city,
        postal_code = i.postal_code
    FROM unnest($1::text[], $14::text[], $15::bytea[], $16::boolean[], $17::text[], $18::text[], $19::text[], $20::text[])
        AS i (property_id, fields, payload, changed, standard_status, listing_id, city, postal_code)
    WHERE p.property_id = i.property_id
),

-- name: facts
-- What goes to the CRM, of what is written: a statement does not see it where it lies.
SELECT property_id, fields::jsonb - $21::text[] AS fields, content_hash
FROM unnest($1::text[], $14::text[], $5::bytea[]) AS i (property_id, fields, content_hash)
WHERE property_id IN (SELECT mls_property_id FROM o)
