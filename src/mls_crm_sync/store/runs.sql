-- name: location
-- The id of a location, made when it is new.
WITH made AS (
    INSERT INTO locations (source, name) VALUES ($1, $2) ON CONFLICT (source, name) DO NOTHING RETURNING location_id
)
SELECT location_id FROM made
UNION ALL
SELECT location_id FROM locations WHERE source = $1 AND name = $2
LIMIT 1

-- name: first_location
SELECT name FROM locations WHERE source = $1 ORDER BY location_id LIMIT 1

-- name: later
-- Let this commit reach the disk with the next one: of a run that has stored nothing, nothing can be missed.
SELECT set_config('synchronous_commit', 'off', true)

-- name: start
-- first_change bounds the run's part of the history: changes are numbered as they are written.
INSERT INTO scraping_jobs (kind, source, first_change)
VALUES ($1, $2, (SELECT coalesce(max(change_id), 0) + 1 FROM property_changes))
RETURNING run_id

-- name: start_location
INSERT INTO scraping_job_locations (run_id, location_id, started_at) VALUES ($1, $2, clock_timestamp()) RETURNING epoch

-- name: start_pass
INSERT INTO location_passes (location_id, run_id) VALUES ($1, $2) RETURNING pass_id

-- name: resumable
-- Runs of a location that can go on where they were; whether their process is gone, their life lock tells.
SELECT r.run_id, r.kind, l.location_id, p.pass_id
FROM scraping_jobs AS r
JOIN scraping_job_locations AS l USING (run_id)
JOIN locations AS lo USING (location_id)
JOIN location_passes AS p ON p.run_id = r.run_id AND p.location_id = l.location_id AND p.ended_at IS NULL
WHERE r.status = 'running' AND NOT r.by_workers AND r.kind IN ('scheduled', 'manual') AND lo.source = $1 AND lo.name = $2
  AND l.status = 'running' AND l.checkpoint IS NOT NULL
ORDER BY r.run_id

-- name: take_over
UPDATE scraping_job_locations SET epoch = epoch + 1
WHERE run_id = $1 AND location_id = $2 AND status = 'running'
RETURNING epoch, checkpoint, counts

-- name: pages
SELECT coalesce(max(page), 0) FROM pass_pages WHERE pass_id = $1

-- name: release_run
SELECT pg_advisory_unlock(1299997551, $1)

-- name: deliveries
SELECT max(p.pass_id) AS pass_id,
       max(p.pass_id) = (
           SELECT max(n.pass_id) FROM location_passes AS n JOIN locations AS lo USING (location_id)
           WHERE n.outcome = 'complete' AND lo.source = $1 AND lo.name = $2
       ) AS newest
FROM location_passes AS p JOIN locations AS l USING (location_id)
WHERE p.outcome = 'complete' AND l.source = $1 AND l.name = $2 AND p.delivery = $3

-- name: members_gone
SELECT l.source, ARRAY(
    SELECT unnest(before.members) EXCEPT SELECT unnest(p.members) ORDER BY 1
) AS gone
FROM location_passes AS p
JOIN locations AS l USING (location_id)
LEFT JOIN LATERAL (
    SELECT b.members FROM location_passes AS b
    WHERE b.location_id = p.location_id AND b.outcome = 'complete' AND b.pass_id < p.pass_id AND b.members IS NOT NULL
    ORDER BY b.pass_id DESC LIMIT 1
) AS before ON true
WHERE p.pass_id = $1

-- name: hold
-- The first lock of every page: fails when the run was given away or cancelled.
SELECT set_config('plan_cache_mode', $4, true) FROM scraping_job_locations
WHERE run_id = $1 AND location_id = $2 AND epoch = $3 AND status = 'running'
FOR NO KEY UPDATE

-- name: hold_together
-- The same where several processes read one run: they keep out whoever would end it, not each other.
SELECT set_config('plan_cache_mode', $4, true) FROM scraping_job_locations
WHERE run_id = $1 AND location_id = $2 AND epoch = $3 AND status = 'running'
FOR SHARE

-- name: note_counts
UPDATE scraping_jobs SET counts = $2 WHERE run_id = $1 AND status = 'running'

-- name: advance
UPDATE scraping_job_locations SET checkpoint = $3, counts = $4 WHERE run_id = $1 AND location_id = $2

-- name: show_and_advance
WITH shown AS (INSERT INTO pass_pages (pass_id, page, hashes, keys) VALUES ($5, $6, $7::text::uuid[], $8))
UPDATE scraping_job_locations SET checkpoint = $3, counts = $4 WHERE run_id = $1 AND location_id = $2

-- name: counts
SELECT CASE l.counts WHEN '{}' THEN r.counts ELSE l.counts END
FROM scraping_job_locations AS l JOIN scraping_jobs AS r USING (run_id) WHERE l.run_id = $1 AND l.location_id = $2

-- name: show
INSERT INTO pass_pages (pass_id, page, hashes, keys) VALUES ($1, $2, $3::text::uuid[], $4)

-- name: count_shown
UPDATE location_passes
SET shown = (SELECT count(*) FROM (SELECT DISTINCT key FROM pass_shown WHERE pass_id = $1) AS s)
WHERE pass_id = $1
RETURNING shown, started_at, EXISTS (
    SELECT FROM location_passes AS later
    WHERE later.location_id = location_passes.location_id AND later.pass_id > $1 AND later.ended_at IS NOT NULL
) AS overtaken

-- name: join_whole_sets
-- For the statements that end a pass: the planner knows nothing of keys just written, and a nested loop over them is
-- quadratic (14 s at 20,000 listings; 0.1 s so).
SET LOCAL enable_nestloop = off

-- name: mark_not_shown
-- What this pass did not show was last shown by the pass before it; a complete one ($3) also begins to count how often it
-- was not. Each is written once, when a listing stops being shown.
UPDATE location_listings AS ll
SET last_shown_at = coalesce(ll.last_shown_at, l.last_pass_at),
    missing_since = CASE WHEN $3 AND ll.left_at IS NULL THEN coalesce(ll.missing_since, $1) ELSE ll.missing_since END
FROM locations AS l
WHERE l.location_id = $2 AND ll.location_id = $2
  AND ((ll.last_shown_at IS NULL AND l.last_pass_at IS NOT NULL) OR ($3 AND ll.missing_since IS NULL AND ll.left_at IS NULL))
  AND NOT EXISTS (SELECT FROM pass_shown AS s WHERE s.pass_id = $1 AND s.key = ll.property_id)

-- name: mark_shown_again
UPDATE location_listings AS ll
SET last_shown_at = NULL, missing_since = NULL, left_at = NULL, looked_up_at = NULL, look_up = NULL
FROM (SELECT DISTINCT key FROM pass_shown WHERE pass_id = $1) AS s
WHERE ll.location_id = $2 AND ll.property_id = s.key
  AND (ll.last_shown_at IS NOT NULL OR ll.missing_since IS NOT NULL OR ll.left_at IS NOT NULL)

-- name: move_location
UPDATE locations SET last_pass_at = greatest(last_pass_at, $2) WHERE location_id = $1

-- name: drop_pages
DELETE FROM pass_pages WHERE pass_id = $1

-- name: end_pass
UPDATE location_passes SET ended_at = clock_timestamp(), outcome = $2, evidence = $3, delivery = $4, members = $5
WHERE pass_id = $1 AND ended_at IS NULL
RETURNING pass_id

-- name: lock_location
SELECT location_id FROM locations WHERE location_id = $1 FOR NO KEY UPDATE

-- name: end_location
UPDATE scraping_job_locations
SET status = $3, epoch = epoch + $4, counts = $5, outcome = $6, evidence = $7, error_code = $8, error_detail = $9,
    error_hint = $10, finished_at = clock_timestamp()
WHERE run_id = $1 AND location_id = $2

-- name: totals
-- Each listing once per type, whatever number of pages or fields it changed in.
SELECT type, count(DISTINCT property_id) AS listings
FROM property_changes WHERE change_id >= $2 AND run_id = $1
GROUP BY type ORDER BY type

-- name: first_change
SELECT first_change FROM scraping_jobs WHERE run_id = $1

-- name: finish
UPDATE scraping_jobs SET status = $2, finished_at = clock_timestamp(), counts = $3, error_code = $4, error_detail = $5,
    last_change = (SELECT max(change_id) FROM property_changes)
WHERE run_id = $1 AND status IN ('queued', 'running')
RETURNING run_id

-- name: running
SELECT run_id FROM scraping_jobs WHERE status = 'running' AND NOT by_workers ORDER BY run_id

-- name: try_claim
-- The holder of a run keeps this lock on a connection of its own; the server frees it when that dies.
SELECT pg_try_advisory_lock(1299997551, $1)

-- name: release
SELECT pg_advisory_unlock_all()

-- name: is_abandoned
-- Nobody holds the run's life lock. Ours ends with the transaction, so that no second one ends the run again.
SELECT pg_try_advisory_xact_lock(1299997551, $1)

-- name: still_running
SELECT true FROM scraping_jobs WHERE run_id = $1 AND status = 'running' FOR NO KEY UPDATE

-- name: open_locations
SELECT l.location_id, CASE l.counts WHEN '{}' THEN r.counts ELSE l.counts END AS counts, p.pass_id
FROM scraping_job_locations AS l
JOIN scraping_jobs AS r USING (run_id)
LEFT JOIN location_passes AS p ON p.run_id = l.run_id AND p.location_id = l.location_id AND p.ended_at IS NULL
WHERE l.run_id = $1 AND l.status = 'running'
ORDER BY l.location_id FOR NO KEY UPDATE OF l

-- name: newest
SELECT run_id, kind, source, status, started_at, finished_at, counts, error_code, error_detail
FROM scraping_jobs WHERE started_at IS NOT NULL ORDER BY run_id DESC LIMIT $1

-- name: lock_run
-- Before it is looked whether the last of its locations has ended: two that end at once would each see the other.
SELECT status, config, coalesce(started_at, made_at) AS since FROM scraping_jobs WHERE run_id = $1 FOR NO KEY UPDATE

-- name: location_results
SELECT l.location_id, lo.source, l.task, l.status, l.counts, l.error_code
FROM scraping_job_locations AS l JOIN locations AS lo USING (location_id)
WHERE l.run_id = $1 ORDER BY l.location_id

-- name: has_open_locations
SELECT EXISTS (SELECT FROM scraping_job_locations WHERE run_id = $1 AND status IN ('queued', 'running'))

-- name: make
-- A run that workers share; it waits until one of them takes the first of its locations.
INSERT INTO scraping_jobs (kind, source, status, started_at, by_workers, first_change, scheduled_job_id, scheduled_for,
                           last_due_at, actor, attempt_of, config, left_out)
VALUES ($1, $2, 'queued', NULL, true, (SELECT coalesce(max(change_id), 0) + 1 FROM property_changes), $3, $4, $4, $5, $6,
        $7, $8)
RETURNING run_id

-- name: make_locations
INSERT INTO locations (source, name) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT (source, name) DO NOTHING

-- name: queue
INSERT INTO scraping_job_locations (run_id, location_id, status, task, rank)
SELECT $1, l.location_id, 'queued', $4, $5
FROM unnest($2::text[], $3::text[]) AS i (source, name) JOIN locations AS l USING (source, name)

-- name: lock_open_locations
SELECT l.location_id, l.counts, p.pass_id FROM scraping_job_locations AS l
LEFT JOIN location_passes AS p ON p.run_id = l.run_id AND p.location_id = l.location_id AND p.ended_at IS NULL
WHERE l.run_id = $1 AND l.status IN ('queued', 'running')
ORDER BY l.location_id FOR NO KEY UPDATE OF l

-- name: open_location
SELECT l.location_id, l.counts, p.pass_id FROM scraping_job_locations AS l
LEFT JOIN location_passes AS p ON p.run_id = l.run_id AND p.location_id = l.location_id AND p.ended_at IS NULL
WHERE l.run_id = $1 AND l.location_id = $2

-- name: note_actor
UPDATE scraping_jobs SET actor = $2, started_at = coalesce(started_at, clock_timestamp()) WHERE run_id = $1

-- name: views
-- Runs as people see them, newest first; what a running one has come to so far is summed from its locations.
SELECT r.run_id, r.kind, r.source, r.status, r.made_at, r.started_at, r.finished_at, r.counts, r.error_code, r.error_detail,
       r.scheduled_job_id, r.scheduled_for, r.last_due_at, r.due_times, r.reason, r.actor, r.attempt_of, r.config, r.left_out,
       n.locations, n.finished_locations, n.failed_locations, n.read_so_far, n.crm_updated_so_far
FROM scraping_jobs AS r
CROSS JOIN LATERAL (
    SELECT count(*) AS locations, count(*) FILTER (WHERE l.finished_at IS NOT NULL) AS finished_locations,
           count(*) FILTER (WHERE l.status IN ('failed', 'partial')) AS failed_locations,
           coalesce(sum((l.counts ->> 'read')::bigint), 0)::bigint AS read_so_far,
           coalesce(sum((l.counts ->> 'crm_updated')::bigint), 0)::bigint AS crm_updated_so_far
    FROM scraping_job_locations AS l WHERE l.run_id = r.run_id
) AS n
WHERE r.run_id < :before
  /*run_id*/ AND r.run_id = :run_id
  /*scheduled_job_id*/ AND r.scheduled_job_id = :scheduled_job_id
  /*statuses*/ AND r.status = ANY (:statuses::text[])
  /*kinds*/ AND r.kind = ANY (:kinds::text[])
ORDER BY r.run_id DESC
LIMIT :limit::int

-- name: locations_of
SELECT l.location_id, lo.source, lo.name AS location, l.task, l.status, l.starts, l.started_at, l.finished_at, l.outcome,
       l.evidence, l.counts, l.error_code, l.error_detail, l.error_hint, w.host, w.pid
FROM scraping_job_locations AS l
JOIN locations AS lo USING (location_id)
LEFT JOIN workers AS w ON w.worker_id = l.worker_id AND l.status = 'running'
WHERE l.run_id = :run_id AND l.location_id > :after
  /*status*/ AND l.status = ANY (:status::text[])
ORDER BY l.location_id LIMIT :limit::int

-- name: errors_of
-- What went wrong in a run, by its code: how often, where for example, in whose words.
SELECT l.error_code AS code, count(*) AS locations, min(l.error_detail) AS detail, min(l.error_hint) AS hint,
       (array_agg(lo.name ORDER BY lo.name))[1:10] AS examples
FROM scraping_job_locations AS l JOIN locations AS lo USING (location_id)
WHERE l.run_id = $1 AND l.error_code IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1
