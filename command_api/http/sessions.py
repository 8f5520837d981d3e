"""Sessions: log-in with a password or an API key, refresh, log-out."""

from __future__ import annotations

import unicodedata
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

import msgspec
import structlog
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from command_api.deciding.principal import Member, Service, session_of
from command_api.deciding.session import EndSession
from command_api.deciding.user import ChangePassword
from command_api.http.bodies import ACCOUNT_BYTES_MAX, RefreshBody, SessionAnswer, SessionBody
from command_api.http.body_route import BodyRoute
from command_api.http.dependencies import Caller, Visitor, Wired, Wiring
from command_api.http.responses import PROBLEMS, answer, send
from command_api.identity.accounts import Account
from command_api.identity.authentication import key_id_of
from command_api.identity.sessions import Holder, Session
from shared.errors import Forbidden, NotAuthenticated, StarfoldError
from shared.ids import NO_VERSION, UserId, Version, sessions_stream_id
from shared.log.events import Role
from shared.web.addresses import address_of
from shared.web.tokens import TOKEN_LIFETIME_S

router = APIRouter(
    prefix="/v1/sessions",
    tags=["sessions"],
    responses=PROBLEMS,
    route_class=BodyRoute,
    max_body_size=ACCOUNT_BYTES_MAX,
)

log = structlog.get_logger()


class _Bearer(NamedTuple):
    """What a token says of its bearer; a service is nobody in particular to the query API."""

    role: Role
    version: Version = NO_VERSION


@router.post("", status_code=HTTPStatus.CREATED, response_model=SessionAnswer)
async def log_in(body: SessionBody, request: Request, wiring: Wired, _visitor: Visitor) -> Response:
    """Log in with e-mail and password, or with a service's API key.

    An unknown address takes as long as a wrong password. Whoever fails too often waits.
    """
    if body.api_key is not None:
        return await _log_in_service(body.api_key, request, wiring)
    assert body.email is not None
    assert body.password is not None
    email = unicodedata.normalize("NFKC", body.email.strip()).lower()
    with wiring.log_in_limits.attempt(request, email) as attempt:
        account = await run_in_threadpool(wiring.accounts.by_email, email)
        password_hash = account.user.password_hash if account else None
        address = address_of(request.scope)
        if not await wiring.passwords.matches(password_hash, body.password, address=address):
            attempt.failed()
    if attempt.has_failed or account is None:
        raise NotAuthenticated("the e-mail address or the password is not right")
    session, current = await run_in_threadpool(wiring.sessions.open_for_user, account)
    await _rehash(current, body.password, request, wiring)
    return _answer(HTTPStatus.CREATED, wiring, session, _Bearer(current.user.role, current.version))


@router.post("/refresh", response_model=SessionAnswer)
async def refresh(body: RefreshBody, request: Request, wiring: Wired, visitor: Visitor) -> Response:
    """A new access token and the next refresh token. One that was used already ends the session."""
    holder = await run_in_threadpool(wiring.sessions.holder, body.refresh_token)
    if not holder.reused:
        # Before the session is found open: whatever ends it later is then newer than the token.
        bearer = await _bearer_of(holder, wiring)
        session = await run_in_threadpool(wiring.sessions.refresh, body.refresh_token)
        if session is not None:
            return _answer(HTTPStatus.OK, wiring, session, bearer)
        # Another request used the token meanwhile, or the session has ended.
        holder = await run_in_threadpool(wiring.sessions.holder, body.refresh_token)
    if holder.reused:
        log.warning("refresh_token_reused", session_id=str(holder.session_id))
        await send(_ending(holder.session_id, holder.subject_id, wiring), request, wiring, visitor)
    raise NotAuthenticated("the session has ended")


@router.delete("/current", status_code=HTTPStatus.NO_CONTENT)
async def log_out(request: Request, wiring: Wired, caller: Caller) -> Response:
    """End the session that the access token comes from.

    The command API refuses the token from then on, the query API as soon as its read model has
    applied the answer's position.
    """
    session_id = session_of(caller)
    if session_id is None and isinstance(caller, Service):
        raise Forbidden("this needs an access token of a session")
    if session_id is None or caller.actor is None:
        raise NotAuthenticated("this needs an access token of a session")
    outcome = await send(_ending(session_id, caller.actor, wiring), request, wiring, caller)
    return answer(HTTPStatus.NO_CONTENT, None, outcome)


async def _log_in_service(api_key: str, request: Request, wiring: Wiring) -> Response:
    with wiring.log_in_limits.attempt_with_key(request, key_id_of(api_key).hex) as attempt:
        try:
            service = await wiring.authentication.service(api_key, request.scope)
        except NotAuthenticated:
            attempt.failed()
            raise
    session = await run_in_threadpool(wiring.sessions.open_for_service, service.key_id)
    return _answer(HTTPStatus.CREATED, wiring, session, _Bearer("member"))


def _ending(session_id: UUID, subject_id: UUID, wiring: Wiring) -> EndSession:
    return EndSession(
        session_id=session_id,
        subject_id=subject_id,
        sessions_stream=sessions_stream_id(subject_id),
        now=wiring.now(),
    )


async def _rehash(account: Account, password: str, request: Request, wiring: Wiring) -> None:
    """Hash the password anew where the settings ask for more by now; a log-in never fails by it."""
    old_hash = account.user.password_hash
    if old_hash is None or not wiring.passwords.needs_rehash(old_hash):
        return
    try:
        command = ChangePassword(
            user_id=account.user_id,
            password_hash=await wiring.passwords.hash(password, address=address_of(request.scope)),
            replaces=old_hash,
            ends_sessions=False,
            now=wiring.now(),
        )
        await send(command, request, wiring, Member(account.user_id))
    except StarfoldError as error:
        log.info("rehash_postponed", user_id=str(account.user_id), reason=error.code)


async def _bearer_of(holder: Holder, wiring: Wiring) -> _Bearer:
    """Raise `NotAuthenticated` for a user who is gone and for a revoked key."""
    if holder.service:
        await wiring.authentication.known_service(holder.subject_id)
        return _Bearer("member")
    account = await run_in_threadpool(wiring.accounts.by_id, UserId(holder.subject_id))
    if account is None:
        raise NotAuthenticated("the session has ended")
    return _Bearer(account.user.role, account.version)


def _answer(status: HTTPStatus, wiring: Wiring, session: Session, bearer: _Bearer) -> Response:
    token = wiring.token_issuer.issue(
        UserId(session.subject_id),
        bearer.role,
        now_s=wiring.now().timestamp(),
        session_id=session.session_id,
        service=session.service,
        version=bearer.version,
    )
    body = {
        "access_token": token,
        "refresh_token": session.refresh_token,
        "token_type": "Bearer",
        "expires_in_s": TOKEN_LIFETIME_S,
    }
    return Response(
        msgspec.json.encode(body),
        status,
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )
