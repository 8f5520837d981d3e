"""Erase again, after a restore, users whom the backup still held: `starfold erase --reapply`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from command_api.privacy.erasure_ledger import read_ledger
from ops.acts.recorded import recorded
from ops.commands.write_side import WriteSide, write_side_of
from ops.errors import OperatorError
from ops.home.folder import Home
from ops.options import DEFAULT_HOME, HomeOption
from shared.ids import UserId
from shared.process.clock import utc_now

USERS_AT_ONCE = 500

_DELETE_KEYS = b"DELETE FROM subject_keys WHERE user_id = ANY (%s::uuid[])"


class ReapplyResult(NamedTuple):
    """The number of users in the ledger, and how many of them were erased again."""

    named: int
    erased: int


def erase(
    home: HomeOption = DEFAULT_HOME,
    reapply_ledger: Annotated[
        bool, typer.Option("--reapply", help="Erase the users in the ledger again.")
    ] = False,
    ledger: Annotated[
        Path | None, typer.Option(help="Ledger file; default: from the settings.")
    ] = None,
) -> None:
    """Erase again, after a restore, the users who were erased since the backup."""
    if not reapply_ledger:
        raise OperatorError("say what to erase: --reapply erases the users in the ledger again")
    place = Home(home)
    with recorded(place, "erase reapply") as record, write_side_of(place) as write_side:
        path = ledger or write_side.erasure_ledger
        if path is None:
            raise OperatorError("there is no erasure ledger: set STARFOLD_ERASURE_LEDGER")
        if ledger is not None and not ledger.exists():
            raise OperatorError(f"there is no erasure ledger {ledger}")
        # The first erasure creates the file.
        named = read_ledger(path) if path.exists() else []
        if not named:
            typer.echo(f"no users to erase again: {path} is empty")
            return
        reapplied = reapply(write_side, named)
        record.result = reapplied._asdict()
    typer.echo(f"{reapplied.named} in the ledger, {reapplied.erased} erased again")


def reapply(write_side: WriteSide, named: Sequence[UserId]) -> ReapplyResult:
    """Erase the named users that exist; may be interrupted and run beside the command API."""
    erased = 0
    for start in range(0, len(named), USERS_AT_ONCE):
        users = named[start : start + USERS_AT_ONCE]
        accounts = write_side.accounts
        now = utc_now()
        again = asyncio.run(accounts.several(users))
        commands = [accounts.erasure(account, now) for account in again]
        erased += len(write_side.commit(commands))
        # Keys that were restored although the log has the erasure.
        asyncio.run(write_side.store.execute(_DELETE_KEYS, [list(users)]))
    return ReapplyResult(len(named), erased)
