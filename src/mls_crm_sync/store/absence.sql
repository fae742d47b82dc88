-- name: unsettled
-- The newest complete pass of each location of a source whose end came, but not yet what follows from it.
SELECT DISTINCT ON (p.location_id) p.location_id, l.source, l.name AS location, p.pass_id
FROM location_passes AS p JOIN locations AS l USING (location_id)
WHERE p.outcome = 'complete' AND p.settled_at IS NULL AND l.source = $1
ORDER BY p.location_id, p.pass_id DESC

-- name: settled
UPDATE location_passes SET settled_at = now()
WHERE location_id = $1 AND pass_id <= $2 AND outcome = 'complete' AND settled_at IS NULL

-- name: try_claim
SELECT pg_try_advisory_lock(1299997552, hashtext($1))

-- name: candidates
-- Listings that complete passes of a location did not show, by id; what is held or absent is decided, and is none.
-- elsewhere: a pass of another location that began after the first of those has shown it, or one under way is showing it.
WITH complete AS MATERIALIZED (
    SELECT pass_id FROM location_passes WHERE location_id = $1 AND outcome = 'complete' AND pass_id <= $2
),
showing AS MATERIALIZED (
    SELECT DISTINCT s.key AS property_id
    FROM location_passes AS running JOIN pass_shown AS s USING (pass_id) WHERE running.ended_at IS NULL
)
SELECT ll.property_id, p.source_key, p.postal_code, p.fields::json ->> 'UnparsedAddress' AS address,
       (SELECT count(*) FROM complete AS c WHERE c.pass_id >= ll.missing_since) AS passes,
       EXISTS (SELECT FROM showing AS s WHERE s.property_id = ll.property_id) OR EXISTS (
           SELECT FROM location_listings AS o JOIN locations AS lo USING (location_id)
           WHERE o.property_id = ll.property_id AND o.location_id <> $1
             AND coalesce(o.last_shown_at, lo.last_pass_at) > first.started_at
       ) AS elsewhere
FROM location_listings AS ll
JOIN location_passes AS first ON first.pass_id = ll.missing_since
JOIN mls_properties AS p USING (property_id)
WHERE ll.location_id = $1 AND ll.missing_since <= $2 AND ll.property_id > $3
  AND p.absence_state = 'listed' AND p.purged_at IS NULL
ORDER BY ll.property_id LIMIT $4

-- name: count_held
SELECT count(*) FROM absences AS a JOIN mls_properties AS p USING (property_id)
WHERE a.location_id = $1 AND p.absence_state = 'held'

-- name: count_of_location
-- The listings that a location has: those that it showed last, and those that are not called absent.
SELECT count(*) FROM location_listings AS ll
WHERE ll.location_id = $1 AND ll.left_at IS NULL AND (
    ll.missing_since IS NULL OR EXISTS (
        SELECT FROM mls_properties AS p WHERE p.property_id = ll.property_id AND p.absence_state <> 'absent'
    )
)

-- name: leave
-- Seen by other means: that this location does not show them says nothing any more.
UPDATE location_listings SET left_at = now(), missing_since = NULL, looked_up_at = NULL, look_up = NULL
WHERE location_id = $1 AND property_id = ANY ($2::text[]) AND missing_since IS NOT NULL

-- name: leave_all
UPDATE location_listings SET left_at = now(), missing_since = NULL, looked_up_at = NULL, look_up = NULL
WHERE property_id = ANY ($1::text[]) AND missing_since IS NOT NULL

-- name: note_look_ups
UPDATE location_listings AS ll SET looked_up_at = now(), look_up = i.said
FROM unnest($2::text[], $3::text[]) AS i (property_id, said)
WHERE ll.location_id = $1 AND ll.property_id = i.property_id

-- name: still_missing
-- Asked again under the listings' locks: nothing has shown them since it was decided.
SELECT ll.property_id FROM location_listings AS ll JOIN mls_properties AS p USING (property_id)
WHERE ll.location_id = $1 AND ll.property_id = ANY ($2::text[]) AND ll.missing_since IS NOT NULL
  AND p.absence_state = 'listed' AND p.purged_at IS NULL
  AND NOT EXISTS (
      SELECT FROM location_passes AS running JOIN pass_shown AS s USING (pass_id)
      WHERE running.ended_at IS NULL AND s.key = ll.property_id
  )
ORDER BY ll.property_id

-- name: set_state
UPDATE mls_properties SET absence_state = $2 WHERE property_id = ANY ($1::text[]) AND absence_state <> $2

-- name: keep_evidence
INSERT INTO absences (property_id, location_id, hold_id, evidence)
SELECT ll.property_id, $1, $3, jsonb_strip_nulls(jsonb_build_object(
    'rule', i.rule, 'source', l.source, 'location', l.name, 'passes', count(p.pass_id),
    'first_pass', min(p.pass_id), 'last_pass', max(p.pass_id), 'not_shown_since', min(p.started_at),
    'last_shown_at', nullif(ll.last_shown_at, '-infinity'), 'asked_at', ll.looked_up_at, 'answer', ll.look_up
))
FROM unnest($4::text[], $5::text[]) AS i (property_id, rule)
JOIN location_listings AS ll ON ll.location_id = $1 AND ll.property_id = i.property_id
JOIN locations AS l ON l.location_id = $1
JOIN location_passes AS p
  ON p.location_id = $1 AND p.outcome = 'complete' AND p.pass_id BETWEEN ll.missing_since AND $2
GROUP BY ll.property_id, i.rule, l.source, l.name, ll.last_shown_at, ll.looked_up_at, ll.look_up
ON CONFLICT (property_id) DO UPDATE SET
    location_id = excluded.location_id, hold_id = excluded.hold_id, evidence = excluded.evidence, decided_at = now()

-- name: open_hold
-- One a location; a later pass adds to it.
INSERT INTO absence_holds AS h (location_id, pass_id, listings, of) VALUES ($1, $2, $3, $4)
ON CONFLICT (location_id) WHERE decision IS NULL DO UPDATE SET
    pass_id = excluded.pass_id, listings = excluded.listings, of = excluded.of
RETURNING hold_id, (xmax = 0) AS made

-- name: decide_hold
-- The first who decides does; whoever says the same again goes on with what may be left of it.
UPDATE absence_holds SET
    decided_by = CASE WHEN decision IS NULL THEN $3 ELSE decided_by END, decided_at = coalesce(decided_at, now()),
    decision = coalesce(decision, $2)
WHERE hold_id = $1 RETURNING decision, decided_by

-- name: half_decided
SELECT DISTINCT h.hold_id, h.decision FROM absence_holds AS h
JOIN locations AS l USING (location_id) JOIN absences AS a USING (hold_id) JOIN mls_properties AS p USING (property_id)
WHERE l.source = $1 AND h.decision IN ('released', 'rejected') AND p.absence_state = 'held'

-- name: held_by
SELECT property_id FROM absences AS a JOIN mls_properties AS p USING (property_id)
WHERE a.hold_id = $1 AND p.absence_state = 'held' ORDER BY property_id LIMIT $2

-- name: still_held
-- Each state is looked up by its id: joined, with statistics from before many were held, all that are held are walked
-- for each of them.
SELECT a.property_id FROM absences AS a
WHERE a.hold_id = $1 AND a.property_id = ANY ($2::text[])
  AND (SELECT p.absence_state FROM mls_properties AS p WHERE p.property_id = a.property_id) = 'held'
ORDER BY a.property_id

-- name: add_to_evidence
UPDATE absences AS a SET decided_at = now(), evidence = a.evidence || jsonb_build_object('released_by', h.decided_by)
FROM absence_holds AS h WHERE a.property_id = ANY ($1::text[]) AND h.hold_id = a.hold_id

-- name: count_anew
-- A person said that they are there: passes that do not show them are counted from the beginning.
UPDATE location_listings AS ll SET missing_since = NULL, looked_up_at = NULL, look_up = NULL
FROM absences AS a
WHERE a.property_id = ANY ($1::text[]) AND ll.location_id = a.location_id AND ll.property_id = a.property_id

-- name: noted_of
-- Those of some listings about whose absence anything is noted: a decision, or a pass that did not show them; by id.
SELECT property_id FROM unnest($1::text[]) AS i (property_id)
WHERE EXISTS (SELECT FROM absences AS a WHERE a.property_id = i.property_id)
   OR EXISTS (SELECT FROM location_listings AS ll WHERE ll.property_id = i.property_id AND ll.missing_since IS NOT NULL)
ORDER BY property_id COLLATE "C"

-- name: decided_of_pass
SELECT property_id FROM absences
WHERE property_id IN (SELECT key FROM pass_shown WHERE pass_id = $1) ORDER BY property_id

-- name: come_back
-- Returns those that had been called absent: nobody was told of the others.
UPDATE mls_properties AS p SET absence_state = 'listed'
FROM (SELECT property_id, absence_state FROM mls_properties WHERE property_id = ANY ($1::text[])) AS before
WHERE p.property_id = before.property_id AND before.absence_state <> 'listed'
RETURNING p.property_id, before.absence_state = 'absent' AS was_absent

-- name: forget
DELETE FROM absences WHERE property_id = ANY ($1::text[]) RETURNING hold_id

-- name: close_empty_holds
UPDATE absence_holds AS h SET decision = 'returned', decided_at = now()
WHERE h.hold_id = ANY ($1::bigint[]) AND h.decision IS NULL AND NOT EXISTS (
    SELECT FROM absences AS a JOIN mls_properties AS p USING (property_id)
    WHERE a.hold_id = h.hold_id AND p.absence_state = 'held'
)

-- name: evidence
-- Why listings are absent or held; of those that are missing, by location since when, and how often they were not shown.
SELECT property_id, evidence || jsonb_strip_nulls(jsonb_build_object('decided_at', decided_at, 'hold_id', hold_id))
FROM absences WHERE property_id = ANY ($1::text[])
UNION ALL
SELECT ll.property_id, jsonb_build_object('missing', jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
    'source', l.source, 'location', l.name, 'not_shown_since', first.started_at,
    'last_shown_at', nullif(ll.last_shown_at, '-infinity'), 'asked_at', ll.looked_up_at, 'answer', ll.look_up,
    'passes', (
        SELECT count(*) FROM location_passes AS c
        WHERE c.location_id = ll.location_id AND c.outcome = 'complete' AND c.pass_id >= ll.missing_since
    )
)) ORDER BY l.name))
FROM location_listings AS ll
JOIN locations AS l USING (location_id)
JOIN location_passes AS first ON first.pass_id = ll.missing_since
WHERE ll.property_id = ANY ($1::text[]) AND NOT EXISTS (SELECT FROM absences AS a WHERE a.property_id = ll.property_id)
GROUP BY ll.property_id

-- name: holds
-- Newest first.
SELECT h.hold_id, l.source, l.name AS location, h.pass_id, h.listings, h.of, h.made_at, h.decision, h.decided_by,
       h.decided_at,
       (SELECT count(*) FROM absences AS a JOIN mls_properties AS p USING (property_id)
        WHERE a.hold_id = h.hold_id AND p.absence_state = 'held') AS still_held
FROM absence_holds AS h JOIN locations AS l USING (location_id)
WHERE h.hold_id < $1 AND ($2::boolean OR h.decision IS NULL)
ORDER BY h.hold_id DESC LIMIT $3
