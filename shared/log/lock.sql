-- Holds the append lock until the transaction ends: the same lock as append.sql takes, so that load, decide
-- and append can run with nobody appending in between.
CREATE OR REPLACE FUNCTION hold_append_lock() RETURNS void
LANGUAGE sql
VOLATILE
SET search_path FROM CURRENT
AS $$
    SELECT pg_advisory_xact_lock(1397115972, 'events'::regclass::oid::bigint::bit(32)::integer);
$$;
