"""Which events an operator asks for, and where a page of them begins."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from shared.ids import Position, StreamId

# What only the event index knows, by its column.
_IDS = ("correlation", "user_id", "movie_id", "actor")


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Events that match all that is given; positions are inclusive, `until` is not.

    `user_id` and `movie_id` select events that name them, `stream` selects one stream's.
    """

    topic: str | None = None
    stream: StreamId | None = None
    position_min: Position | None = None
    position_max: Position | None = None
    since: datetime | None = None
    until: datetime | None = None
    user_id: UUID | None = None
    movie_id: UUID | None = None
    actor: UUID | None = None
    correlation: UUID | None = None

    @property
    def needs_index(self) -> bool:
        """Whether the log's own indexes cannot serve it."""
        return bool(self.ids) or self.since is not None or self.until is not None

    @property
    def ids(self) -> dict[str, UUID]:
        """The ids that only the event index knows, by column, the rarest first."""
        return {name: value for name in _IDS if (value := getattr(self, name)) is not None}


class Page(msgspec.Struct, frozen=True):
    """Positions, newest first; `next_place` is where the next page begins, None after the last.

    A page may be short, or empty, and yet not be the last: each looks at a limited number of
    events.
    """

    positions: list[Position]
    next_place: int | None
