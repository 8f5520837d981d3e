-- A deleted key stays in its page until the table is vacuumed: after each erasure, not after a share of the table.
ALTER TABLE subject_keys SET (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0);
