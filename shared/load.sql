-- What a batch of commands needs to be decided, in one round trip: the last event of some streams, whole
-- other streams, and subjects' keys (as rows with an empty topic).
SELECT e.originator_id, e.originator_version, e.notification_id, e.topic, e.state
FROM unnest(%(latest)s::uuid[]) AS wanted (stream_id)
CROSS JOIN LATERAL (
    SELECT * FROM events
    WHERE originator_id = wanted.stream_id
    ORDER BY originator_version DESC LIMIT 1
) e
UNION ALL
SELECT e.originator_id, e.originator_version, e.notification_id, e.topic, e.state
FROM unnest(%(whole)s::uuid[]) AS wanted (stream_id)
JOIN events e ON e.originator_id = wanted.stream_id
UNION ALL
SELECT k.user_id, 0, 0, '', k.wrapped
FROM unnest(%(subjects)s::uuid[]) AS wanted (user_id)
JOIN subject_keys k ON k.user_id = wanted.user_id
