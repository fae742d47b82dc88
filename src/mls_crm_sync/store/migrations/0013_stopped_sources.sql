-- When a source refused us that is of a kind which is not asked again until a person says so; else null.
ALTER TABLE source_budgets ADD stopped_at timestamptz;
