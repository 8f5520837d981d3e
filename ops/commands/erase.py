"""`starfold erase --reapply`: erase again, after a restore, whom the restored backup still knew."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from command_api.privacy.erasure_ledger import read_ledger
from ops.commands.write_side import WriteSide, write_side_of
from ops.errors import OperatorError
from ops.home.folder import Home
from ops.options import DEFAULT_HOME, HomeOption
from shared.ids import UserId
from shared.process.clock import utc_now

USERS_AT_ONCE = 500

_DELETE_KEYS = b"DELETE FROM subject_keys WHERE user_id = ANY (%s::uuid[])"


class Reapplied(NamedTuple):
    """How many the ledger names, how many of them were there again and are erased now."""

    named: int
    erased: int


def erase(
    home: HomeOption = DEFAULT_HOME,
    reapply_ledger: Annotated[
        bool, typer.Option("--reapply", help="Erase again whom the ledger names.")
    ] = False,
    ledger: Annotated[
        Path | None, typer.Option(help="Another ledger than that of the settings.")
    ] = None,
) -> None:
    """Erase again, after a restore, those who were erased since the backup was made."""
    if not reapply_ledger:
        raise OperatorError("say what to erase: --reapply erases again whom the ledger names")
    with write_side_of(Home(home)) as write_side:
        path = ledger or write_side.erasure_ledger
        if path is None:
            raise OperatorError("no erasure ledger is kept: set STARFOLD_ERASURE_LEDGER")
        if ledger is not None and not ledger.exists():
            raise OperatorError(f"there is no erasure ledger {ledger}")
        # The first erasure makes the file.
        named = read_ledger(path) if path.exists() else []
        if not named:
            typer.echo(f"nobody to erase again: {path} names nobody")
            return
        reapplied = reapply(write_side, named)
    typer.echo(f"{reapplied.named} in the ledger, {reapplied.erased} erased again")


def reapply(write_side: WriteSide, named: Sequence[UserId]) -> Reapplied:
    """May be interrupted and run again, also while the command API serves."""
    erased = 0
    for start in range(0, len(named), USERS_AT_ONCE):
        users = named[start : start + USERS_AT_ONCE]
        accounts = write_side.accounts
        now = utc_now()
        again = asyncio.run(accounts.several(users))
        commands = [accounts.erasure(account, now) for account in again]
        erased += len(write_side.commit(commands))
        # Of users whose erasure is in the restored log, but whose key was restored from elsewhere.
        asyncio.run(write_side.store.execute(_DELETE_KEYS, [list(users)]))
    return Reapplied(len(named), erased)
