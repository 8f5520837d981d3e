"""First steps: create a service key and the operator's account, and store them in the home."""

from __future__ import annotations

import base64
import secrets
from contextlib import ExitStack
from pathlib import Path

import msgspec
import structlog

from command_api.identity.service_keys import new_key
from ops.errors import OperatorError
from ops.home.api_keys import is_api_key_known, keep_api_key
from ops.home.client import client_of
from ops.home.folder import Home, write_private
from shared.log.connections import connect
from starfold_client import Starfold
from starfold_client.answers import Session
from starfold_client.errors import Conflict, NotAuthenticated

DATABASE_SCHEMA = "starfold"
OPERATOR_EMAIL = "operator@starfold.example"
OPERATOR_SCOPES = ["users", "ratings", "movies", "roles", "erasure", "operate"]
LOG_IN_WITHIN_S = 10.0

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
    return Operator(OPERATOR_EMAIL, secrets.token_urlsafe(18), new_key().api_key)


def operator_of(home: Home) -> Operator:
    """Return the operator's credentials; raise `OperatorError` if there are none yet."""
    if not home.operator_file.exists():
        raise OperatorError(
            f"there is no operator in {home.path} yet: wait until `starfold up` is ready. With"
            " Docker Compose, run the operator's commands as `docker compose run --rm operator"
            " starfold …`"
        )
    return msgspec.json.decode(home.operator_file.read_bytes(), type=Operator)


def logged_in(home: Home) -> Starfold:
    """Return a client of the operator; raise `OperatorError` if they cannot log in."""
    operator = operator_of(home)
    with ExitStack() as opened:
        client = opened.enter_context(
            client_of(home.addresses(), timeout_s=LOG_IN_WITHIN_S, patience_s=LOG_IN_WITHIN_S)
        )
        try:
            client.log_in(email=operator.email, password=operator.password)
        except NotAuthenticated as error:
            raise OperatorError(
                f"{home.addresses().command_url} does not accept the password of"
                f" {operator.email} in {home.operator_file}: it was changed, or the account was"
                " erased"
            ) from error
        opened.pop_all()
    return client


def access_token(home: Home) -> str:
    """Return a new access token of the operator."""
    with logged_in(home) as client:
        assert client.session is not None
        return client.session.access_token


def _create_account(home: Home, operator: Operator, draft: Path) -> Operator:
    """Sign up and grant the role; log in instead if an interrupted attempt made the account.

    If the address belongs to an account with another password, whose credentials were lost with an
    earlier home, the new account gets another address.
    """
    with client_of(home.addresses(), operator.api_key) as service:
        user_id = _signed_up(service, operator)
        if user_id is None:
            log.warning("operator_address_taken", email=operator.email)
            own = f"operator-{secrets.token_hex(4)}@{OPERATOR_EMAIL.partition('@')[2]}"
            operator = msgspec.structs.replace(operator, email=own)
            write_private(draft, msgspec.json.encode(operator))
            user_id = _signed_up(service, operator)
        if user_id is None:
            raise OperatorError(f"the account {operator.email} has another password")
        service.change_role(user_id, "operator")
    return operator


def _signed_up(service: Starfold, operator: Operator) -> str | None:
    """Return the account's id; None if its address has another account with another password."""
    visitor = service.for_caller()
    try:
        signed_up = visitor.sign_up(
            email=operator.email, password=operator.password, display_name="Operator"
        )
    except Conflict:
        pass
    else:
        return str(signed_up.user_id)
    try:
        return _subject(visitor.log_in(email=operator.email, password=operator.password))
    except NotAuthenticated:
        return None


def _subject(session: Session) -> str:
    """Return a token's user; it was just issued to us, so its signature is not checked."""
    payload = session.access_token.split(".")[1]
    padded = payload + "=" * (-len(payload) % 4)

    return str(msgspec.json.decode(base64.urlsafe_b64decode(padded))["sub"])
