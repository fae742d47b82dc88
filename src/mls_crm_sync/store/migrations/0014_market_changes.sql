-- The newest changes of the market, of all listings: what people look at first. New listings are not among them.
CREATE INDEX property_changes_of_the_market ON property_changes (change_id) WHERE type NOT IN ('new', 'renormalised');
