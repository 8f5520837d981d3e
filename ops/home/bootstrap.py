"""First steps: create a service key and the operator's account, and store them in the home."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

import httpx
import msgspec
import structlog

from ops.errors import OperatorError
from ops.home.api_client import ApiClient, http_client, problem_text
from ops.home.api_keys import is_api_key_known, keep_api_key, new_api_key
from ops.home.folder import Home, write_private
from shared.log.connections import connect

DATABASE_SCHEMA = "starfold"
OPERATOR_EMAIL = "operator@starfold.example"
OPERATOR_SCOPES = ["users", "ratings", "movies", "roles", "erasure", "operate"]

log = structlog.get_logger()


class Operator(msgspec.Struct, frozen=True):
    """The contents of `operator.json`."""

    email: str
    password: str
    api_key: str


def bootstrap(home: Home, owner_dsn: str, schema: str = DATABASE_SCHEMA) -> Operator:
    """Return the operator's credentials; create key and account if the database lacks the key.

    The key's row marks a database as bootstrapped, so that a new or restored one is bootstrapped
    again. The credentials stay in a draft until everything is created, so that an interrupted
    attempt continues with the same ones.
    """
    draft = home.path / "operator.draft.json"
    finished = home.operator_file.exists()
    operator = _credentials(home.operator_file if finished else draft)
    with connect(owner_dsn, schema=schema) as connection:
        if finished and is_api_key_known(connection, operator.api_key):
            return operator
        write_private(draft, msgspec.json.encode(operator))
        home.operator_file.unlink(missing_ok=True)
        keep_api_key(connection, operator.api_key, "operator", OPERATOR_SCOPES)
    operator = _create_account(home, operator, draft)
    write_private(home.operator_file, msgspec.json.encode(operator))
    draft.unlink()
    log.info("operator_created", file=str(home.operator_file))
    return operator


def _credentials(file: Path) -> Operator:
    """Return the stored credentials, or new ones."""
    if file.exists():
        return msgspec.json.decode(file.read_bytes(), type=Operator)
    return Operator(OPERATOR_EMAIL, secrets.token_urlsafe(18), new_api_key())


def operator_of(home: Home) -> Operator:
    """Return the operator's credentials; raise `OperatorError` if there are none yet."""
    if not home.operator_file.exists():
        raise OperatorError(
            f"there is no operator in {home.path} yet: wait until `starfold up` is ready. With"
            " Docker Compose, run the operator's commands as `docker compose run --rm operator"
            " starfold …`"
        )
    return msgspec.json.decode(home.operator_file.read_bytes(), type=Operator)


def access_token(home: Home) -> str:
    """Return a new access token of the operator."""
    operator = operator_of(home)
    url = home.addresses().command_url
    try:
        with http_client(url) as client:
            response = client.post(
                f"{url}/v1/sessions",
                json={"email": operator.email, "password": operator.password},
                timeout=10,
            )
    except httpx.TransportError as error:
        raise OperatorError(f"{url} does not answer: {error}; is Starfold running?") from error
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise OperatorError(
            f"{url} does not accept the password of {operator.email} in {home.operator_file}:"
            " it was changed, or the account was erased"
        )
    if response.is_error:
        raise OperatorError(f"{url} issued no token: {problem_text(response)}")
    token: str = response.json()["access_token"]
    return token


def _create_account(home: Home, operator: Operator, draft: Path) -> Operator:
    """Sign up and grant the role; log in instead if an interrupted attempt made the account.

    If the address belongs to an account with another password, whose credentials were lost with an
    earlier home, the new account gets another address.
    """
    with (
        ApiClient(home.addresses(), None) as visitor,
        ApiClient(home.addresses(), operator.api_key) as service,
    ):
        user_id = _signed_up(visitor, operator)
        if user_id is None:
            log.warning("operator_address_taken", email=operator.email)
            own = f"operator-{secrets.token_hex(4)}@{OPERATOR_EMAIL.partition('@')[2]}"
            operator = msgspec.structs.replace(operator, email=own)
            write_private(draft, msgspec.json.encode(operator))
            user_id = _signed_up(visitor, operator)
        if user_id is None:
            raise OperatorError(f"the account {operator.email} has another password")
        service.command("PUT", f"/v1/users/{user_id}/role", {"role": "operator"})
    return operator


def _signed_up(visitor: ApiClient, operator: Operator) -> str | None:
    """Return the account's id; None if its address has another account with another password."""
    credentials = {"email": operator.email, "password": operator.password}
    signed_up = visitor.send("POST", "/v1/users", {**credentials, "display_name": "Operator"})
    if signed_up.status_code == httpx.codes.CREATED:
        return str(signed_up.json()["user_id"])
    if signed_up.status_code != httpx.codes.CONFLICT:
        raise OperatorError(f"sign-up of the operator failed: {problem_text(signed_up)}")
    session = visitor.send("POST", "/v1/sessions", credentials)
    if session.status_code == httpx.codes.UNAUTHORIZED:
        return None
    if session.is_error:
        raise OperatorError(f"log-in of the operator failed: {problem_text(session)}")
    return _subject(session)


def _subject(session: httpx.Response) -> str:
    """Return a token's user; it was just issued to us, so its signature is not checked."""
    payload = session.json()["access_token"].split(".")[1]
    padded = payload + "=" * (-len(payload) % 4)

    return str(msgspec.json.decode(base64.urlsafe_b64decode(padded))["sub"])
