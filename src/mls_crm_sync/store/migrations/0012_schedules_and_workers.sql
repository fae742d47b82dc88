-- Schedules, runs over many locations, and the workers that share them. Rewrites crm_properties once: where each is.

-- Recurring definitions. What falls due is accounted for in scraping_jobs, by whoever looks first.
CREATE TABLE scheduled_jobs (
    scheduled_job_id text COLLATE "C" PRIMARY KEY CHECK (scheduled_job_id <> ''),
    kind            text NOT NULL CHECK (kind IN ('active_properties', 'locations')),
    name            text NOT NULL CHECK (name <> ''),
    status          text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'inactive')),
    cron_expression text NOT NULL,
    timezone        text NOT NULL DEFAULT 'UTC',
    listing_limit   int NOT NULL DEFAULT 1000 CHECK (listing_limit BETWEEN 1 AND 10000),  -- of a location, in a run
    request_delay   double precision NOT NULL DEFAULT 2.0 CHECK (request_delay BETWEEN 0 AND 60),  -- seconds
    priority        text NOT NULL DEFAULT 'normal' CHECK (priority IN ('low', 'normal', 'high', 'immediate')),
    filters         jsonb NOT NULL DEFAULT '{}',    -- which CRM properties; of active_properties
    source          text COLLATE "C",               -- null: the listings' own, else the default one
    locations       text[] NOT NULL DEFAULT '{}',   -- of kind locations; none: all that the source lists
    paused_at       timestamptz,
    paused_by       text,
    paused_until    timestamptz,                    -- null while paused: until somebody resumes it
    next_run_at     timestamptz,                    -- the next due time that is not accounted for; null while inactive
    problem         text,                           -- why nothing can be made of its due times
    frequency       text,                           -- what the environment said last, which counts ...
    edited          boolean NOT NULL DEFAULT false, -- ... until a person has edited when it runs
    version         int NOT NULL DEFAULT 1,
    made_at         timestamptz NOT NULL DEFAULT now(),
    changed_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (status = 'active' OR next_run_at IS NULL)
);
CREATE INDEX scheduled_jobs_due ON scheduled_jobs (next_run_at) WHERE status = 'active';

-- Who changed what of a schedule: member -> [before, after].
CREATE TABLE scheduled_job_edits (
    edit_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scheduled_job_id text COLLATE "C" NOT NULL,
    version          int NOT NULL,
    edited_by        text NOT NULL,
    edited_at        timestamptz NOT NULL DEFAULT now(),
    changes          jsonb NOT NULL
);
CREATE INDEX scheduled_job_edits_by_job ON scheduled_job_edits (scheduled_job_id, edit_id);

-- A process that reads locations. Its lease on what it reads is its own heartbeat.
CREATE TABLE workers (
    worker_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host       text NOT NULL,
    pid        int NOT NULL,
    release    text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Runs: of a schedule, over many locations, and due times of which nothing was made (skipped, missed; consecutive ones
-- share a row, scheduled_for to last_due_at).
ALTER TABLE scraping_jobs
    DROP CONSTRAINT scraping_jobs_status_check,
    DROP CONSTRAINT scraping_jobs_check,
    ALTER source DROP NOT NULL,                     -- null: of several
    ALTER started_at DROP NOT NULL,
    ADD made_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD by_workers       boolean NOT NULL DEFAULT false,  -- else one process holds it by its life lock
    ADD scheduled_job_id text COLLATE "C",
    ADD scheduled_for    timestamptz,
    ADD last_due_at      timestamptz,
    ADD due_times        int NOT NULL DEFAULT 1,
    ADD reason           text,                      -- of what was skipped or missed
    ADD actor            text,                      -- who asked for it, or cancelled it
    ADD last_change      bigint,                    -- no change of this run has a greater change_id; when it has ended
    ADD attempt_of       bigint,                    -- the run whose failed locations it reads again
    ADD config           jsonb,                     -- the settings it was made with
    ADD left_out         jsonb,                     -- CRM properties that have no location or no source: how many, some ids
    ADD CONSTRAINT scraping_jobs_status_check CHECK (status IN (
        'queued', 'running', 'succeeded', 'partial', 'failed', 'cancelled', 'skipped', 'missed')),
    ADD CONSTRAINT scraping_jobs_ended CHECK ((status IN ('queued', 'running')) = (finished_at IS NULL)),
    ADD CONSTRAINT scraping_jobs_due_once UNIQUE (scheduled_job_id, scheduled_for);
UPDATE scraping_jobs SET made_at = started_at;
CREATE UNIQUE INDEX scraping_jobs_one_at_a_time ON scraping_jobs (scheduled_job_id)
    WHERE status IN ('queued', 'running');
CREATE INDEX scraping_jobs_of_schedule ON scraping_jobs (scheduled_job_id, run_id) WHERE scheduled_job_id IS NOT NULL;
DROP INDEX scraping_jobs_running;
CREATE INDEX scraping_jobs_open ON scraping_jobs (run_id) WHERE status IN ('queued', 'running');

-- Locations of a run: what workers take from.
ALTER TABLE scraping_job_locations
    DROP CONSTRAINT scraping_job_locations_status_check,
    ADD CONSTRAINT scraping_job_locations_status_check CHECK (status IN (
        'queued', 'running', 'succeeded', 'partial', 'failed', 'cancelled')),
    ADD task         text NOT NULL DEFAULT 'read' CHECK (task IN ('read', 'look_up')),
    ADD rank         smallint NOT NULL DEFAULT 0,   -- the greater, the sooner
    ADD worker_id    bigint,                        -- who has it; null: the process that holds the run
    ADD starts       smallint NOT NULL DEFAULT 0,
    ADD started_at   timestamptz,
    ADD finished_at  timestamptz,
    ADD outcome      text,                          -- of its pass, or same_delivery
    ADD evidence     text,
    ADD error_code   text,
    ADD error_detail text,
    ADD error_hint   text;
CREATE INDEX scraping_job_locations_queued ON scraping_job_locations (rank DESC, run_id, location_id)
    WHERE status = 'queued';
CREATE INDEX scraping_job_locations_taken ON scraping_job_locations (worker_id)
    WHERE status = 'running' AND worker_id IS NOT NULL;

-- What a source is asked for to read where a property is: its ZIP (of a ZIP+4 the ZIP), another postal code as it is,
-- or city and state. Null: nobody knows.
CREATE FUNCTION place_name(postal_code text, city text, state text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN postal_code ~ '^[0-9]{5}(-?[0-9]{4})?$' THEN left(postal_code, 5)
        WHEN postal_code <> '' THEN upper(postal_code)
        WHEN city <> '' AND state <> '' THEN
            CASE WHEN city IN (upper(city), lower(city)) THEN initcap(city) ELSE city END || ', '
            || CASE WHEN length(state) = 2 THEN upper(state) ELSE state END
    END
$$;

-- Null also where an override of it expires some day: those few are worked out when they are asked for.
ALTER TABLE crm_properties
    ADD mls_source text COLLATE "C" NOT NULL DEFAULT '',   -- of the linked listing, which never gets another; '' without
    ADD place      text COLLATE "C" GENERATED ALWAYS AS (
        CASE WHEN override_details -> 'PostalCode' ? 'expires_at' OR override_details -> 'City' ? 'expires_at'
               OR override_details -> 'StateOrProvince' ? 'expires_at' THEN NULL
        ELSE place_name(
            coalesce(overrides ->> 'PostalCode', fields ->> 'PostalCode', own ->> 'PostalCode'),
            coalesce(overrides ->> 'City', fields ->> 'City', own ->> 'City'),
            coalesce(overrides ->> 'StateOrProvince', fields ->> 'StateOrProvince', own ->> 'StateOrProvince')
        ) END
    ) STORED;
UPDATE crm_properties AS c SET mls_source = p.source FROM mls_properties AS p WHERE p.property_id = c.mls_property_id;

-- Set where the link is set, so that no statement can forget it.
CREATE FUNCTION take_mls_source() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.mls_source := coalesce((SELECT source FROM mls_properties WHERE property_id = NEW.mls_property_id), '');
    RETURN NEW;
END $$;
CREATE TRIGGER crm_properties_mls_source BEFORE INSERT OR UPDATE OF mls_property_id ON crm_properties
    FOR EACH ROW WHEN (NEW.mls_property_id IS NOT NULL OR NEW.mls_source <> '') EXECUTE FUNCTION take_mls_source();

CREATE INDEX crm_properties_places ON crm_properties (mls_source, place) WHERE crm_status = 'active' AND place IS NOT NULL;
CREATE INDEX crm_properties_placeless ON crm_properties (id) WHERE crm_status = 'active' AND place IS NULL;
