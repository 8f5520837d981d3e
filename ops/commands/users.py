"""List users, change their roles, end their sessions, erase them: `starfold users`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from command_api.deciding.credentials import canonical_email
from command_api.privacy.erasure_ledger import ErasureLedger
from command_api.store.subjects import subject_pages
from ops.acts import users as acts
from ops.acts.recorded import recorded
from ops.acts.users import ROLES
from ops.commands.write_side import WriteSide, uuid_of, write_side_of
from ops.errors import OperatorError
from ops.home.access import access_of
from ops.home.client import client_of
from ops.home.folder import Home
from ops.options import DEFAULT_HOME, HomeOption
from ops.tables import print_table
from shared.ids import UserId
from shared.log.events import Role
from shared.process.clock import utc_now
from starfold_client import Starfold

users = typer.Typer(no_args_is_help=True)


@users.command("list")
def list_users(
    home: HomeOption = DEFAULT_HOME,
    role: Annotated[str | None, typer.Option(help="Only users with this role.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of users.")] = 1_000,
) -> None:
    """List users in the order of their sign-up; erased ones are left out."""
    if role is not None:
        _require_role(role)
    with write_side_of(Home(home)) as write_side:
        rows = asyncio.run(_rows(write_side, role, limit))
    print_table(("user", "role", "name", "e-mail", "external id"), rows[:limit])


@users.command("role")
def change_role(
    user: Annotated[str, typer.Argument(help="The user's id or e-mail address.")],
    role: Annotated[str, typer.Argument(help=f"One of {', '.join(ROLES)}.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Give a user another role."""
    chosen = _require_role(role)
    local = Home(home)
    user_id = _user_id(local, user)
    with (
        recorded(local, acts.CHANGE_ROLE, user_id=str(user_id), role=role),
        _client(local) as client,
    ):
        acts.change_role(client, user_id, chosen)
    typer.echo(f"user {user_id} is {role}")


@users.command("end-sessions")
def end_sessions(
    user: Annotated[str, typer.Argument(help="The user's id or e-mail address.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """End all sessions of a user, with their tokens."""
    local = Home(home)
    user_id = _user_id(local, user)
    with recorded(local, acts.END_SESSIONS, user_id=str(user_id)), _client(local) as client:
        acts.end_sessions(client, user_id)
    typer.echo(f"the sessions of user {user_id} have ended")


@users.command("erase")
def erase_user(
    user: Annotated[str, typer.Argument(help="The user's id or e-mail address.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Erase a user for good: personal data becomes unreadable, scores stay in the averages."""
    local = Home(home)
    user_id = _user_id(local, user)
    with recorded(local, acts.ERASE, user_id=str(user_id)), write_side_of(local) as write_side:
        account = asyncio.run(write_side.accounts.by_id(user_id))
        if account is None:
            raise OperatorError(f"there is no user {user_id}")
        write_side.commit([write_side.accounts.erasure(account, utc_now())])
        if write_side.erasure_ledger is not None:
            ledger = ErasureLedger(write_side.erasure_ledger, write_side.store)
            asyncio.run(ledger.note(from_the_start=True))
    typer.echo(f"user {user_id} is erased")


async def _rows(write_side: WriteSide, role: str | None, limit: int) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    async for page in subject_pages(write_side.store, "UserCreated"):
        accounts = await write_side.accounts.several([UserId(stream_id) for _, stream_id in page])
        rows += [
            (user_id, user.role, user.display_name, user.email, user.external_id)
            for user_id, user, _ in accounts
            if role in (None, user.role)
        ]
        if len(rows) >= limit:
            break
    return rows


def _client(home: Home) -> Starfold:
    access = access_of(home)
    return client_of(access.addresses, access.api_key)


def _user_id(home: Home, user: str) -> UserId:
    if "@" not in user:
        return UserId(uuid_of(user, "user"))
    with write_side_of(home) as write_side:
        account = asyncio.run(write_side.accounts.by_email(canonical_email(user)))
    if account is None:
        raise OperatorError(f"no user has the address {user}")
    return account.user_id


def _require_role(role: str) -> Role:
    chosen: Role | None = next((one for one in ROLES if one == role), None)
    if chosen is None:
        raise OperatorError(f"there is no role {role!r}: choose from {', '.join(ROLES)}")
    return chosen
