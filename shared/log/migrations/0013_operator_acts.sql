-- What operators did: appended before each act and closed after it, never changed or deleted after that.
CREATE TABLE operator_acts (
    act_id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The id of a user or a service key, or the name of the operating system's user.
    actor text NOT NULL,
    via text NOT NULL CHECK (via IN ('cli', 'web', 'key')),
    act text NOT NULL,
    parameters jsonb NOT NULL,
    request_id uuid,
    -- A keyed hash of the actor and the Idempotency-Key, for repeats of the same request.
    repeat_key uuid UNIQUE,
    closed_at timestamptz,
    outcome text CHECK (outcome IN ('done', 'failed')),
    result jsonb,
    CHECK ((closed_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX operator_acts_at ON operator_acts (at, act_id);

CREATE FUNCTION keep_operator_act() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.closed_at IS NULL AND NEW.closed_at IS NOT NULL
        AND (NEW.act_id, NEW.at, NEW.actor, NEW.via, NEW.act, NEW.parameters, NEW.request_id, NEW.repeat_key)
            IS NOT DISTINCT FROM
            (OLD.act_id, OLD.at, OLD.actor, OLD.via, OLD.act, OLD.parameters, OLD.request_id, OLD.repeat_key)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a row of operator_acts is closed once, and neither changed nor deleted'
        USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;
CREATE TRIGGER keep_rows BEFORE UPDATE OR DELETE ON operator_acts
    FOR EACH ROW EXECUTE FUNCTION keep_operator_act();
CREATE TRIGGER keep_all_rows BEFORE TRUNCATE ON operator_acts
    FOR EACH STATEMENT EXECUTE FUNCTION keep_operator_act();
