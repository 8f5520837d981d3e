-- Holds the append lock until the transaction ends. `append_events` calls it, and so does a transaction that
-- loads, decides and appends without any append in between.
CREATE OR REPLACE FUNCTION hold_append_lock() RETURNS void
LANGUAGE sql
VOLATILE
SET search_path FROM CURRENT
AS $$
    -- 'SFLD' in ASCII and the table's id, so that two schemas in one database do not wait for each other.
    SELECT pg_advisory_xact_lock(1397115972, 'events'::regclass::oid::bigint::bit(32)::integer);
$$;
