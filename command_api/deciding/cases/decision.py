"""The decision on a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple
from uuid import UUID

from shared.ids import StreamId

Status = Literal["created", "changed", "unchanged"]


class Decision(NamedTuple):
    """The decision on a command.

    `stream_id` is the stream of the event that made the current state, now or before. `version`
    computes the version of the changed subject, for the answer's tag.
    """

    status: Status
    subject: UUID
    stream_id: StreamId
    version: Callable[[], str | None] | None = None
