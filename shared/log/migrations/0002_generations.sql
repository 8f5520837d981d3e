-- Complete copies of the read models, by projection; a number is never used again.
CREATE TABLE generations (
    projection text NOT NULL,
    number integer NOT NULL CHECK (number >= 1),
    definition_version integer NOT NULL,
    partitions integer NOT NULL CHECK (partitions >= 1),
    state text NOT NULL CHECK (state IN ('building', 'following', 'active', 'retired', 'purged')),
    -- Why it was made: 'first start', 'lost' or 'replay'.
    reason text NOT NULL,
    -- Whether it becomes active by itself once it has caught up.
    switch_when_ready boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    activated_at timestamptz,
    retired_at timestamptz,
    purged_at timestamptz,
    PRIMARY KEY (projection, number)
);
CREATE UNIQUE INDEX generations_one_active_idx ON generations (projection) WHERE state = 'active';

-- A generation is built in shares of its partitions, each by one builder at a time: whoever holds the build token.
CREATE TABLE builds (
    projection text NOT NULL,
    number integer NOT NULL,
    share integer NOT NULL,
    partitions integer[] NOT NULL,
    build_token uuid,
    attempts integer NOT NULL DEFAULT 0,
    folded_events bigint NOT NULL DEFAULT 0,
    target_position bigint NOT NULL DEFAULT 0,
    built_at timestamptz,
    PRIMARY KEY (projection, number, share),
    FOREIGN KEY (projection, number) REFERENCES generations
);
