-- Who may call the HTTP service. Of a key only its SHA-256 is kept; it is random, so that is enough.
CREATE TABLE api_keys (
    key_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL CHECK (name <> ''),
    digest     bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    scopes     text[] NOT NULL CHECK (cardinality(scopes) > 0
               AND scopes <@ '{read,write:crm,write:links,write:config,run,admin}'),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
