-- Mails with a link that proves the user's address. Address and token are sealed with the user's key until the
-- mail is sent; afterwards only the token's hash is left. A request for an unknown address writes a row too, with
-- nothing to send, so that it takes the same time.
CREATE TABLE mails (
    mail_id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    purpose text NOT NULL CHECK (purpose IN ('reset', 'verification')),
    token_hash bytea NOT NULL,
    sealed text,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX mails_user_idx ON mails (user_id);
CREATE INDEX mails_expires_at_idx ON mails (expires_at);
CREATE INDEX mails_due_idx ON mails (next_attempt_at) WHERE sealed IS NOT NULL;
