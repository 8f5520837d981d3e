-- API keys of services; only a hash of the secret is kept.
CREATE TABLE service_keys (
    key_id uuid PRIMARY KEY,
    name text NOT NULL,
    secret_hash bytea NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
