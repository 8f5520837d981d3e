-- Appends events in order, or refuses them all.
--
-- Why a lock: a reader that tails the log asks for positions above the last one that it saw. Positions come
-- from a sequence at insert time, but become visible at commit time: with two writers, position 8 can become
-- visible before position 7, and a reader that saw 8 never asks for 7 again. Every append therefore first takes
-- one advisory lock, which it holds until its commit is visible, so that positions become visible in order.
-- An advisory lock, unlike a table lock, blocks neither autovacuum nor readers.
--
-- Why one VOLATILE function, called alone in READ COMMITTED: each statement in it takes a new snapshot, so
-- the statements after the lock see all that was committed while the function waited. In a stricter isolation
-- level the snapshot would be older than the wait, and the guards would be compared with the past: the function
-- refuses it below. It also refuses a sequence that hands out cached ranges, since those would make positions
-- visible out of order again.
--
-- Guards are the versions on which the caller decided, of streams that it wrote and of streams that it only
-- read. The function checks them under the lock; if one has changed, it writes nothing and `refused_by` names
-- its stream.
--
-- Answers are kept for retries of the same requests. They are stored with the events or not at all, and an
-- existing one refuses the append like a guard: `refused_by` is then its key. An answer's position is the
-- position of the event at its place in this append, 0 first, or the given one if its place is null.
CREATE OR REPLACE FUNCTION append_events(
    stream_ids uuid[],
    versions bigint[],
    topics text[],
    states bytea[],
    guard_ids uuid[] DEFAULT '{}',
    guard_versions bigint[] DEFAULT '{}',
    new_key_owners uuid[] DEFAULT '{}',
    new_keys bytea[] DEFAULT '{}',
    erased_users uuid[] DEFAULT '{}',
    new_password_users uuid[] DEFAULT '{}',
    kept_sessions uuid[] DEFAULT '{}',
    answer_principals uuid[] DEFAULT '{}',
    answer_key_ids uuid[] DEFAULT '{}',
    answer_hmacs bytea[] DEFAULT '{}',
    answer_statuses text[] DEFAULT '{}',
    answer_subjects uuid[] DEFAULT '{}',
    answer_places bigint[] DEFAULT '{}',
    answer_positions bigint[] DEFAULT '{}',
    ended_sessions uuid[] DEFAULT '{}',
    OUT first_position bigint,
    OUT last_position bigint,
    OUT refused_by uuid
)
LANGUAGE plpgsql
VOLATILE
SET search_path FROM CURRENT
-- A plan made while the table was small would scan it forever.
SET enable_seqscan = off
AS $$
DECLARE
    appended bigint := cardinality(stream_ids);
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'append_events needs READ COMMITTED, and was called in %',
            upper(current_setting('transaction_isolation')) USING ERRCODE = 'invalid_transaction_state';
    END IF;
    PERFORM hold_append_lock();

    IF (SELECT seqcache FROM pg_sequence WHERE seqrelid = 'events_position_seq'::regclass) <> 1 THEN
        RAISE EXCEPTION 'the sequence events_position_seq must have CACHE 1: positions would become visible out of order'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;

    SELECT guard.stream_id INTO refused_by
    FROM unnest(guard_ids, guard_versions) AS guard (stream_id, version)
    WHERE guard.version <> coalesce((
        SELECT e.originator_version FROM events e
        WHERE e.originator_id = guard.stream_id
        ORDER BY e.originator_version DESC LIMIT 1
    ), 0)
    LIMIT 1;
    IF refused_by IS NOT NULL THEN
        RETURN;
    END IF;

    IF cardinality(answer_key_ids) > 0 THEN
        SELECT kept.key_id INTO refused_by
        FROM unnest(answer_principals, answer_key_ids) AS answer (principal, key_id)
        JOIN idempotency_keys kept ON kept.principal = answer.principal AND kept.key_id = answer.key_id
        LIMIT 1;
        IF refused_by IS NOT NULL THEN
            RETURN;
        END IF;
    END IF;

    WITH inserted AS (
        INSERT INTO events (originator_id, originator_version, topic, state)
        SELECT n.stream_id, n.version, n.topic, n.state
        FROM unnest(stream_ids, versions, topics, states)
            WITH ORDINALITY AS n (stream_id, version, topic, state, place)
        ORDER BY n.place
        RETURNING notification_id
    )
    SELECT min(notification_id), max(notification_id) INTO first_position, last_position FROM inserted;
    IF last_position - first_position + 1 <> appended THEN
        RAISE EXCEPTION 'positions % to % for % events: something else draws from events_position_seq',
            first_position, last_position, appended USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;

    IF cardinality(new_key_owners) > 0 THEN
        INSERT INTO subject_keys (user_id, wrapped)
        SELECT k.user_id, k.wrapped FROM unnest(new_key_owners, new_keys) AS k (user_id, wrapped);
    END IF;
    IF cardinality(erased_users) > 0 THEN
        DELETE FROM subject_keys WHERE user_id = ANY (erased_users);
        DELETE FROM sessions WHERE subject_id = ANY (erased_users);
        DELETE FROM idempotency_keys WHERE principal = ANY (erased_users);
        DELETE FROM mails WHERE user_id = ANY (erased_users);
    END IF;
    IF cardinality(new_password_users) > 0 THEN
        DELETE FROM sessions
        WHERE subject_id = ANY (new_password_users) AND session_id <> ALL (kept_sessions);
        -- A token for a reset works once, and not after another change of the password.
        DELETE FROM mails WHERE user_id = ANY (new_password_users) AND purpose = 'reset';
    END IF;
    IF cardinality(ended_sessions) > 0 THEN
        DELETE FROM sessions WHERE session_id = ANY (ended_sessions);
    END IF;
    IF cardinality(answer_key_ids) > 0 THEN
        INSERT INTO idempotency_keys (principal, key_id, request_hmac, status, subject, position)
        SELECT a.principal, a.key_id, a.request_hmac, a.status, a.subject,
            coalesce(first_position + a.place, a.position)
        FROM unnest(
            answer_principals, answer_key_ids, answer_hmacs, answer_statuses, answer_subjects,
            answer_places, answer_positions
        ) AS a (principal, key_id, request_hmac, status, subject, place, position)
        -- A user whom this append erases leaves no answers.
        WHERE a.principal <> ALL (erased_users);
    END IF;

    IF appended > 0 THEN
        PERFORM pg_notify('events', last_position::text);
    END IF;
END
$$;
