"""The API keys of services: `starfold keys`. A key is printed once, when it is created.

`starfold keys rotate` is about Starfold's own two keys instead: the sealing key, which wraps the
keys of the users' personal data, and the token key, which signs access tokens.
"""

from __future__ import annotations

import os
import time
from enum import StrEnum
from typing import Annotated, get_args
from uuid import UUID

import psycopg
import typer
from psycopg.rows import TupleRow

from command_api.deciding.principal import Scope
from ops.commands.write_side import PATIENCE_S, owner_connection, uuid_of
from ops.database import rewrap_keys
from ops.errors import OperatorError
from ops.home.access import owner_settings
from ops.home.api_keys import API_KEY_PREFIX, keep_api_key, new_api_key
from ops.home.folder import Home, Secrets, write_private
from ops.home.rotation import expired_at, keys_in_use, promoted, rotated
from ops.options import DEFAULT_HOME, HomeOption
from ops.tables import print_table
from shared.ids import EventId, new_uuid7
from shared.log.codec import Codec
from shared.log.connections import connect
from shared.log.events import Metadata, ServiceKeyRevoked
from shared.log.sealing import NO_KEYS, KeyWrap
from shared.process.clock import utc_now
from shared.process.settings import SealingSettings, settings_from_environment

SCOPES: tuple[str, ...] = get_args(Scope)
NAME_CHARS_MAX = 100

_LIST = (
    "SELECT key_id, name, array_to_string(scopes, ' '), created_at, last_used_at, revoked_at"
    " FROM service_keys ORDER BY created_at, key_id"
)
_LOCK = "SELECT hold_append_lock()"
# Appends nothing if the key has already been revoked.
_APPEND = (
    "SELECT append_events(stream_ids => ARRAY[%(key_id)s::uuid], versions => ARRAY[1::bigint],"
    " topics => ARRAY[%(topic)s::text], states => ARRAY[%(state)s::bytea],"
    " guard_ids => ARRAY[%(key_id)s::uuid], guard_versions => ARRAY[0::bigint])"
)
_REVOKE = "UPDATE service_keys SET revoked_at = coalesce(revoked_at, now()) WHERE key_id = %s"
_END_SESSIONS = "DELETE FROM sessions WHERE subject_id = %s"

# Stopping a service may take 10 s, and starting all of them a minute.
RESTARTED_WITHIN_S = 90.0
POLL_S = 0.1


class RotatedKey(StrEnum):
    """A key of Starfold itself."""

    SEALING = "sealing"
    TOKEN = "token"


keys = typer.Typer(no_args_is_help=True)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Purpose of the key.")],
    scope: Annotated[list[str], typer.Option(help=f"One of {', '.join(SCOPES)}; may be repeated.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Create a service key and print it: it cannot be shown again."""
    unknown = sorted(set(scope).difference(SCOPES))
    if unknown:
        raise OperatorError(f"there is no scope {unknown[0]!r}: choose from {', '.join(SCOPES)}")
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise OperatorError(f"a key's name is 1 to {NAME_CHARS_MAX} printable characters")
    api_key = new_api_key()
    with owner_connection(Home(home)) as connection:
        keep_api_key(connection, api_key, name, sorted(set(scope)))
    typer.echo(api_key)


@keys.command("list")
def list_keys(home: HomeOption = DEFAULT_HOME) -> None:
    """List service keys, including revoked ones."""
    with owner_connection(Home(home)) as connection:
        rows = connection.execute(_LIST).fetchall()
    print_table(("key", "name", "scopes", "created", "last used", "revoked"), rows)


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, or the key itself.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Revoke a key within a second, and end its sessions and their tokens."""
    wanted = uuid_of(key_id.removeprefix(API_KEY_PREFIX).partition("_")[0], "key")
    with owner_connection(Home(home)) as connection:
        # Take the append lock before any row lock, as every append does, to avoid a deadlock.
        connection.execute(_LOCK)
        if not connection.execute(_REVOKE, [wanted]).rowcount:
            raise OperatorError(f"there is no key {wanted}")
        connection.execute(_END_SESSIONS, [wanted])
        _record(connection, wanted)
    typer.echo(f"key {wanted} is revoked")


@keys.command()
def rotate(
    key: Annotated[RotatedKey, typer.Argument(help="Starfold's own key, and no service key.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Replace the sealing key or the token key while everything runs; to be repeated after a kill.

    Without a home it wraps the users' keys again: docs/operating.md has the steps before and after.
    """
    place = Home(home)
    if "STARFOLD_DATABASE_URL" in os.environ or "STARFOLD_OWNER_DATABASE_URL" in os.environ:
        if key is RotatedKey.TOKEN:
            raise OperatorError(
                "without a home, the token key is rotated in the settings: see docs/operating.md"
            )
        _rewrap(place, settings_from_environment(SealingSettings))
    elif not place.is_running:
        raise OperatorError(f"there is no Starfold running in {place.path}: start it first")
    elif key is RotatedKey.TOKEN:
        _rotate_token(place)
    else:
        _rotate_sealing(place)


def _rotate_sealing(place: Home) -> None:
    _restart_with(place, promoted(place.secrets(), "sealing"))
    own = place.secrets()
    keys = {"sealing_key": own.sealing_key, "second_sealing_key": own.second_sealing_key}
    _rewrap(place, SealingSettings.model_validate(keys))
    _restart_with(place, rotated(own, "sealing", "finish"))
    typer.echo("the sealing key is rotated; backups from before need the old one")


def _rotate_token(place: Home) -> None:
    own = place.secrets()
    if own.tokens_rotation == "promoted":
        _restart_with(place, rotated(own, "token", "finish"))
        typer.echo("the old token key is dropped")
        return
    own = promoted(own, "token")
    _restart_with(place, own)
    typer.echo(
        "the token key is rotated; access tokens of the old one are valid until they expire."
        f" Repeat this command after {expired_at(own):%H:%M:%S} UTC to drop the old key"
    )


def _restart_with(place: Home, own: Secrets) -> None:
    """Store the secrets, and wait until the services of `starfold up` run with their keys."""
    place.replace_secrets(own)
    wanted = keys_in_use(own).encode()
    write_private(place.keys_wanted, wanted)
    give_up_at = time.monotonic() + RESTARTED_WITHIN_S
    while not place.keys_in_use.exists() or place.keys_in_use.read_bytes() != wanted:
        if time.monotonic() > give_up_at:
            raise OperatorError(
                "the services have not restarted with the new keys: look at the output of"
                " `starfold up`, and repeat this command"
            )
        time.sleep(POLL_S)


def _rewrap(place: Home, settings: SealingSettings) -> None:
    owner = owner_settings(place)
    with connect(
        owner.owner_database_url.get_secret_value(),
        schema=owner.database_schema,
        autocommit=True,
        answer_within_s=PATIENCE_S,
    ) as connection:
        count = sum(rewrap_keys(connection, KeyWrap(*settings.sealing_keys)))
    typer.echo(f"{count} users' keys are wrapped again; the sealing key wraps all of them")


def _record(connection: psycopg.Connection[TupleRow], key_id: UUID) -> None:
    """Append `ServiceKeyRevoked` in the connection's transaction, once for each key."""
    now = utc_now()
    event = ServiceKeyRevoked(key_id=key_id, revoked_at=now)
    metadata = Metadata(event_id=EventId(new_uuid7()), recorded_at=now)
    state = Codec().encode(event, metadata, NO_KEYS)
    topic = type(event).__name__
    connection.execute(_APPEND, {"key_id": key_id, "topic": topic, "state": state})
