-- Log-ins that may be refreshed. A refresh token names its session and its rotation and is authenticated by a
-- secret of the settings, so that nothing here lets anybody in.
CREATE TABLE sessions (
    session_id uuid PRIMARY KEY,
    -- A user's id, or a service key's.
    subject_id uuid NOT NULL,
    service boolean NOT NULL,
    -- Of the one refresh token that is good; any older one was used already.
    rotation integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    refreshed_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_subject_idx ON sessions (subject_id);
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

ALTER TABLE service_keys ADD COLUMN last_used_at timestamptz;

-- Who and what there is, for exports, the erasure ledger and lists of users; ratings are not in it.
CREATE INDEX events_subjects_idx ON events (topic, notification_id)
    WHERE topic IN ('MovieCreated', 'UserCreated', 'UserErased');
