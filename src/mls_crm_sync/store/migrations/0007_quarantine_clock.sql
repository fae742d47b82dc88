-- The ModificationTimestamp of a quarantined record, where one could be read and believed: an older copy of its listing
-- does not close it. Records that were set aside before have none, and are closed by whatever can be read.
ALTER TABLE quarantined_records ADD COLUMN source_modified_at timestamptz;
