-- The projectors that live and share the partitions; each renews its row twice a second. Not logged: a renewal waits
-- for no disk and no standby, and after a crash every projector registers again.
CREATE UNLOGGED TABLE projectors (
    projector_id uuid PRIMARY KEY,
    definitions text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
);
-- The projector that stopped the generation: while it lives, no other clears its reason.
ALTER TABLE generations ADD COLUMN stopped_by uuid;
