"""Sessions: log-in, which answers with an access token."""

from __future__ import annotations

import unicodedata
from http import HTTPStatus

import msgspec
from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from command_api.bodies import SessionAnswer, SessionBody
from command_api.routes.answers import PROBLEMS
from command_api.wiring import Wired
from shared.errors import NotAuthenticated
from shared.tokens import TOKEN_LIFETIME_S

router = APIRouter(prefix="/v1/sessions", tags=["sessions"], responses=PROBLEMS)

# TODO: refresh tokens, log-out and log-in with an API key come with the write side's accounts; see
# docs/unfinished.md.


@router.post("", status_code=HTTPStatus.CREATED, response_model=SessionAnswer)
async def log_in(body: SessionBody, wiring: Wired) -> Response:
    """Log in with e-mail and password. An unknown address takes as long as a wrong password."""
    email = unicodedata.normalize("NFKC", body.email.strip()).lower()
    account = await run_in_threadpool(wiring.accounts.by_email, email)
    password_hash = account.user.password_hash if account else None
    if not await wiring.passwords.matches(password_hash, body.password) or account is None:
        raise NotAuthenticated("the e-mail address or the password is not right")
    token = wiring.token_issuer.issue(
        account.user_id, account.user.role, now_s=wiring.now().timestamp()
    )
    session = {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in_s": TOKEN_LIFETIME_S,
    }
    return Response(
        msgspec.json.encode(session),
        HTTPStatus.CREATED,
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )
