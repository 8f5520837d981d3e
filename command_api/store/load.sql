-- Loads everything on which a batch of commands is decided, in one round trip. A row's `kind` is an event,
-- a subject's wrapped key, a session that has not ended, or a kept answer.
SELECT 'event' AS kind, e.originator_id AS id, e.originator_version AS version,
    e.notification_id AS position, e.topic, e.state AS content,
    NULL::uuid AS principal, NULL::uuid AS subject, NULL::text AS status
FROM unnest(%(latest)s::uuid[]) AS wanted (stream_id)
CROSS JOIN LATERAL (
    SELECT * FROM events
    WHERE originator_id = wanted.stream_id
    ORDER BY originator_version DESC LIMIT 1
) e
UNION ALL
SELECT 'event', e.originator_id, e.originator_version, e.notification_id, e.topic, e.state,
    NULL, NULL, NULL
FROM unnest(%(whole)s::uuid[]) AS wanted (stream_id)
JOIN events e ON e.originator_id = wanted.stream_id
UNION ALL
SELECT 'key', k.user_id, NULL, NULL, NULL, k.wrapped, NULL, NULL, NULL
FROM unnest(%(subjects)s::uuid[]) AS wanted (user_id)
JOIN subject_keys k ON k.user_id = wanted.user_id
UNION ALL
SELECT 'session', s.session_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM unnest(%(sessions)s::uuid[]) AS wanted (session_id)
JOIN sessions s ON s.session_id = wanted.session_id
UNION ALL
SELECT 'answer', a.key_id, NULL, a.position, NULL, a.request_hmac, a.principal, a.subject, a.status
FROM unnest(%(principals)s::uuid[], %(key_ids)s::uuid[]) AS wanted (principal, key_id)
JOIN idempotency_keys a ON a.principal = wanted.principal AND a.key_id = wanted.key_id
