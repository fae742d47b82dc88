-- What a person did not want of a proposal. The proposals themselves are computed when they are read.
-- One row a CRM property: it is about one finding, and the next finding is proposed again.
CREATE TABLE proposal_dismissals (
    crm_id       text COLLATE "C" PRIMARY KEY REFERENCES crm_properties ON DELETE CASCADE,
    property_id  text COLLATE "C" NOT NULL,
    reason       text NOT NULL CHECK (reason IN ('ended', 'absent')),
    since        timestamptz NOT NULL,        -- of the finding: when the listing ended, or was called absent
    note         text,
    dismissed_by text NOT NULL,
    dismissed_at timestamptz NOT NULL DEFAULT now()
);

-- The properties that are re-read and proposed about. No column of it is written by sync.
CREATE INDEX crm_properties_active ON crm_properties (id) WHERE crm_status = 'active' AND mls_property_id IS NOT NULL;
