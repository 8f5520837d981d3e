-- Members' imports of ratings from elsewhere. The key of the user goes with an erasure, and the imports with the key;
-- what they hold is sealed with it, so that no copy of the table outlives the erasure either.
CREATE TABLE imports (
    import_id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES subject_keys ON DELETE CASCADE,
    -- A keyed hash of the file, which finds the repeat of an upload.
    file_hmac bytea NOT NULL,
    -- Null: to be found from the file.
    format text,
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'reading', 'writing', 'finished', 'failed')),
    -- Null, or the time when the process that works on it counts as dead.
    leased_until timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    -- The parts with ratings to write, and how many of them are written.
    parts integer NOT NULL DEFAULT 0,
    parts_written integer NOT NULL DEFAULT 0,
    -- Rows of the file by outcome.
    counts jsonb NOT NULL DEFAULT '{}',
    failure text,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX imports_user_id_idx ON imports (user_id, created_at);
-- A member has one import in progress.
CREATE UNIQUE INDEX imports_in_progress_idx ON imports (user_id) WHERE state IN ('queued', 'reading', 'writing');
CREATE INDEX imports_turn_idx ON imports (changed_at) WHERE state IN ('queued', 'reading', 'writing');
CREATE INDEX imports_changed_at_idx ON imports (changed_at);

CREATE TABLE import_parts (
    import_id uuid NOT NULL REFERENCES imports ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('file', 'ratings', 'unmatched', 'report', 'written')),
    number integer NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (import_id, kind, number)
);
