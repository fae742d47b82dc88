-- When a listing is gone: what passes prove, what was decided of each listing and why, and what a person holds.

-- Passes: more ways to end, and what their proof says of listings that they did not show.
ALTER TABLE location_passes
    DROP CONSTRAINT location_passes_outcome_check,
    ADD CHECK (outcome IN ('complete', 'unproven', 'partial', 'capped', 'blocked', 'refused', 'rate_limited', 'unavailable',
                           'broken', 'abandoned', 'cancelled')),
    ADD delivery   text COLLATE "C",   -- what the source tells the delivery by: the same again is no second pass
    ADD members    text[],             -- that at least one of its records had; of complete passes
    ADD settled_at timestamptz;        -- when it was decided whom it proved absent; of complete passes
CREATE INDEX location_passes_complete ON location_passes (location_id, pass_id) WHERE outcome = 'complete';
CREATE INDEX location_passes_unsettled ON location_passes (pass_id) WHERE outcome = 'complete' AND settled_at IS NULL;
-- What was read before says nothing of anybody's absence: nobody counted along.
UPDATE location_passes SET settled_at = ended_at WHERE outcome = 'complete';

-- missing_since: the first complete pass, since the listing was last shown here, that did not show it. How many there
-- were since is counted when it is asked for: a listing that stays away costs no write a pass.
ALTER TABLE location_listings
    ADD missing_since bigint,
    ADD left_at       timestamptz,     -- seen by other means than this location since: it says nothing of it any more
    ADD looked_up_at  timestamptz,     -- the source was asked for it, and did not say
    ADD look_up       text;
CREATE INDEX location_listings_missing ON location_listings (location_id, property_id) WHERE missing_since IS NOT NULL;

-- Many listings of a location that would vanish at once, held for a person.
CREATE TABLE absence_holds (
    hold_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    location_id int NOT NULL REFERENCES locations,
    pass_id     bigint NOT NULL,
    listings    int NOT NULL,          -- that would have vanished, when it was last added to
    of          int NOT NULL,          -- that the location had
    made_at     timestamptz NOT NULL DEFAULT now(),
    decision    text CHECK (decision IN ('released', 'rejected', 'returned')),  -- returned: all were seen again
    decided_by  text,
    decided_at  timestamptz,
    CHECK ((decision IS NULL) = (decided_at IS NULL))
);
CREATE UNIQUE INDEX absence_holds_one_open ON absence_holds (location_id) WHERE decision IS NULL;

-- Why a listing is absent, or held: a row for each that is, and for no other. mls_properties.absence_state says the same
-- in a word.
CREATE TABLE absences (
    property_id text COLLATE "C" PRIMARY KEY REFERENCES mls_properties,
    location_id int NOT NULL,
    hold_id     bigint REFERENCES absence_holds,   -- while it is held, and after a person released it
    evidence    jsonb NOT NULL,
    decided_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX absences_by_hold ON absences (hold_id) WHERE hold_id IS NOT NULL;
CREATE INDEX mls_properties_absence ON mls_properties (absence_state, property_id) WHERE absence_state <> 'listed';

-- Events about a source as a whole: drift, many listings held.
ALTER TABLE events ADD source text COLLATE "C";
