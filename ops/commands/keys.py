"""The API keys of services: `starfold keys`. A key is printed once, when it is created.

`starfold keys rotate` is about Starfold's own two keys instead: the sealing key, which wraps the
keys of the users' personal data, and the token key, which signs access tokens.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import nullcontext
from enum import StrEnum
from typing import Annotated

import typer
from msgspec.structs import replace

from command_api.deciding.principal import SCOPES
from command_api.identity.authentication import API_KEY_PREFIX
from ops.acts import keys as acts
from ops.acts.projections import NoSuch
from ops.acts.recorded import recorded
from ops.commands.write_side import PATIENCE_S, owner_connection, owner_keys, uuid_of
from ops.database import rewrap_keys
from ops.errors import OperatorError
from ops.home.access import owner_settings
from ops.home.folder import Home, Secrets, write_private
from ops.home.rotation import expired_at, keys_in_use, promoted, rotated
from ops.options import DEFAULT_HOME, HomeOption
from ops.tables import print_table
from shared.errors import NotFound
from shared.log.connections import connect
from shared.log.sealing import KeyWrap
from shared.process.clock import utc_now
from shared.process.settings import SealingSettings, settings_from_environment

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
    place = Home(home)
    acts.require_valid(name, scope)
    with (
        recorded(place, acts.CREATE, **acts.creation(name, scope)) as record,
        owner_keys(place) as keys_of_owner,
    ):
        created = asyncio.run(keys_of_owner.create(name, scope))
        record.result = {"key_id": str(created.key_id)}
    typer.echo(created.api_key)


@keys.command("list")
def list_keys(home: HomeOption = DEFAULT_HOME) -> None:
    """List service keys, including revoked ones."""
    with owner_connection(Home(home)) as connection:
        rows = [
            (one.key_id, one.name, " ".join(one.scopes), *one[3:])
            for one in acts.all_keys(connection)
        ]
    print_table(("key", "name", "scopes", "created", "last used", "revoked"), rows)


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, or the key itself.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Revoke a key within a second, and end its sessions and their tokens."""
    wanted = uuid_of(key_id.removeprefix(API_KEY_PREFIX).partition("_")[0], "key")
    place = Home(home)
    with recorded(place, acts.REVOKE, key_id=str(wanted)), owner_keys(place) as keys_of_owner:
        try:
            asyncio.run(keys_of_owner.revoke(wanted))
        except NotFound as error:
            raise NoSuch(str(error)) from None
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
    in_settings = not {"STARFOLD_DATABASE_URL", "STARFOLD_OWNER_DATABASE_URL"}.isdisjoint(
        os.environ
    )
    if in_settings and key is RotatedKey.TOKEN:
        raise OperatorError(
            "without a home, the token key is rotated in the settings: see docs/operating.md"
        )
    if not in_settings and not place.is_running:
        raise OperatorError(f"there is no Starfold running in {place.path}: start it first")
    alone = nullcontext() if in_settings else place.rotation()
    with alone, recorded(place, "key rotate", key=key.value):
        if in_settings:
            _rewrap(place, settings_from_environment(SealingSettings))
        elif key is RotatedKey.TOKEN:
            rotate_token(place)
        else:
            _rotate_sealing(place)


def _rotate_sealing(place: Home) -> None:
    _restart_with(place, promoted(place.secrets(), "sealing"))
    own = place.secrets()
    keys = {"sealing_key": own.sealing_key, "second_sealing_key": own.second_sealing_key}
    _rewrap(place, SealingSettings.model_validate(keys))
    _restart_with(place, rotated(own, "sealing", "finish"))
    typer.echo("the sealing key is rotated; backups from before need the old one")


def rotate_token(place: Home) -> None:
    """Begin or end a rotation; each state is stored as reached once the services run with it."""
    own = place.secrets()
    if own.tokens_rotation == "promoted" and own.tokens_promoted_at:
        finished = rotated(own, "token", "finish")
        _restart_with(place, replace(own, second_token_public_key=""))
        place.replace_secrets(finished)
        typer.echo("the old token key is dropped")
        return
    # Until the services have restarted, the old key signs: its tokens expire later than this.
    own = replace(promoted(own, "token"), tokens_promoted_at="")
    _restart_with(place, own)
    own = replace(own, tokens_promoted_at=utc_now().isoformat(timespec="seconds"))
    place.replace_secrets(own)
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
    typer.echo(f"users' keys wrapped again: {count}; the sealing key wraps all of them")
