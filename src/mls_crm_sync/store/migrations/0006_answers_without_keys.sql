-- A key is shown once, in the answer that made it. Such answers were kept like all others; what was kept of them goes.
-- They are the only ones of status 201 without an ETag.
UPDATE kept_answers SET headers = NULL, body = NULL
WHERE status = 201 AND body IS NOT NULL AND NOT coalesce(headers, '{}') ? 'etag';

-- A purge leaves no content in kept answers, and none in those still on their way: this tells them.
ALTER TABLE kept_answers ADD purged boolean NOT NULL DEFAULT false;
