-- A replayed generation has to pass an audit before it becomes active: 'none' asks for none, as for the first one.
ALTER TABLE generations
    ADD COLUMN audit text NOT NULL DEFAULT 'none' CHECK (audit IN ('none', 'wanted', 'passed', 'failed'));
-- Why the projector does not follow it, null while it does.
ALTER TABLE generations ADD COLUMN stopped text;
