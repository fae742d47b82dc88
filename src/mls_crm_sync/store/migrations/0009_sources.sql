-- Where listings come from, as somebody set it up. What a source has delivered refers to it by its name, and stays when
-- the source is taken away.
CREATE TABLE sources (
    name          text COLLATE "C" PRIMARY KEY,
    kind          text NOT NULL,
    settings      jsonb NOT NULL,
    sealed_secret bytea,                          -- by a key that the database does not have
    is_default    boolean NOT NULL DEFAULT false,
    made_at       timestamptz NOT NULL DEFAULT now(),
    changed_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX sources_one_default ON sources (is_default) WHERE is_default;
