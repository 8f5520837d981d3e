"""Effects of commands besides events, in the same transaction."""

from __future__ import annotations

from uuid import UUID

import msgspec

from shared.ids import StreamId, UserId


class Effects(msgspec.Struct):
    """The effects of a batch, collected by its use cases."""

    # Users who get a key for their personal data.
    new_subjects: list[UserId] = []
    # Users whose key, sessions and kept answers are deleted.
    erased_users: list[UserId] = []
    # Reservations of their addresses, which own the kept answers to their sign-ups.
    erased_addresses: list[StreamId] = []
    # Users whose sessions end, each with the session that continues.
    new_passwords: dict[UserId, UUID | None] = {}
    ended_sessions: list[UUID] = []
