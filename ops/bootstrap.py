"""First steps: a service key and the operator's account, written to `operator.json` in the home."""

from __future__ import annotations

import base64
import secrets

import httpx
import msgspec
import psycopg
import structlog

from ops.api_client import ApiClient
from ops.api_keys import keep_api_key, new_api_key
from ops.errors import OperatorError
from ops.home import Home, write_private

OPERATOR_EMAIL = "operator@starfold.example"
OPERATOR_SCOPES = ["users", "movies", "roles", "erasure"]

log = structlog.get_logger()


class Operator(msgspec.Struct, frozen=True):
    """What is in `operator.json`."""

    email: str
    password: str
    api_key: str


def bootstrap(home: Home) -> Operator:
    """The operator's credentials; made at the first call, and gone on with if that was interrupted.

    The credentials are drawn and kept in a draft before anything is made with them, so that a
    second try uses the same ones.
    """
    if home.operator_file.exists():
        return operator_of(home)
    draft = home.path / "operator.draft.json"
    if draft.exists():
        operator = msgspec.json.decode(draft.read_bytes(), type=Operator)
    else:
        operator = Operator(OPERATOR_EMAIL, secrets.token_urlsafe(18), new_api_key())
        write_private(draft, msgspec.json.encode(operator))
    with psycopg.connect(home.owner_dsn(), options="-c search_path=starfold") as connection:
        keep_api_key(connection, operator.api_key, "operator", OPERATOR_SCOPES)
    _create_account(home, operator)
    write_private(home.operator_file, msgspec.json.encode(operator))
    draft.unlink()
    log.info("operator_created", file=str(home.operator_file))
    return operator


def operator_of(home: Home) -> Operator:
    """Raises `OperatorError` where there is none yet."""
    if not home.operator_file.exists():
        raise OperatorError(
            f"there is no operator in {home.path} yet: has `starfold up` been ready?"
        )
    return msgspec.json.decode(home.operator_file.read_bytes(), type=Operator)


def access_token(home: Home) -> str:
    """A new access token of the operator."""
    operator = operator_of(home)
    url = home.addresses().command_url
    try:
        response = httpx.post(
            f"{url}/v1/sessions",
            json={"email": operator.email, "password": operator.password},
            timeout=10,
            trust_env=False,
        )
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise OperatorError(f"{url} gave no token: {error}; is Starfold running?") from error
    token: str = response.json()["access_token"]
    return token


def _create_account(home: Home, operator: Operator) -> None:
    """Sign up and take the role; an account made by an interrupted try is found by logging in."""
    with ApiClient(home.addresses(), operator.api_key) as client:
        url = home.addresses().command_url
        credentials = {"email": operator.email, "password": operator.password}
        signed_up = httpx.post(
            f"{url}/v1/users",
            json={**credentials, "display_name": "Operator"},
            timeout=30,
            trust_env=False,
        )
        if signed_up.status_code not in (httpx.codes.CREATED, httpx.codes.CONFLICT):
            raise OperatorError(f"sign-up of the operator failed: {signed_up.text}")
        user_id = (
            signed_up.json()["user_id"]
            if signed_up.status_code == httpx.codes.CREATED
            else _subject(client.command("POST", "/v1/sessions", credentials))
        )
        client.command("PUT", f"/v1/users/{user_id}/role", {"role": "operator"})


def _subject(session: httpx.Response) -> str:
    """The user that a token is of, which was just issued to us: its signature is not checked."""
    payload = session.json()["access_token"].split(".")[1]
    padded = payload + "=" * (-len(payload) % 4)

    return str(msgspec.json.decode(base64.urlsafe_b64decode(padded))["sub"])
