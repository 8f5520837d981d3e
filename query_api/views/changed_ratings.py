"""A user's ratings in the order of their last change, withdrawn ones included, for mirrors.

Every page takes all of the user's ratings and positions, in one round trip, and sorts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

import msgspec

from query_api.feed.index_feed import IndexFeed
from query_api.read_limits import SORTED_A_TOKEN, charge_work
from query_api.redis_reads.reader import Reader
from query_api.views.pages import Member, Page, is_erased, is_visible, rating_item
from shared.errors import DocumentDamaged, InvalidInput
from shared.ids import Position
from shared.read_model.keys import PROFILES
from shared.read_model.kinds import POSITION_FIELD_BYTES, PROFILE, STATISTICS, position_field
from shared.web.tokens import Claims

# Maximum positions to sort: one for a rating, one for a rating that was withdrawn.
POSITIONS_MAX = 10_000

_json = msgspec.json.Encoder().encode


class Change(NamedTuple):
    """The last change of a rating; its place among the user's ratings, None if it is withdrawn."""

    position: Position
    movie: bytes
    place: int | None


class ChangedRatings:
    """Builds the pages of this order."""

    def __init__(self, reader: Reader, feed: IndexFeed) -> None:
        self._reader = reader
        self._feed = feed

    async def page(
        self,
        user_id: UUID,
        caller: Claims | None,
        since: Position,
        *,
        limit: int,
        at_least: Position,
    ) -> Page:
        """Return a page; its `items` are None if the user is erased, or may not be seen.

        Raises `InvalidInput` for more than `POSITIONS_MAX` positions.
        """
        index, of_index = self._feed.require(at_least), self._feed.position
        read = await self._reader.changed(
            user_id, since=since, positions_max=POSITIONS_MAX, kinds=(PROFILE.name,)
        )
        profile = read.values[0]
        if profile is None:
            await self._reader.require_absent(PROFILES, user_id, PROFILE.name, STATISTICS.name)
        # The erasure of a user has deleted the positions.
        if profile is None or is_erased(profile) or not is_visible(profile, user_id, caller):
            return Page(read.position, None, None)
        if read.size > POSITIONS_MAX:
            detail = f"at most {POSITIONS_MAX} ratings can be sorted by their last change"
            raise InvalidInput(detail, pointer="/query/changed_since")
        charge_work(read.size // SORTED_A_TOKEN)
        try:
            changes = changes_of(read.ratings, read.positions, since)
        except DocumentDamaged as damaged:
            raise await self._reader.lost(PROFILES, user_id) from damaged
        shown, last = cut_changes(changes, limit)
        reviews = read.reviews or [None] * len(read.ratings)
        items = []
        for position, movie, place in shown:
            if place is None:
                item = _json({"movie_id": UUID(bytes=movie), "withdrawn": True})
            else:
                entry = index.entries.get(movie)
                item = rating_item(entry, read.ratings[place], reviews[place])
            items.append(b'%s,"position":%d}' % (item[:-1], position))
        next_key = None if last is None else (last,)
        newest = max(read.position, index.newest)
        return Page(min(read.position, of_index), items, next_key, newest)


def changes_of(
    ratings: Sequence[Member], positions: Mapping[bytes, Position], since: Position
) -> list[Change]:
    """Return the last change of each rating that changed after `since`, in their order.

    Raises `DocumentDamaged` if a rating has no position, or a position no rating.
    """
    places = {movie: place for place, (movie, _) in enumerate(ratings)}
    withdrawn = {field for field in positions if len(field) > POSITION_FIELD_BYTES}
    fields = {position_field(movie) for movie in places}
    if not fields <= positions.keys():
        raise DocumentDamaged("a rating has no position")
    fields.update(map(position_field, withdrawn))
    if not positions.keys() <= fields | withdrawn:
        raise DocumentDamaged("a position has no rating")
    changes = [
        Change(position, movie, place)
        for movie, place in places.items()
        if (position := positions[position_field(movie)]) > since
    ]
    changes += [
        Change(position, movie, None)
        for movie in withdrawn - places.keys()
        if (position := positions[movie]) > since
    ]
    # No two of them have one movie.
    changes.sort(key=itemgetter(0, 1))
    return changes


def cut_changes(changes: Sequence[Change], limit: int) -> tuple[Sequence[Change], Position | None]:
    """Return the changes at the first `limit` positions, and the last of these if there are more.

    Changes at one position stay together, so that the next page can begin after it.
    """
    positions = 0
    last: Position | None = None
    for place, one in enumerate(changes):
        if one.position != last:
            if positions == limit:
                return changes[:place], last
            positions += 1
            last = one.position
    return changes, None
