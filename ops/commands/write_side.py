"""The write side for operators' commands: the log and its keys, without the command API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow

from command_api.commit.committer import Committer
from command_api.commit.dispatcher import Dispatcher
from command_api.commit.pending_command import Outcome
from command_api.deciding.principal import Console
from command_api.deciding.use_cases import Command
from command_api.identity.accounts import Accounts
from command_api.identity.service_keys import ServiceKeys
from command_api.store.commit_store import CommitStore
from command_api.store.server import Server
from command_api.store.store import Store
from ops.errors import OperatorError
from ops.home.access import owner_settings, write_side_settings
from ops.home.folder import Home
from ops.settings import WriteSideSettings
from shared.errors import StoreAway
from shared.ids import new_uuid7
from shared.log.codec import Codec
from shared.log.connections import cause_of, connect
from shared.log.sealing import KeyWrap
from shared.process.tasks import Tasks

# Lists of all users take long.
PATIENCE_S = 60.0


class WriteSide:
    """Reads accounts and commits commands beside the running command API."""

    def __init__(
        self,
        store: Store,
        accounts: Accounts,
        committer: Committer,
        *,
        erasure_ledger: Path | None,
    ) -> None:
        self.store = store
        self.accounts = accounts
        self.erasure_ledger = erasure_ledger
        self._committer = committer

    def commit(self, commands: Sequence[Command]) -> list[Outcome]:
        """Commit the commands in order as the console user; raise the first one's refusal."""

        async def run() -> list[Outcome]:
            dispatcher = Dispatcher(self._committer)
            dispatcher.start(Tasks(expected=()))
            try:
                return [
                    await dispatcher.dispatch(command, Console(), request_id=new_uuid7())
                    for command in commands
                ]
            finally:
                await dispatcher.stop()

        return asyncio.run(run())


@contextmanager
def write_side_of(home: Home) -> Iterator[WriteSide]:
    """Yield the write side; raise `OperatorError` if it is not configured or does not answer."""
    with write_side_with(write_side_settings(home)) as write_side:
        yield write_side


@contextmanager
def write_side_with(settings: WriteSideSettings) -> Iterator[WriteSide]:
    """Yield the write side of these settings; raise `OperatorError` if it does not answer."""
    database_url, schema = settings.database_url.get_secret_value(), settings.database_schema
    server = Server(
        database_url,
        schema=schema,
        pooler=settings.database_pooler,
        answer_within_s=PATIENCE_S,
    )
    store = Store(server)
    codec, key_wrap = Codec(), KeyWrap(*settings.sealing_keys)
    secret = settings.reservation_secret.get_secret_value()
    try:
        with _refusals():
            yield WriteSide(
                store,
                Accounts(store, codec, key_wrap, secret),
                Committer(CommitStore(server), codec, key_wrap),
                erasure_ledger=settings.erasure_ledger,
            )
    finally:
        asyncio.run(store.close())


@contextmanager
def owner_keys(home: Home) -> Iterator[ServiceKeys]:
    """Yield the service keys of the schema's owner; raise `OperatorError` as `owner_connection`."""
    settings = owner_settings(home)
    server = Server(
        settings.owner_database_url.get_secret_value(),
        schema=settings.database_schema,
        answer_within_s=PATIENCE_S,
    )
    store = Store(server)
    try:
        with _refusals():
            yield ServiceKeys(store, Codec())
    finally:
        asyncio.run(store.close())


@contextmanager
def owner_connection(home: Home) -> Iterator[psycopg.Connection[TupleRow]]:
    """Yield a connection of the schema's owner, in one transaction.

    Raises `OperatorError` if the server does not answer.
    """
    settings = owner_settings(home)
    with (
        _refusals(),
        connect(
            settings.owner_database_url.get_secret_value(),
            schema=settings.database_schema,
            answer_within_s=PATIENCE_S,
        ) as connection,
    ):
        yield connection


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn the errors of the database into the one line that an operator reads."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise OperatorError(f"this needs the database's owner: {error}") from error
    except StoreAway as error:
        cause = cause_of(error.__cause__ or error)
        raise OperatorError(f"PostgreSQL does not answer: {cause}") from error
    except psycopg.OperationalError as error:
        raise OperatorError(f"PostgreSQL does not answer: {cause_of(error)}") from error


def uuid_of(text: str, what: str) -> UUID:
    """Parse a UUID; raise `OperatorError` if the text is none."""
    try:
        return UUID(text)
    except ValueError:
        raise OperatorError(f"{text!r} is not the id of a {what}") from None
