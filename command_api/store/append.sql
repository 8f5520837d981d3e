-- Calls `append_events`, a function of the schema that `shared/log/append.sql` documents.
SELECT first_position, refused_by FROM append_events(
    stream_ids => %(stream_ids)s::uuid[],
    versions => %(versions)s::bigint[],
    topics => %(topics)s::text[],
    states => %(states)s::bytea[],
    guard_ids => %(guard_ids)s::uuid[],
    guard_versions => %(guard_versions)s::bigint[],
    new_key_owners => %(new_key_owners)s::uuid[],
    new_keys => %(new_keys)s::bytea[],
    erased_users => %(erased_users)s::uuid[],
    new_password_users => %(new_password_users)s::uuid[],
    kept_sessions => %(kept_sessions)s::uuid[],
    ended_sessions => %(ended_sessions)s::uuid[],
    answer_principals => %(answer_principals)s::uuid[],
    answer_key_ids => %(answer_key_ids)s::uuid[],
    answer_hmacs => %(answer_hmacs)s::bytea[],
    answer_statuses => %(answer_statuses)s::text[],
    answer_subjects => %(answer_subjects)s::uuid[],
    answer_places => %(answer_places)s::bigint[],
    answer_positions => %(answer_positions)s::bigint[]
)
