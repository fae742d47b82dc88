-- How fast a source may be asked, over all processes and restarts: the log of starts, and what is known of its health.
CREATE TABLE source_requests (
    request_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source     text COLLATE "C" NOT NULL,
    at         timestamptz NOT NULL,              -- when it started
    bytes      bigint NOT NULL DEFAULT 0
);
CREATE INDEX source_requests_log ON source_requests (source, at DESC) INCLUDE (bytes);

-- A row for each source that was ever asked; its lock is the turn of whoever looks whether it may start.
CREATE TABLE source_budgets (
    source      text COLLATE "C" PRIMARY KEY,
    failures    int NOT NULL DEFAULT 0,
    openings    int NOT NULL DEFAULT 0,
    open_until  timestamptz,
    probe_until timestamptz,
    limited     int NOT NULL DEFAULT 0,
    not_before  timestamptz
);

-- What the operator says instead of what the kind has.
ALTER TABLE sources
    ADD limits        jsonb,
    ADD request_delay double precision;
