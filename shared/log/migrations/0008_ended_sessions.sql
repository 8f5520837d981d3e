-- `append.sql` takes one more argument from here on; with the older function beside it, a call would be
-- ambiguous. A release before this one calls the new function with one argument less, which it allows.
DROP FUNCTION IF EXISTS append_events(
    uuid[], bigint[], text[], bytea[], uuid[], bigint[], uuid[], bytea[], uuid[],
    uuid[], uuid[], uuid[], uuid[], bytea[], text[], uuid[], bigint[], bigint[]
);
