-- Complete copies of the read models, by projection; a number is never used again.
CREATE TABLE generations (
    projection text NOT NULL,
    number integer NOT NULL CHECK (number >= 1),
    definition_version integer NOT NULL,
    state text NOT NULL CHECK (state IN ('building', 'following', 'active', 'retired', 'purged')),
    build_token uuid NOT NULL,
    partitions integer NOT NULL,
    folded_events bigint NOT NULL DEFAULT 0,
    target_position bigint NOT NULL DEFAULT 0,
    reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    activated_at timestamptz,
    retired_at timestamptz,
    purged_at timestamptz,
    PRIMARY KEY (projection, number)
);
CREATE UNIQUE INDEX generations_one_active_idx ON generations (projection) WHERE state = 'active';
