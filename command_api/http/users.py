"""Users: sign-up, profile, password, role, erasure."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

import structlog
from eventsourcing.persistence import PersistenceError
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from command_api.bulk.rows import RowKind, commit_rows, rows_response
from command_api.commit.idempotency import DOCUMENTED
from command_api.deciding.principal import Principal, require_scope
from command_api.deciding.user import (
    ChangePassword,
    ChangeProfile,
    ChangeRole,
    CreateExternalUser,
    SignUp,
    User,
)
from command_api.http.bodies import (
    ACCOUNT_BYTES_MAX,
    BULK_USERS_BYTES_MAX,
    EXTERNAL_USER_BYTES_MAX,
    ExternalUserBody,
    ExternalUsersBody,
    PasswordBody,
    ProfileBody,
    RoleBody,
    RowsAnswer,
    SignUpBody,
    UserAnswer,
)
from command_api.http.body_route import BodyRoute
from command_api.http.bulk_route import BatchRoute
from command_api.http.dependencies import Caller, CallingMember, Wired, Wiring
from command_api.http.responses import PROBLEMS, answer, send, send_once
from command_api.identity.accounts import Account
from shared.errors import Forbidden, NotAuthenticated
from shared.ids import UserId, new_uuid7
from shared.web.addresses import address_of

router = APIRouter(
    prefix="/v1/users",
    tags=["users"],
    responses=PROBLEMS,
    route_class=BodyRoute,
    max_body_size=ACCOUNT_BYTES_MAX,
)
batches = APIRouter(prefix="/v1/users", tags=["users"], responses=PROBLEMS, route_class=BatchRoute)

log = structlog.get_logger()


@router.post("", status_code=HTTPStatus.CREATED, response_model=UserAnswer)
async def sign_up(body: SignUpBody, request: Request, wiring: Wired, caller: Caller) -> Response:
    """Sign up with an e-mail address and a password, or, with a service key, name an external user.

    An external user that exists already is answered with 200 and the first one's id.
    """
    command: SignUp | CreateExternalUser
    if body.external_id is not None:
        require_scope(caller, "users")
        command = wiring.accounts.external_user(body.external_id, body.display_name, wiring.now())
    else:
        assert body.email is not None
        assert body.password is not None
        command = SignUp(
            user_id=UserId(new_uuid7()),
            email=body.email,
            email_stream=wiring.accounts.email_stream(body.email),
            password_hash=await wiring.passwords.hash(
                body.password, address=address_of(request.scope)
            ),
            display_name=body.display_name,
            now=wiring.now(),
        )
    outcome = await send(command, request, wiring, caller)
    status = HTTPStatus.OK if outcome.status == "unchanged" else HTTPStatus.CREATED
    return answer(status, {"user_id": outcome.subject}, outcome)


@batches.post("/batch", response_model=RowsAnswer, max_body_size=BULK_USERS_BYTES_MAX)
async def create_external_users(
    body: ExternalUsersBody, request: Request, wiring: Wired, caller: Caller
) -> Response:
    """Make up to 1,000 external users at once (service keys with the scope `users`)."""

    def command_of(row: ExternalUserBody) -> CreateExternalUser:
        return wiring.accounts.external_user(row.external_id, row.display_name, wiring.now())

    kind = RowKind(ExternalUserBody, EXTERNAL_USER_BYTES_MAX, subject="user_id")
    results = await commit_rows(body.users, kind, command_of, request, wiring, caller)
    return rows_response(results)


@router.patch("/me", status_code=HTTPStatus.NO_CONTENT, openapi_extra=DOCUMENTED)
async def change_profile(
    body: ProfileBody, request: Request, wiring: Wired, caller: CallingMember
) -> Response:
    """Change one's display name or visibility."""
    command = ChangeProfile(
        user_id=caller.user_id,
        display_name=body.display_name,
        visibility=body.visibility,
        now=wiring.now(),
    )
    outcome = await send_once(command, request, wiring, caller)
    return answer(HTTPStatus.NO_CONTENT, None, outcome)


@router.put("/me/password", status_code=HTTPStatus.NO_CONTENT)
async def change_password(
    body: PasswordBody, request: Request, wiring: Wired, caller: CallingMember
) -> Response:
    """Change one's password; needs the old one. One's other sessions end."""
    address = address_of(request.scope)
    with wiring.log_in_limits.attempt(request, str(caller.user_id)) as attempt:
        account = await run_in_threadpool(wiring.accounts.by_id, caller.user_id)
        old_hash = account.user.password_hash if account else None
        if not await wiring.passwords.matches(old_hash, body.old, address=address):
            attempt.failed()
    if attempt.has_failed or old_hash is None:
        raise Forbidden("the old password is another one", pointer="/old")
    command = ChangePassword(
        user_id=caller.user_id,
        password_hash=await wiring.passwords.hash(body.new, address=address),
        replaces=old_hash,
        kept_session=caller.session_id,
        now=wiring.now(),
    )
    outcome = await send(command, request, wiring, caller)
    return answer(HTTPStatus.NO_CONTENT, None, outcome)


@router.delete("/me", status_code=HTTPStatus.NO_CONTENT)
async def erase(request: Request, wiring: Wired, caller: CallingMember) -> Response:
    """Be forgotten: personal data becomes unreadable for good, scores stay in the averages."""
    account = await run_in_threadpool(wiring.accounts.by_id, caller.user_id)
    if account is None:
        raise NotAuthenticated("the user of this access token no longer exists")
    return await _erase(account, request, wiring, caller)


@router.delete("/{user_id}", status_code=HTTPStatus.NO_CONTENT)
async def erase_user(user_id: UUID, request: Request, wiring: Wired, caller: Caller) -> Response:
    """Forget a user who asked for it, with a password or without (operators, and service keys with
    the scope `erasure`).
    """
    account = await run_in_threadpool(wiring.accounts.by_id, UserId(user_id))
    if account is None:
        # Refused as any other by who may not erase: it does not say whether there is a user.
        account = Account(UserId(user_id), User())
    return await _erase(account, request, wiring, caller)


@router.get("/me/export", response_class=Response)
async def export(wiring: Wired, caller: CallingMember) -> Response:
    """All that is stored of oneself, as JSON: account, sessions, ratings with their history."""
    document = await run_in_threadpool(wiring.export.of, caller.user_id)
    return Response(
        document,
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": 'attachment; filename="starfold-export.json"',
        },
        media_type="application/json",
    )


@router.put("/{user_id}/role", status_code=HTTPStatus.NO_CONTENT)
async def change_role(
    user_id: UUID, body: RoleBody, request: Request, wiring: Wired, caller: Caller
) -> Response:
    """Give a user another role (operators, and service keys with the scope `roles`)."""
    command = ChangeRole(user_id=UserId(user_id), role=body.role, now=wiring.now())
    outcome = await send(command, request, wiring, caller)
    return answer(HTTPStatus.NO_CONTENT, None, outcome)


async def _erase(account: Account, request: Request, wiring: Wiring, caller: Principal) -> Response:
    command = wiring.accounts.erasure(account, wiring.now())
    outcome = await send(command, request, wiring, caller)
    await _note_erasure(wiring)
    return answer(HTTPStatus.NO_CONTENT, None, outcome)


async def _note_erasure(wiring: Wiring) -> None:
    """What cannot be noted now is noted by the upkeep; the user is erased all the same."""
    if wiring.erasure_ledger is None:
        return
    try:
        await run_in_threadpool(wiring.erasure_ledger.note)
    except (PersistenceError, OSError):
        log.exception("erasure_not_noted")
