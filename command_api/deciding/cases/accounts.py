"""Accounts and sessions: what their commands record."""

from __future__ import annotations

from command_api.deciding import reservation, session, user
from command_api.deciding.cases.decision import Decision, Status
from command_api.deciding.session import EndSession
from command_api.deciding.streams import Streams
from command_api.deciding.user import (
    ChangePassword,
    ChangeProfile,
    ChangeUser,
    CreateExternalUser,
    EraseUser,
    SignUp,
    VerifyEmail,
)
from shared.ids import StreamId, UserId
from shared.log.events import ExternalIdReserved


def sign_up(command: SignUp, streams: Streams) -> Decision:
    stream_id = StreamId(command.user_id)
    reserved = reservation.reserve_email(streams.reservation(command.email_stream), command.user_id)
    created = user.decide(command, streams.user(command.user_id))
    for reserving in reserved:
        streams.record(command.email_stream, reserving)
    for creating in created:
        streams.record(stream_id, creating)
        streams.effects.new_subjects.append(command.user_id)
    return Decision("created" if created else "unchanged", command.user_id, stream_id)


def change_user(command: ChangeUser, streams: Streams) -> Decision:
    stream_id = StreamId(command.user_id)
    events = user.decide(command, streams.account(command.user_id))
    for event in events:
        streams.record(stream_id, event)
    if events and isinstance(command, ChangePassword) and command.ends_sessions:
        streams.effects.new_passwords[command.user_id] = command.kept_session
    status: Status = "changed" if events else "unchanged"
    version = None
    if isinstance(command, ChangeProfile):
        version = streams.account(command.user_id).version
    return Decision(status, UserId(command.user_id), stream_id, version)


def verify_email(command: VerifyEmail, streams: Streams) -> Decision:
    stream_id = StreamId(command.user_id)
    events = user.decide(command, streams.user(command.user_id))
    for event in events:
        streams.record(stream_id, event)
    return Decision("changed" if events else "unchanged", command.user_id, stream_id)


def create_external_user(command: CreateExternalUser, streams: Streams) -> Decision:
    """Create an external user, or answer with the id's owner.

    The reservation comes last: a read model at its position has the user.
    """
    owner = streams.reservation(command.external_stream).owner
    if owner is not None:
        return Decision("unchanged", owner, command.external_stream)
    if streams.user(command.derived_id).present:
        return Decision("unchanged", command.derived_id, StreamId(command.derived_id))
    for event in user.decide(command, streams.user(command.user_id)):
        streams.record(StreamId(command.user_id), event)
        streams.effects.new_subjects.append(command.user_id)
    streams.record(command.external_stream, ExternalIdReserved(user_id=command.user_id))
    return Decision("created", command.user_id, command.external_stream)


def erase(command: EraseUser, streams: Streams) -> Decision:
    stream_id = StreamId(command.user_id)
    # A condition concerns the profile, which is sealed.
    read = streams.user if command.condition is None else streams.account
    events = user.decide(command, read(command.user_id))
    if command.email_stream is not None:
        streams.effects.erased_addresses.append(command.email_stream)
        reserved = streams.reservation(command.email_stream)
        for released in reservation.release_email(reserved, command.user_id):
            streams.record(command.email_stream, released)
    if command.external_stream is not None:
        reserved = streams.reservation(command.external_stream)
        for released in reservation.release_external_id(reserved, command.user_id):
            streams.record(command.external_stream, released)
    for event in events:
        streams.record(stream_id, event)
    streams.effects.erased_users.append(command.user_id)
    return Decision("changed", command.user_id, stream_id)


def end_session(command: EndSession, streams: Streams) -> Decision:
    stream_id = command.sessions_stream
    ended = streams.ended_sessions(stream_id)
    is_open = streams.session_is_open(command.session_id)
    events = session.decide(command, ended, is_open=is_open)
    for event in events:
        streams.record(stream_id, event)
        streams.effects.ended_sessions.append(command.session_id)
    return Decision("changed" if events else "unchanged", command.session_id, stream_id)
