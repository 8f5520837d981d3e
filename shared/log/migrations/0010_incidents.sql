-- What the projector found damaged or lost and has mended by itself, for operators; kept for a week.
CREATE TABLE incidents (
    incident_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    what text NOT NULL
);
