"""What is known against a token: folding it from the log, and holding a token against it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import pytest

from projector.documents.working_set import Corrupt, WorkingSet
from projector.following.fold import PartitionFold
from projector.projections import DEFINITIONS, LogEvent
from query_api.redis_reads.access import checked_claims
from shared.errors import NotAuthenticated
from shared.ids import Position, StreamId, UserId, Version
from shared.log.events import (
    Event,
    ServiceKeyRevoked,
    SessionEnded,
    UserErased,
    UserPasswordChanged,
    UserRoleChanged,
)
from shared.read_model.access import ENDED_SESSIONS_MAX, AccessDocument, EndedSession
from shared.read_model.documents import Parked
from shared.read_model.keys import PartitionKeys
from shared.read_model.kinds import ACCESS
from shared.read_model.ranks import milliseconds
from shared.web.tokens import TOKEN_LIFETIME_S, Claims
from tests.support.builders import ANN, NOON, later, user_created

ONE, TWO, THREE = (UUID(int=n) for n in (101, 102, 103))
PROFILES = DEFINITIONS["profiles"]


def logged(event: Event, version: int = 1, fault: str | None = None) -> LogEvent:
    return LogEvent(Position(version), StreamId(ANN), Version(version), event, fault=fault)


def known(*events: Event, subject: UUID = ANN) -> AccessDocument | None:
    """What is known once the events, at versions 1, 2, ... of their stream, are folded."""
    working_set = WorkingSet(complete=True)
    for version, event in enumerate(events, start=1):
        PROFILES.apply(working_set, logged(event, version))
    return working_set.get(ACCESS, subject.hex)


def role_changed(role: str) -> UserRoleChanged:
    return UserRoleChanged(user_id=ANN, role=role)  # type: ignore[arg-type]  # One of the roles.


def password_changed(kept: UUID | None = None, *, ends_sessions: bool = True) -> Event:
    return UserPasswordChanged(
        user_id=ANN, password_hash="new", ends_sessions=ends_sessions, kept_session=kept
    )


def ended(session_id: UUID, at: datetime = NOON) -> SessionEnded:
    return SessionEnded(session_id=session_id, subject_id=ANN, ended_at=at)


def token(session: UUID | None = ONE, version: int = 1, role: str = "operator") -> Claims:
    return Claims(
        ANN,
        role,  # type: ignore[arg-type]  # One of the roles too.
        NOON.timestamp() + TOKEN_LIFETIME_S,
        session_id=session,
        version=Version(version),
        issued_at=NOON.timestamp(),
    )


def stands(claims: Claims, document: AccessDocument | None) -> bool:
    assert document is not None
    try:
        checked_claims(claims, document)
    except NotAuthenticated:
        return False
    return True


def test_of_most_users_nothing_is_known() -> None:
    assert known(user_created()) is None
    assert known(user_created(), password_changed(ends_sessions=False)) is None


def test_a_role_is_that_of_the_last_change_unless_the_token_is_newer() -> None:
    demoted = known(user_created(), role_changed("operator"), role_changed("member"))
    assert demoted is not None
    assert checked_claims(token(version=2), demoted).role == "member"
    assert checked_claims(token(version=0), demoted).role == "member"
    # Promoted again, and the read model has not heard of it yet.
    assert checked_claims(token(version=4), demoted).role == "operator"


def test_a_new_password_ends_every_session_but_the_one_it_was_changed_from() -> None:
    document = known(user_created(), password_changed(kept=ONE))
    assert stands(token(ONE), document)
    assert not stands(token(TWO), document)
    assert not stands(token(None), document)
    assert stands(token(TWO, version=2), document), "a log-in with the new password"
    again = known(user_created(), password_changed(kept=ONE), password_changed(kept=TWO))
    assert not stands(token(ONE, version=2), again)
    assert stands(token(TWO, version=2), again)


def test_an_erased_user_and_a_revoked_key_have_no_token() -> None:
    erased = UserErased(user_id=ANN, erased_at=NOON)
    events = (user_created(), role_changed("operator"), ended(TWO), erased)
    assert known(*events) == AccessDocument(erased=True)
    assert not stands(token(version=9), known(*events))
    key_id = UUID(int=7)
    revoked = known(ServiceKeyRevoked(key_id=key_id, revoked_at=NOON), subject=key_id)
    assert not stands(token(version=9), revoked)


def test_a_session_that_ended_is_forgotten_once_all_of_its_tokens_have_expired() -> None:
    """By the time of a later event, so that every fold of the log forgets at the same place."""
    soon, late = later(0.25), later(0.5)
    assert _sessions(ended(ONE), ended(TWO, soon)) == {ONE, TWO}
    assert _sessions(ended(ONE), ended(TWO, soon), ended(THREE, late)) == {TWO, THREE}


def _sessions(*events: Event) -> set[UUID]:
    document = known(user_created(), *events)
    assert document is not None
    return {one.session_id for one in document.ended_sessions}


def test_a_subject_who_ends_countless_sessions_has_a_small_document() -> None:
    """Then all tokens issued until then are refused, and those issued later are not."""
    events = [ended(UUID(int=1_000 + n)) for n in range(ENDED_SESSIONS_MAX + 1)]
    full, over = known(user_created(), *events[:-1]), known(user_created(), *events)
    assert stands(token(ONE), full)
    assert not stands(token(ONE), over)
    assert stands(token(ONE)._replace(issued_at=later(1).timestamp()), over)
    assert over is not None
    assert over.ended_sessions == ()


def test_who_is_parked_is_shut_out_all_the_same() -> None:
    """Also where the event's personal data cannot be opened, which nothing of this needs."""
    working_set = WorkingSet(complete=True)
    parked: dict[UUID, Parked] = {
        ANN: Parked(entity=ANN, position=Position(1), topic="UserCreated", error="")
    }
    fold = PartitionFold(PROFILES, PartitionKeys("profiles", 1, 0), working_set, parked)
    fold.fold(logged(password_changed(), 2, fault="it cannot be opened"))
    fold.fold(logged(ended(ONE), 3))
    document = working_set.get(ACCESS, ANN.hex)
    assert document is not None
    assert document.sessions_since == 2
    assert document.ended_sessions == (EndedSession(ONE, milliseconds(NOON)),)
    fold.fold(logged(UserErased(user_id=UserId(ANN), erased_at=NOON), 4))
    assert working_set.get(ACCESS, ANN.hex) == AccessDocument(erased=True)


def test_a_document_that_cannot_be_decoded_is_not_replaced_by_an_empty_one() -> None:
    working_set = WorkingSet(complete=True)
    working_set.documents[ACCESS.name, ANN.hex] = Corrupt("damaged")
    parked: dict[UUID, Parked] = {}
    fold = PartitionFold(PROFILES, PartitionKeys("profiles", 1, 0), working_set, parked)
    fold.fold(logged(role_changed("member"), 2))
    assert set(parked) == {ANN}
    assert (ACCESS.name, ANN.hex) not in working_set.dirty


@pytest.mark.parametrize(
    "document",
    [
        AccessDocument(),
        AccessDocument(role="curator", role_version=Version(3)),
        AccessDocument(
            sessions_since=Version(4),
            kept_session=ONE,
            ended_sessions=(EndedSession(TWO, 5), EndedSession(THREE, 6)),
            issued_from_ms=7,
        ),
    ],
)
def test_a_document_comes_back_as_it_was(document: AccessDocument) -> None:
    stored = ACCESS.encode(document)
    assert ACCESS.decode(stored) == document
    assert len(stored) <= ACCESS.bytes_max(document)
