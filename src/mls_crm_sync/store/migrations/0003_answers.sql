-- Answers to requests that came with an Idempotency-Key, so that a request sent twice has one effect.
CREATE TABLE kept_answers (
    caller      text COLLATE "C" NOT NULL,
    key         text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,          -- sha256 of method, path, query and body
    started_at  timestamptz NOT NULL DEFAULT now(),
    status      int,                     -- null while the request is under way
    headers     jsonb,
    body        bytea,                   -- zstd
    PRIMARY KEY (caller, key)
);
CREATE INDEX kept_answers_by_age ON kept_answers (started_at);
