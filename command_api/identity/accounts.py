"""Look up users, as for a log-in: reads of the event store outside any batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from command_api.deciding.load_result import LoadRequest
from command_api.deciding.state_cache import StateCache
from command_api.deciding.streams import Streams
from command_api.deciding.user import CreateExternalUser, EraseUser, User
from command_api.store.server import StoreConnection
from command_api.store.store import Store
from shared.ids import NO_VERSION, StreamId, UserId, Version, keyed_uuid, new_uuid7
from shared.log.codec import Codec
from shared.log.sealing import KeyWrap, SubjectKeys
from shared.versions import Condition


class Account(NamedTuple):
    """A user at `version` of their stream."""

    user_id: UserId
    user: User
    version: Version = NO_VERSION


class Accounts:
    """The current users of the log."""

    def __init__(
        self, store: Store, codec: Codec, key_wrap: KeyWrap, reservation_secret: bytes
    ) -> None:
        self._store = store
        self._codec = codec
        self._key_wrap = key_wrap
        self._secret = reservation_secret

    def email_stream(self, email: str) -> StreamId:
        """Return the reservation of a canonical e-mail address."""
        return StreamId(keyed_uuid(self._secret, "email", email))

    def external_stream(self, external_id: str) -> StreamId:
        """Return the reservation of another system's id."""
        return StreamId(keyed_uuid(self._secret, "external-id", external_id))

    def log_name(self, credential: str) -> str:
        """Return the name of an e-mail address or key id in logs; it is no stored id."""
        return keyed_uuid(self._secret, "log-in", credential).hex[:12]

    def external_user(
        self, external_id: str, display_name: str, now: datetime
    ) -> CreateExternalUser:
        """Return the command for a user with another system's id; the same id is the same user."""
        return CreateExternalUser(
            user_id=UserId(new_uuid7()),
            external_id=external_id,
            external_stream=self.external_stream(external_id),
            derived_id=UserId(keyed_uuid(self._secret, "external-user", external_id)),
            display_name=display_name,
            now=now,
        )

    def erasure(
        self, account: Account, now: datetime, condition: Condition | None = None
    ) -> EraseUser:
        """Return the command that erases a user and releases their reservations."""
        email, external_id = account.user.email, account.user.external_id
        return EraseUser(
            user_id=account.user_id,
            email_stream=self.email_stream(email) if email else None,
            external_stream=self.external_stream(external_id) if external_id else None,
            condition=condition,
            now=now,
        )

    async def by_email(self, email: str) -> Account | None:
        """Return the existing user who has the address."""
        owner = await self.owner_of(email)
        return None if owner is None else await self.by_id(owner)

    async def owner_of(self, email: str) -> UserId | None:
        """Return the id of the user who has the address, without opening personal data."""
        stream_id = self.email_stream(email)
        loaded = await self._store.load(LoadRequest(latest=[stream_id]))
        keys = SubjectKeys(self._key_wrap, {})
        owner = Streams(loaded, self._codec, keys, StateCache()).reservation(stream_id).owner
        return None if owner is None else UserId(owner)

    async def by_id(
        self, user_id: UserId, connection: StoreConnection | None = None
    ) -> Account | None:
        accounts = await self.several([user_id], connection)
        return accounts[0] if accounts else None

    async def several(
        self, user_ids: Sequence[UserId], connection: StoreConnection | None = None
    ) -> list[Account]:
        """Return the given users that exist, in the given order."""
        stream_ids = [StreamId(user_id) for user_id in user_ids]
        loaded = await self._store.load(
            LoadRequest(whole=stream_ids, subjects=user_ids), connection
        )
        keys = SubjectKeys(self._key_wrap, loaded.wrapped_keys)
        streams = Streams(loaded, self._codec, keys, StateCache())
        accounts = [
            Account(user_id, streams.account(user_id), streams.version(StreamId(user_id)))
            for user_id in user_ids
        ]
        return [account for account in accounts if account.user.present]
