-- How far each read model was behind the log, as consoles measured it: two rings of intervals for each projection,
-- whose rows are written over. Deleting it loses a day of charts.
CREATE TABLE projection_lag (
    projection text NOT NULL,
    -- The length of the intervals in the ring, and the interval's place in it.
    every_s integer NOT NULL,
    slot integer NOT NULL,
    -- The interval's start; the lag is the highest one that was measured in it.
    at timestamptz NOT NULL,
    lag_events bigint NOT NULL,
    lag_s double precision NOT NULL,
    PRIMARY KEY (projection, every_s, slot)
) WITH (fillfactor = 50);
