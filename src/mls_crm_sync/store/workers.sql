-- name: enrol
INSERT INTO workers (host, pid, release) VALUES ($1, $2, $3) RETURNING worker_id

-- name: beat
UPDATE workers SET seen_at = clock_timestamp() WHERE worker_id = $1

-- name: leave
DELETE FROM workers WHERE worker_id = $1

-- name: forget
-- Workers that went away without a word, long ago; what they had was given to others.
DELETE FROM workers WHERE seen_at < clock_timestamp() - $1::interval

-- name: living
SELECT w.worker_id, w.host, w.pid, w.release, w.started_at, w.seen_at,
       (SELECT count(*) FROM scraping_job_locations AS l WHERE l.worker_id = w.worker_id AND l.status = 'running') AS locations
FROM workers AS w WHERE w.seen_at > clock_timestamp() - $1::interval
ORDER BY w.worker_id

-- name: ring
-- Heard at the commit, by every worker.
SELECT pg_notify('mls_crm_sync_work', '')

-- name: claim
-- The next location that waits, for one worker alone; sources that it cannot open are left to others.
WITH next AS (
    SELECT l.run_id, l.location_id, lo.source, lo.name AS location
    FROM scraping_job_locations AS l JOIN locations AS lo USING (location_id)
    WHERE l.status = 'queued' AND lo.source <> ALL ($2::text[])
    ORDER BY l.rank DESC, l.run_id, l.location_id
    LIMIT 1 FOR NO KEY UPDATE OF l SKIP LOCKED
), taken AS (
    UPDATE scraping_job_locations AS l
    SET status = 'running', worker_id = $1, epoch = epoch + 1, starts = starts + 1,
        started_at = coalesce(l.started_at, clock_timestamp())
    FROM next AS n WHERE l.run_id = n.run_id AND l.location_id = n.location_id
    RETURNING l.run_id, l.location_id, l.epoch, l.task, l.checkpoint, l.counts, n.source, n.location
)
SELECT t.*, r.kind, r.config, coalesce(r.started_at, clock_timestamp()) AS run_started_at, p.pass_id,
       coalesce((SELECT max(page) FROM pass_pages AS pp WHERE pp.pass_id = p.pass_id), 0) AS pages
FROM taken AS t
JOIN scraping_jobs AS r USING (run_id)
LEFT JOIN location_passes AS p ON p.run_id = t.run_id AND p.location_id = t.location_id AND p.ended_at IS NULL

-- name: begin_run
UPDATE scraping_jobs SET status = 'running', started_at = clock_timestamp() WHERE run_id = $1 AND status = 'queued'

-- name: begin_pass
INSERT INTO location_passes (location_id, run_id) VALUES ($1, $2) RETURNING pass_id

-- name: taken_by
SELECT run_id, location_id FROM scraping_job_locations WHERE worker_id = $1 AND status = 'running'

-- name: orphans
-- What is taken by a worker that has not been seen for so long.
SELECT l.run_id, l.location_id FROM scraping_job_locations AS l
WHERE l.status = 'running' AND l.worker_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM workers AS w WHERE w.worker_id = l.worker_id AND w.seen_at > clock_timestamp() - $1::interval
)
ORDER BY l.run_id, l.location_id

-- name: lock_orphan
-- Asked again under the row's lock; who holds that is alive, and is asked next time.
SELECT l.starts FROM scraping_job_locations AS l
WHERE l.run_id = $1 AND l.location_id = $2 AND l.status = 'running' AND l.worker_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM workers AS w WHERE w.worker_id = l.worker_id AND w.seen_at > clock_timestamp() - $3::interval
)
FOR NO KEY UPDATE OF l SKIP LOCKED

-- name: give_back
-- It waits again, behind its checkpoint; whoever had it writes nothing more. A start that was nobody's fault ($4) is none.
UPDATE scraping_job_locations
SET status = 'queued', worker_id = NULL, epoch = epoch + 1, starts = starts - CASE WHEN $4 THEN 1 ELSE 0 END
WHERE run_id = $1 AND location_id = $2 AND status = 'running' AND ($3::bigint IS NULL OR worker_id = $3)
RETURNING run_id
