-- Rights of the services' roles, applied after every migration. No role may change or delete an event.
GRANT USAGE ON SCHEMA {schema} TO {command}, {projector};

GRANT SELECT, INSERT ON events TO {command};
GRANT USAGE ON SEQUENCE events_position_seq TO {command};
GRANT SELECT, INSERT, DELETE ON subject_keys TO {command};
-- The command API makes and revokes keys for operators; nobody deletes one, or changes its scopes.
GRANT SELECT, INSERT (key_id, name, secret_hash, scopes), UPDATE (last_used_at, revoked_at)
    ON service_keys TO {command};
GRANT SELECT, INSERT, DELETE ON idempotency_keys TO {command};
GRANT SELECT, INSERT, UPDATE, DELETE ON sessions TO {command};
GRANT SELECT, INSERT, DELETE ON mails TO {command};
GRANT SELECT, INSERT, UPDATE, DELETE ON imports, import_parts TO {command};

GRANT SELECT ON events, subject_keys TO {projector};
GRANT SELECT, UPDATE (sealed, attempts, next_attempt_at) ON mails TO {projector};
GRANT SELECT, INSERT, UPDATE ON generations, builds TO {projector};
GRANT SELECT ON log_identity TO {command}, {projector};
GRANT SELECT, INSERT, DELETE ON incidents TO {projector};
GRANT SELECT, INSERT, UPDATE, DELETE ON projectors TO {projector};
GRANT SELECT, INSERT, TRUNCATE ON event_index TO {projector};
GRANT SELECT, INSERT, UPDATE, DELETE ON event_index_checkpoint TO {projector};
-- The worker reads members' files: it may say what is in them, and not write a rating.
GRANT SELECT, UPDATE (format, state, leased_until, attempts, parts, counts, failure, changed_at)
    ON imports TO {projector};
GRANT SELECT, INSERT, DELETE ON import_parts TO {projector};
-- The console has the worker's role: it looks its callers up as the command API does.
GRANT SELECT, UPDATE (last_used_at) ON service_keys TO {projector};
GRANT SELECT ON sessions, idempotency_keys TO {projector};
-- Acts are appended and closed, never changed: the table's triggers see to that.
GRANT SELECT, INSERT (act_id, actor, via, act, parameters, request_id, repeat_key),
    UPDATE (closed_at, outcome, result) ON operator_acts TO {projector};
-- The console measures how far the read models are behind.
GRANT SELECT, INSERT, UPDATE ON projection_lag TO {projector};
