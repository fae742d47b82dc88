-- A long delivery reads the states of its location side by side instead of one by one. No listing ever moves to another
-- first location, so the index costs no update anything. A million listings take some seconds and 7 MB.
CREATE INDEX mls_state_by_location ON mls_state (location_id);
