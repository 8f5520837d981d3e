-- The first answers to commands that came with an Idempotency-Key, written in the append's own transaction.
-- A key is kept as a keyed hash, as is the request: neither may hold a word of what a client sent.
CREATE TABLE idempotency_keys (
    principal uuid NOT NULL,
    key_id uuid NOT NULL,
    request_hmac bytea NOT NULL,
    status text NOT NULL,
    subject uuid NOT NULL,
    position bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (principal, key_id)
);
CREATE INDEX idempotency_keys_recorded_at_idx ON idempotency_keys (recorded_at);

-- `append.sql` takes more arguments from here on; with the older function beside it, a call would be ambiguous.
DROP FUNCTION IF EXISTS append_events(
    uuid[], bigint[], text[], bytea[], uuid[], bigint[], uuid[], bytea[], uuid[]
);
