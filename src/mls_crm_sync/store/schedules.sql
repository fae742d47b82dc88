-- name: get
SELECT * FROM scheduled_jobs WHERE scheduled_job_id = $1

-- name: every
SELECT * FROM scheduled_jobs ORDER BY kind, scheduled_job_id

-- name: lock
SELECT * FROM scheduled_jobs WHERE scheduled_job_id = $1 FOR NO KEY UPDATE

-- name: insert
INSERT INTO scheduled_jobs (
    scheduled_job_id, kind, name, status, cron_expression, timezone, listing_limit, request_delay, priority, filters,
    source, locations, next_run_at, frequency, edited
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
ON CONFLICT (scheduled_job_id) DO NOTHING RETURNING scheduled_job_id

-- name: save
UPDATE scheduled_jobs SET
    name = $2, status = $3, cron_expression = $4, timezone = $5, listing_limit = $6, request_delay = $7, priority = $8,
    filters = $9, source = $10, locations = $11, next_run_at = $12, frequency = $13, edited = $14,
    paused_at = $15, paused_by = $16, paused_until = $17, problem = NULL, version = version + 1, changed_at = now()
WHERE scheduled_job_id = $1

-- name: delete
DELETE FROM scheduled_jobs WHERE scheduled_job_id = $1 RETURNING scheduled_job_id

-- name: note_edit
INSERT INTO scheduled_job_edits (scheduled_job_id, version, edited_by, changes) VALUES ($1, $2, $3, $4)

-- name: edits
SELECT version, edited_by, edited_at, changes FROM scheduled_job_edits
WHERE scheduled_job_id = $1 ORDER BY edit_id DESC LIMIT $2

-- name: due
SELECT scheduled_job_id FROM scheduled_jobs WHERE status = 'active' AND next_run_at <= $1 ORDER BY next_run_at

-- name: lock_due
-- Whoever looks at the same time is making it.
SELECT * FROM scheduled_jobs
WHERE scheduled_job_id = $1 AND status = 'active' AND next_run_at <= $2
FOR NO KEY UPDATE SKIP LOCKED

-- name: accounted
UPDATE scheduled_jobs SET next_run_at = $2, problem = NULL,
    paused_at = CASE WHEN $3 THEN NULL ELSE paused_at END, paused_by = CASE WHEN $3 THEN NULL ELSE paused_by END,
    paused_until = CASE WHEN $3 THEN NULL ELSE paused_until END
WHERE scheduled_job_id = $1

-- name: note_problem
UPDATE scheduled_jobs SET problem = $2 WHERE scheduled_job_id = $1 AND problem IS DISTINCT FROM $2

-- name: newest_due
-- The newest due time of a schedule that is accounted for.
SELECT run_id, status, reason FROM scraping_jobs
WHERE scheduled_job_id = $1 AND scheduled_for IS NOT NULL ORDER BY scheduled_for DESC LIMIT 1

-- name: add_due
UPDATE scraping_jobs SET last_due_at = $2, due_times = due_times + $3, finished_at = clock_timestamp() WHERE run_id = $1

-- name: note_due
INSERT INTO scraping_jobs (kind, source, status, started_at, finished_at, first_change, scheduled_job_id, scheduled_for,
                           last_due_at, due_times, reason)
VALUES ('scheduled', NULL, $2, NULL, clock_timestamp(), 0, $1, $3, $4, $5, $6)
ON CONFLICT (scheduled_job_id, scheduled_for) DO NOTHING RETURNING run_id

-- name: open_run
SELECT run_id FROM scraping_jobs WHERE scheduled_job_id = $1 AND status IN ('queued', 'running')

-- name: activity
-- What is known of schedules from their runs: started ones, the newest, the newest that has finished and the newest full
-- success.
SELECT j.scheduled_job_id, n.run_count, n.last_run_at, o.run_id AS open_run, o.status AS open_status, f.run_id AS last_run,
       f.status AS last_status, s.finished_at AS last_success_at, m.median_duration
FROM unnest($1::text[]) AS j (scheduled_job_id)
LEFT JOIN LATERAL (
    SELECT count(*) AS run_count, max(r.started_at) AS last_run_at FROM scraping_jobs AS r
    WHERE r.scheduled_job_id = j.scheduled_job_id AND r.started_at IS NOT NULL
) AS n ON true
LEFT JOIN LATERAL (
    SELECT r.run_id, r.status FROM scraping_jobs AS r
    WHERE r.scheduled_job_id = j.scheduled_job_id AND r.status IN ('queued', 'running')
) AS o ON true
LEFT JOIN LATERAL (
    SELECT r.run_id, r.status FROM scraping_jobs AS r
    WHERE r.scheduled_job_id = j.scheduled_job_id AND r.status IN ('succeeded', 'partial', 'failed', 'cancelled')
    ORDER BY r.run_id DESC LIMIT 1
) AS f ON true
LEFT JOIN LATERAL (
    SELECT r.finished_at FROM scraping_jobs AS r
    WHERE r.scheduled_job_id = j.scheduled_job_id AND r.status = 'succeeded' ORDER BY r.run_id DESC LIMIT 1
) AS s ON true
LEFT JOIN LATERAL (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM q.finished_at - q.started_at)) AS median_duration
    FROM (
        SELECT r.started_at, r.finished_at FROM scraping_jobs AS r
        WHERE r.scheduled_job_id = j.scheduled_job_id AND r.status IN ('succeeded', 'partial')
        ORDER BY r.run_id DESC LIMIT 20
    ) AS q
) AS m ON true
