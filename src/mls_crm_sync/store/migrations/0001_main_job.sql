-- The tables of the main job: listings in, changes recognised, linked CRM properties in step.
-- PostgreSQL 15 and later. Keys are COLLATE "C": the same order on every server, whatever its locale.

-- What a run reads: the unit of progress, retry and completeness.
CREATE TABLE locations (
    location_id  int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source       text COLLATE "C" NOT NULL CHECK (source <> ''),
    name         text COLLATE "C" NOT NULL CHECK (name <> ''),
    last_pass_at timestamptz,           -- start of the newest ended pass that showed at least one record
    UNIQUE (source, name)
);

-- One row of scraping_jobs for every ingest, whoever asked for it.
CREATE TABLE scraping_jobs (
    run_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL CHECK (kind IN ('ingest', 'push', 'look_up', 'replay', 'retry', 'scheduled', 'manual')),
    source       text COLLATE "C" NOT NULL,
    status       text NOT NULL DEFAULT 'running'
                 CHECK (status IN ('running', 'succeeded', 'partial', 'failed', 'cancelled')),
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at  timestamptz,
    first_change bigint NOT NULL,       -- no change of this run has a smaller change_id
    counts       jsonb NOT NULL DEFAULT '{}',
    error_code   text,
    error_detail text,
    CHECK ((status = 'running') = (finished_at IS NULL))
);
CREATE INDEX scraping_jobs_running ON scraping_jobs (run_id) WHERE status = 'running';

-- The checkpoint of a run at one location. `epoch` fences: who holds an older one writes nothing more.
CREATE TABLE scraping_job_locations (
    run_id       bigint NOT NULL REFERENCES scraping_jobs ON DELETE CASCADE,
    location_id  int NOT NULL REFERENCES locations,
    epoch        int NOT NULL DEFAULT 1,
    status       text NOT NULL DEFAULT 'running'
                 CHECK (status IN ('running', 'succeeded', 'partial', 'failed', 'cancelled')),
    checkpoint   jsonb,
    counts       jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (run_id, location_id)
) WITH (fillfactor = 50);

-- One reading of a location. Complete only with proof, and the proof is kept.
CREATE TABLE location_passes (
    pass_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    location_id  int NOT NULL REFERENCES locations,
    run_id       bigint NOT NULL REFERENCES scraping_jobs ON DELETE CASCADE,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at     timestamptz,
    outcome      text CHECK (outcome IN ('complete', 'unproven', 'partial', 'broken', 'abandoned', 'cancelled')),
    evidence     text,
    shown        int NOT NULL DEFAULT 0,
    CHECK ((ended_at IS NULL) = (outcome IS NULL)),
    CHECK (outcome IS DISTINCT FROM 'complete' OR evidence IS NOT NULL)
);
CREATE INDEX location_passes_by_location ON location_passes (location_id, pass_id);
CREATE INDEX location_passes_by_run ON location_passes (run_id);

-- The listings each page of a running pass showed, written with the page; folded into location_listings at its end.
CREATE TABLE pass_pages (
    pass_id      bigint NOT NULL REFERENCES location_passes ON DELETE CASCADE,
    page         int NOT NULL,
    keys         text[] COLLATE "C" NOT NULL,
    PRIMARY KEY (pass_id, page)
);

-- All that a re-read without changes needs of a listing, and the row that every writer of the listing locks.
-- Made in one transaction with its mls_properties row; a foreign key would cost a lock on that row per listing.
CREATE TABLE mls_state (
    property_id        text COLLATE "C" PRIMARY KEY CHECK (property_id <> ''),
    location_id        int NOT NULL,          -- where it was first read from
    digest             bytea NOT NULL,        -- of the raw record without its volatile members; empty after a purge
    payload_digest     bytea NOT NULL,        -- of the kept payload, order and volatile members aside
    content_hash       bytea NOT NULL,        -- sha256 of the canonical hashed fields
    norm_version       text COLLATE "C" NOT NULL,
    source_modified_at timestamptz
) WITH (fillfactor = 85);

CREATE TABLE mls_properties (
    property_id     text COLLATE "C" PRIMARY KEY,
    source          text COLLATE "C" NOT NULL,
    source_key      text COLLATE "C" NOT NULL,
    fields          jsonb NOT NULL CHECK (jsonb_typeof(fields) = 'object'),
    payload         bytea,                    -- what the source delivered, overlaid; for replay and media URLs
    payload_codec   smallint NOT NULL DEFAULT 0,   -- 0: zstd without a dictionary
    standard_status text GENERATED ALWAYS AS (fields ->> 'StandardStatus') STORED,
    listing_id      text GENERATED ALWAYS AS (fields ->> 'ListingId') STORED,
    city            text GENERATED ALWAYS AS (fields ->> 'City') STORED,
    postal_code     text GENERATED ALWAYS AS (fields ->> 'PostalCode') STORED,
    absence_state   text NOT NULL DEFAULT 'listed' CHECK (absence_state IN ('listed', 'missing', 'absent', 'held')),
    first_seen_at   timestamptz NOT NULL,
    last_changed_at timestamptz NOT NULL,
    purged_at       timestamptz,
    UNIQUE (source_key, source)               -- key first: people look a key up without its source
) WITH (fillfactor = 85, toast_tuple_target = 8160);
-- Facts stay in the row as they are: compressing them to get below 2 kB was a quarter of the cost of a first load.
ALTER TABLE mls_properties ALTER COLUMN payload SET STORAGE EXTERNAL;  -- compressed already
CREATE INDEX mls_properties_listing_id ON mls_properties (listing_id);
CREATE INDEX mls_properties_postal_code ON mls_properties (postal_code, property_id);
CREATE INDEX mls_properties_city ON mls_properties (city, property_id);
CREATE INDEX mls_properties_standard_status ON mls_properties (standard_status, property_id);

-- Which listings a location has shown. last_shown_at is null while the location's newest pass showed the listing,
-- so that a listing seen again and again costs no write.
CREATE TABLE location_listings (
    location_id   int NOT NULL REFERENCES locations,
    property_id   text COLLATE "C" NOT NULL,
    last_shown_at timestamptz,
    PRIMARY KEY (location_id, property_id)
);
CREATE INDEX location_listings_by_property ON location_listings (property_id);

-- HistoryTransactional by RESO's names: one row a changed field; a new listing is one row without a field.
CREATE TABLE property_changes (
    change_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    property_id    text COLLATE "C" NOT NULL,
    run_id         bigint NOT NULL,
    at             timestamptz NOT NULL DEFAULT now(),
    type           text NOT NULL CHECK (type IN
                   ('new', 'price', 'status', 'back_on_market', 'relisted', 'renormalised', 'other')),
    field_name     text COLLATE "C",
    previous_value jsonb,
    new_value      jsonb,
    CHECK ((type = 'new') = (field_name IS NULL))
);
CREATE INDEX property_changes_by_property ON property_changes (property_id, change_id);

-- The CRM's records. Ownership is by column: sync writes fields, synced_hash and synced_at, and nothing else here.
CREATE TABLE crm_properties (
    id               text COLLATE "C" PRIMARY KEY CHECK (id <> ''),
    platform         text COLLATE "C" NOT NULL DEFAULT 'default' CHECK (platform <> ''),
    crm_status       text,
    notes            text,
    tags             text[] NOT NULL DEFAULT '{}',
    assigned_agent   text,
    custom           jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(custom) = 'object'),
    own              jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(own) = 'object'),
    fields           jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(fields) = 'object'),
    overrides        jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(overrides) = 'object'),
    override_details jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(override_details) = 'object'),
    mls_property_id  text COLLATE "C" REFERENCES mls_properties (property_id),
    synced_hash      bytea,                -- content_hash of the listing when fields was last written
    synced_at        timestamptz,
    version          int NOT NULL DEFAULT 1,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
CREATE INDEX crm_properties_by_listing ON crm_properties (mls_property_id) WHERE mls_property_id IS NOT NULL;

-- When which link held. The link itself is crm_properties.mls_property_id, and only that.
CREATE TABLE property_links (
    link_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    crm_id       text COLLATE "C" NOT NULL,
    property_id  text COLLATE "C" NOT NULL,
    linked_at    timestamptz NOT NULL DEFAULT now(),
    unlinked_at  timestamptz
);
CREATE UNIQUE INDEX property_links_one_at_a_time ON property_links (crm_id) WHERE unlinked_at IS NULL;
CREATE INDEX property_links_by_property ON property_links (property_id);

-- Records that could not be read. One row for what says the same from the same place, however often it comes; closed by
-- a retry, or by a later record of the same listing that could be read.
CREATE TABLE quarantined_records (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    location_id   int NOT NULL REFERENCES locations,
    digest        bytea NOT NULL,       -- of what it says without its volatile members; of its bytes where they say nothing
    source_key    text COLLATE "C",     -- of the listing, where that much could be read
    run_id        bigint NOT NULL,
    origin        text NOT NULL,        -- the file, or what else the delivery calls itself
    position      bigint NOT NULL,      -- line, or place in the array, in that delivery
    reason        text COLLATE "C" NOT NULL,
    detail        text NOT NULL,
    field_name    text COLLATE "C",
    payload       bytea NOT NULL,       -- zstd; at most the first megabyte
    truncated     boolean NOT NULL DEFAULT false,
    is_record     boolean NOT NULL DEFAULT true,   -- false: a piece of a file that never was a record
    tried_by      bigint,               -- the last retry that had to put it back
    times         int NOT NULL DEFAULT 1,
    first_at      timestamptz NOT NULL DEFAULT now(),
    last_at       timestamptz NOT NULL DEFAULT now(),
    resolved_at   timestamptz
);
CREATE UNIQUE INDEX quarantined_records_open ON quarantined_records (location_id, digest) WHERE resolved_at IS NULL;
CREATE INDEX quarantined_records_by_key ON quarantined_records (source_key);

-- What the outside is told, in commit order: seq is taken under the event lock, last in its transaction.
-- Field names, never values.
CREATE TABLE events (
    seq             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at              timestamptz NOT NULL DEFAULT clock_timestamp(),
    type            text COLLATE "C" NOT NULL,
    property_id     text COLLATE "C",
    crm_property_id text COLLATE "C",
    platform        text COLLATE "C",
    run_id          bigint,
    field_names     text[] NOT NULL DEFAULT '{}',
    change_types    text[] NOT NULL DEFAULT '{}'
);

-- The names of the members that differ, sorted.
CREATE FUNCTION changed_members(before jsonb, after jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(key ORDER BY key COLLATE "C"), '{}')
    FROM jsonb_each(before) AS b FULL JOIN jsonb_each(after) AS a USING (key)
    WHERE b.value IS DISTINCT FROM a.value
$$;

-- The overrides that hold now: an expired one is as if it were not there.
CREATE FUNCTION active_overrides(overrides jsonb, details jsonb) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(jsonb_object_agg(o.key, o.value), '{}')
    FROM jsonb_each(overrides) AS o
    WHERE coalesce((details -> o.key ->> 'expires_at')::timestamptz > now(), true)
$$;

-- An override is in conflict when the MLS value under it is another one than when it was made.
CREATE FUNCTION has_conflict(active jsonb, details jsonb, fields jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT EXISTS (
        SELECT FROM jsonb_object_keys(active) AS k (name)
        WHERE details -> k.name ? 'mls_value'
          AND details -> k.name -> 'mls_value' IS DISTINCT FROM coalesce(fields -> k.name, 'null')
    )
$$;

-- sync_status, computed when read: the first that holds.
CREATE FUNCTION sync_status(c crm_properties, p mls_properties, seen_at timestamptz, stale_after interval) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN c.mls_property_id IS NULL THEN 'not_linked'
        WHEN p.absence_state = 'absent' OR p.purged_at IS NOT NULL THEN 'gone'
        WHEN c.overrides = '{}' THEN CASE WHEN seen_at < now() - stale_after THEN 'stale' ELSE 'synced' END
        WHEN has_conflict(active_overrides(c.overrides, c.override_details), c.override_details, c.fields) THEN 'conflict'
        WHEN active_overrides(c.overrides, c.override_details) <> '{}' THEN 'overridden'
        WHEN seen_at < now() - stale_after THEN 'stale'
        ELSE 'synced'
    END
$$;
