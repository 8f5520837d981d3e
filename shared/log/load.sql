-- What a batch of commands needs to be decided, in one round trip: the last event of some streams, whole
-- other streams, and as rows with an empty topic what is no event, told apart by the version: 0 a subject's
-- key, -1 a session that has not ended, -2 the answer to an Idempotency-Key.
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
UNION ALL
SELECT s.session_id, -1, 0, '', ''::bytea
FROM unnest(%(sessions)s::uuid[]) AS wanted (session_id)
JOIN sessions s ON s.session_id = wanted.session_id
UNION ALL
SELECT a.key_id, -2, a.position, '',
    a.request_hmac || uuid_send(a.principal) || uuid_send(a.subject) || convert_to(a.status, 'UTF8')
FROM unnest(%(principals)s::uuid[], %(key_ids)s::uuid[]) AS wanted (principal, key_id)
JOIN idempotency_keys a ON a.principal = wanted.principal AND a.key_id = wanted.key_id
