-- The optional index of the events by what the log has no index of; folded from the log, ids only, and empty
-- unless a projector keeps it up. Deleting it loses nothing.
CREATE TABLE event_index (
    position bigint PRIMARY KEY,
    -- Null, as are the ids below, for an event that this release cannot read.
    recorded_at timestamptz,
    topic text NOT NULL,
    stream uuid NOT NULL,
    actor uuid,
    correlation uuid,
    causation uuid,
    user_id uuid,
    movie_id uuid
);
CREATE INDEX event_index_recorded_at_idx ON event_index (recorded_at, position);
CREATE INDEX event_index_topic_idx ON event_index (topic, position);
CREATE INDEX event_index_actor_idx ON event_index (actor, position) WHERE actor IS NOT NULL;
CREATE INDEX event_index_correlation_idx ON event_index (correlation, position) WHERE correlation IS NOT NULL;
CREATE INDEX event_index_user_id_idx ON event_index (user_id, position) WHERE user_id IS NOT NULL;
CREATE INDEX event_index_movie_id_idx ON event_index (movie_id, position) WHERE movie_id IS NOT NULL;

-- The last event in the index; no row without an index.
CREATE TABLE event_index_checkpoint (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position bigint NOT NULL
);
