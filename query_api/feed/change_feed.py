"""The change feed of `changes`: the movies that changed, in the order of their last change.

A release before the order wrote a capped stream of changes instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from query_api.feed.changes import Change
from query_api.redis_reads.damage import Damage
from shared.errors import DocumentDamaged, Unavailable
from shared.ids import START, Position
from shared.read_model.checkpoints import Checkpoint, decode_checkpoint
from shared.read_model.clients import AsyncClient
from shared.read_model.generations import (
    CHANGE_ORDER_SINCE,
    GenerationCopy,
    Layout,
    layout_of,
)
from shared.read_model.keys import CHANGES, PartitionKeys
from shared.read_model.kinds import CHANGE_ORDER, CHANGED_MOVIE_FIELD, CHANGED_MOVIES
from shared.read_model.ranks import RANK_STEP

CHANGES_A_ROUND = 2_000
# Changes from before a load that a reader can resume from.
HISTORY_MAX = 10_000
MOVIE_ID_BYTES = 16


class ReloadNeeded(Exception):
    """Raised when the feed no longer holds the next changes, or another generation is active."""


class ChangedMovies(NamedTuple):
    """The changed movies with the position of each one's last change, up to `last`."""

    last: Position
    movies: Mapping[bytes, Position]


class ChangeFeed:
    """Reads the change feed of one generation of `changes`."""

    def __init__(self, client: AsyncClient, damage: Damage) -> None:
        self._client: Any = client
        self._damage = damage

    async def history(
        self, changes: GenerationCopy, until: Position
    ) -> tuple[Position, list[Change]]:
        """Return the latest changes, and where they start to be complete.

        They are complete after the returned position.
        """
        if changes.definition_version < CHANGE_ORDER_SINCE:
            return await self._streamed_history(changes, until)
        keys, layout = PartitionKeys(CHANGES, changes.number, 0), layout_of(CHANGES, changes)
        with self._damage.contained(keys):
            ranked = await self._client.zrange(
                keys.document(CHANGE_ORDER),
                _rank_after(until) - 1,
                "-inf",
                desc=True,
                byscore=True,
                offset=0,
                num=HISTORY_MAX,
                withscores=True,
            )
        held: list[Change] = []
        for movie, rank in ranked:
            try:
                held.append((Position(layout.rank(movie, rank)), movie))
            except DocumentDamaged as damaged:
                self._damage.found(keys, None, str(damaged))
                break
        else:
            if len(ranked) < HISTORY_MAX:
                return START, held[::-1]
        # Earlier changes of the movies that follow are not there.
        return (held[-1][0] if held else until), held[::-1]

    async def after(self, changes: GenerationCopy, seen: Position) -> ChangedMovies:
        """Return the movies that changed after `seen`.

        A movie whose rank is damaged is left out and reported: after the repair all are read again.
        Raises `ReloadNeeded` if the capped stream of an earlier release may have dropped some
        changes.
        """
        keys, layout = PartitionKeys(CHANGES, changes.number, 0), layout_of(CHANGES, changes)
        if changes.definition_version < CHANGE_ORDER_SINCE:
            return await self._streamed(keys, layout, seen)
        # One transaction: the order has exactly the changes up to the checkpoint.
        with self._damage.contained(keys):
            pipeline = self._client.pipeline(transaction=True)
            pipeline.get(keys.checkpoint)
            pipeline.zrange(
                keys.document(CHANGE_ORDER),
                _rank_after(seen),
                "+inf",
                byscore=True,
                offset=0,
                num=CHANGES_A_ROUND,
                withscores=True,
            )
            checkpoint, ranked = await pipeline.execute()
            applied = decoded_checkpoint(checkpoint).position
        if not ranked:
            return ChangedMovies(max(seen, applied), {})
        changed: dict[bytes, Position] = {}
        for movie, rank in ranked:
            try:
                changed[movie] = Position(layout.rank(movie, rank))
            except DocumentDamaged as damaged:
                self._damage.found(keys, None, str(damaged))
        last = max(changed.values(), default=START)
        if len(ranked) < CHANGES_A_ROUND:
            last = max(last, applied)
        if last > applied or not last:
            with self._damage.contained(keys):
                raise DocumentDamaged("the change feed does not end at its checkpoint")
        return ChangedMovies(max(last, seen), changed)

    async def _streamed_history(
        self, changes: GenerationCopy, until: Position
    ) -> tuple[Position, list[Change]]:
        keys, layout = PartitionKeys(CHANGES, changes.number, 0), layout_of(CHANGES, changes)
        with self._damage.contained(keys):
            entries = await self._client.xrange(keys.document(CHANGED_MOVIES), "-", f"{until}-0")
        complete_after = Position(_entry_position(entries[0]) - 1) if entries else until
        held: list[Change] = []
        for entry in entries:
            try:
                held.append((_entry_position(entry), _entry_movie(layout, entry)))
            except DocumentDamaged as damaged:
                self._damage.found(keys, None, str(damaged))
                complete_after = _entry_position(entry)
                held.clear()
        return complete_after, held

    async def _streamed(self, keys: PartitionKeys, layout: Layout, seen: Position) -> ChangedMovies:
        stream = keys.document(CHANGED_MOVIES)
        # One transaction: the entries are exactly the changes up to the checkpoint.
        with self._damage.contained(keys):
            pipeline = self._client.pipeline(transaction=True)
            pipeline.get(keys.checkpoint)
            pipeline.xrange(stream, f"({seen}-0", "+", count=CHANGES_A_ROUND)
            pipeline.xrange(stream, "-", "+", count=1)
            checkpoint, entries, oldest = await pipeline.execute()
            applied = decoded_checkpoint(checkpoint).position
            if entries and _entry_position(entries[-1]) > applied:
                raise DocumentDamaged("the change feed is ahead of its checkpoint")
        if not entries:
            return ChangedMovies(max(seen, applied), {})
        if _entry_position(oldest[0]) > seen + 1 and await self._has_dropped(stream):
            raise ReloadNeeded
        try:
            changed = {_entry_movie(layout, entry): _entry_position(entry) for entry in entries}
        except DocumentDamaged as damaged:
            self._damage.found(keys, None, str(damaged))
            raise ReloadNeeded from damaged
        last = applied if len(entries) < CHANGES_A_ROUND else _entry_position(entries[-1])
        return ChangedMovies(last, changed)

    async def _has_dropped(self, stream: str) -> bool:
        """Whether the feed has dropped an entry since its generation was followed."""
        about = await self._client.xinfo_stream(stream)
        return bool(about["entries-added"] > about["length"])


def _rank_after(position: Position) -> int:
    """Return the lowest stored rank of a later position: check bits follow the rank."""
    return (position + 1) * RANK_STEP


def decoded_checkpoint(checkpoint: bytes | None) -> Checkpoint:
    """Decode a checkpoint.

    Raises `Unavailable` without one, and `DocumentDamaged` for a damaged one.
    """
    if checkpoint is None:
        raise Unavailable("a read model is being built")
    return decode_checkpoint(checkpoint)


def _entry_position(entry: Sequence[Any]) -> Position:
    """Return the position of a feed entry: its id is `<position>-0`."""
    return Position(int(entry[0].split(b"-")[0]))


def _entry_movie(layout: Layout, entry: Sequence[Any]) -> bytes:
    """Return the movie that changed; raise `DocumentDamaged` if the entry does not name one."""
    stored = entry[1].get(CHANGED_MOVIE_FIELD)
    if stored is None or len(movie := layout.document(stored)) != MOVIE_ID_BYTES:
        raise DocumentDamaged("an entry does not name the movie that changed")
    return movie
