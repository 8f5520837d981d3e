"""Sessions: log-in with a password or an API key, refresh, log-out."""

from __future__ import annotations

import unicodedata
from http import HTTPStatus

import msgspec
import structlog
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from command_api.accounts import Account
from command_api.authentication import key_id_of
from command_api.bodies import ACCOUNT_BYTES_MAX, RefreshBody, SessionAnswer, SessionBody
from command_api.body_route import BodyRoute
from command_api.deciders.user import ChangePassword
from command_api.limits import address_of
from command_api.principal import Member, Service, session_of
from command_api.routes.answers import PROBLEMS, send
from command_api.sessions import Session
from command_api.wiring import Caller, Visitor, Wired, Wiring
from shared.errors import Forbidden, NotAuthenticated, StarfoldError
from shared.events import Role
from shared.ids import UserId
from shared.tokens import TOKEN_LIFETIME_S

router = APIRouter(
    prefix="/v1/sessions",
    tags=["sessions"],
    responses=PROBLEMS,
    route_class=BodyRoute,
    max_body_size=ACCOUNT_BYTES_MAX,
)

log = structlog.get_logger()


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
    session = await run_in_threadpool(wiring.sessions.open_for_user, account)
    await _rehash(account, body.password, request, wiring)
    return _answer(HTTPStatus.CREATED, wiring, session, account.user.role)


@router.post("/refresh", response_model=SessionAnswer)
async def refresh(body: RefreshBody, wiring: Wired, _visitor: Visitor) -> Response:
    """A new access token and the next refresh token. One that was used already ends the session."""
    session = await run_in_threadpool(wiring.sessions.refresh, body.refresh_token)
    role = await _role_of(session, wiring)
    return _answer(HTTPStatus.OK, wiring, session, role)


@router.delete("/current", status_code=HTTPStatus.NO_CONTENT)
async def log_out(wiring: Wired, caller: Caller) -> Response:
    """End the session that the access token comes from.

    The command API refuses the token from then on, the query API when it expires.
    """
    session_id = session_of(caller)
    if session_id is None and isinstance(caller, Service):
        raise Forbidden("this needs an access token of a session")
    if session_id is None:
        raise NotAuthenticated("this needs an access token of a session")
    await run_in_threadpool(wiring.sessions.end, session_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _log_in_service(api_key: str, request: Request, wiring: Wiring) -> Response:
    with wiring.log_in_limits.attempt_with_key(request, key_id_of(api_key).hex) as attempt:
        try:
            service = await wiring.authentication.service(api_key, request.scope)
        except NotAuthenticated:
            attempt.failed()
            raise
    session = await run_in_threadpool(wiring.sessions.open_for_service, service.key_id)
    return _answer(HTTPStatus.CREATED, wiring, session, _service_role(service))


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


async def _role_of(session: Session, wiring: Wiring) -> Role:
    """As it is now; raises `NotAuthenticated` for a user who is gone and for a revoked key."""
    if session.service:
        return _service_role(await wiring.authentication.known_service(session.subject_id))
    account = await run_in_threadpool(wiring.accounts.by_id, UserId(session.subject_id))
    if account is None:
        raise NotAuthenticated("the session has ended")
    return account.user.role


def _service_role(service: Service) -> Role:
    """What the query API lets a service see: a user's role that could do as much."""
    if "roles" in service.scopes:
        return "operator"
    return "curator" if "movies" in service.scopes else "member"


def _answer(status: HTTPStatus, wiring: Wiring, session: Session, role: Role) -> Response:
    token = wiring.token_issuer.issue(
        UserId(session.subject_id),
        role,
        now_s=wiring.now().timestamp(),
        session_id=session.session_id,
        service=session.service,
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
