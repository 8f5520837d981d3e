"""Pages of lists: their rows, the key after which they continue, and their position.

A user's ratings come in one round trip; the movies' part of them comes from the catalogue's index,
which has its own position. A page is therefore as old as the older of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, assert_never, get_args
from uuid import UUID

import msgspec

from query_api.catalogue.entry import Entry, rated_part
from query_api.catalogue.index import Filter, Index, Left, Sort
from query_api.catalogue.search import Searches
from query_api.catalogue.search import search as searched
from query_api.catalogue.trends import Window
from query_api.feed.index_feed import IndexFeed
from query_api.read_limits import SORTED_A_TOKEN, charge_work
from query_api.redis_reads.reader import Reader
from query_api.views.cursors import Cursors
from query_api.views.sort_keys import SORTED_MAX, cut, ordered, score_key
from query_api.views.trending import Trending
from shared.ids import START, Position
from shared.log.events import Visibility
from shared.read_model.keys import PROFILES
from shared.read_model.kinds import PROFILE, RATINGS, REVIEWS, STATISTICS
from shared.read_model.ranks import from_rating_rank
from shared.versions import profile_version, rating_version
from shared.web.tokens import Claims

RatingsSort = Literal["newest", "score", "title"]
RATINGS_SORTS: tuple[RatingsSort, ...] = get_args(RatingsSort)
RATINGS_KEY_TYPES: dict[RatingsSort, type[tuple[Any, ...]]] = {
    "newest": tuple[int, bytes],
    "score": tuple[int, int, bytes],
    "title": tuple[str, bytes],
}

_json = msgspec.json.Encoder().encode


class _ProfileHead(msgspec.Struct, gc=False):
    """The part of a profile that decides who may see it and which version it is."""

    display_name: str | None
    visibility: Visibility


_decode_head = msgspec.json.Decoder(_ProfileHead).decode


class _Count(msgspec.Struct, gc=False):
    """The part of statistics that says how many ratings there are."""

    count: int


_decode_count = msgspec.json.Decoder(_Count).decode

Member = tuple[bytes, int]


class _Opinion(msgspec.Struct, gc=False):
    """The user's part of a rating as the API shows it; the movie's part precedes it."""

    score: float
    difference: float | None
    review: str | None
    rated_at: datetime


class Page(NamedTuple):
    """A page; its `items` are None if their owner does not exist or may not be seen.

    It includes everything up to `position` and nothing after `newest`; `START` stands for
    `position`.
    """

    position: Position
    items: list[bytes] | None
    next_key: tuple[Any, ...] | None
    newest: Position = START
    # The version of a single row, for commands.
    version: str | None = None
    # The length of the whole list, if it was asked for.
    total: int | None = None

    def cursor(self, cursors: Cursors, of: str) -> str | None:
        """Return the cursor of the next page, None at the end of the list."""
        return None if self.next_key is None else cursors.seal(of, self.next_key)


class Pages:
    """Builds pages from Redis, through `reader`, and from the catalogue in memory.

    `at_least` is the position that the caller will wait for if the page is older.
    """

    def __init__(self, reader: Reader, feed: IndexFeed) -> None:
        self._reader = reader
        self._feed = feed
        self._searches = Searches()
        self._trending = Trending(reader)

    async def close(self) -> None:
        """End what runs beside the requests."""
        await self._trending.close()

    async def catalogue(
        self,
        sort: Sort | Window,
        wanted: Filter,
        *,
        after: tuple[Any, ...] | None,
        limit: int,
        at_least: Position = START,
        count: bool = False,
    ) -> Page:
        """Return a page of movies; a search is ordered by best match unless `sort` differs."""
        position = self._feed.position
        index = self._feed.require(at_least)
        if isinstance(sort, int):
            await self._trending.update(index)
        search = searched(index, sort, wanted, after=after, limit=limit + 1)
        found = await self._searches.run(search)
        entries, next_key = cut(found, limit)
        items = [entry.item for entry in entries]
        total = await self._total(index, sort, wanted) if count else None
        return Page(position, items, next_key, index.newest, total=total)

    async def _total(self, index: Index, sort: Sort | Window, wanted: Filter) -> int:
        """Return how many movies a filter finds."""
        everything = len(index.entries)
        if not isinstance(sort, int):
            sort = "title"
            if wanted == Filter():
                return everything
        search = searched(index, sort, wanted, after=None, limit=everything + 1)
        return len(await self._searches.run(search))

    def chosen(self, movies: Sequence[bytes], at_least: Position) -> Page:
        """Return the given movies in their order, and where those that left went."""
        position = self._feed.position
        index = self._feed.require(at_least)
        return Page(position, [_item(index, movie) for movie in movies], None, index.newest)

    def changed(self, since: Position, limit: int, at_least: Position) -> Page:
        """Return a page of the movies that changed after a position, in the order of change.

        A change that the index may show before an earlier one of another movie waits for its turn.
        """
        position = self._feed.position
        index = self._feed.require_changes(at_least)
        changes = [(change, change) for change in index.changes.after(since, position, limit + 1)]
        shown, next_key = cut(changes, limit)
        items = [b'%s,"position":%d}' % (_item(index, movie)[:-1], at) for at, movie in shown]
        return Page(position, items, next_key, index.newest)

    def genres(self, after: tuple[int, str] | None, limit: int, at_least: Position) -> Page:
        """Return a page of the genres, the ones with most movies first."""
        position = self._feed.position
        index = self._feed.require(at_least)
        keyed = index.genres.by_key()
        charge_work(len(keyed) // SORTED_A_TOKEN)
        rest = [one for one in keyed if after is None or one[0] > after]
        genres, next_key = cut(rest, limit)
        items = [_json({"genre": genre.name, "count": genre.movies}) for genre in genres]
        return Page(position, items, next_key, index.newest)

    async def ratings(
        self,
        user_id: UUID,
        caller: Claims | None,
        sort: RatingsSort,
        *,
        after: tuple[Any, ...] | None,
        limit: int,
        at_least: Position = START,
        count: bool = False,
    ) -> Page:
        """Return a page of the movies that a user rated."""
        index = self._feed.require(at_least)
        of_index = self._feed.position
        newest = sort == "newest"
        read = await self._reader.page(
            PROFILES,
            user_id,
            RATINGS,
            limit=limit + 1 if newest else SORTED_MAX + 1,
            after=after if newest else None,
            kinds=(PROFILE.name, STATISTICS.name) if count else (PROFILE.name,),
            fields_of=REVIEWS,
        )
        position = min(read.position, of_index)
        if not is_visible(read.values[0], user_id, caller):
            if read.values[0] is None:
                await self._reader.require_absent(PROFILES, user_id, PROFILE.name, STATISTICS.name)
            return Page(read.position, None, None)
        members = read.members
        keyed = [(_key(index, sort, member), place) for place, member in enumerate(members)]
        if not newest:
            keyed = ordered(keyed, sort, after)
        places, next_key = cut(keyed, limit)
        entries, fields = index.entries, read.fields or [None] * len(members)
        items = [
            rating_item(entries.get(members[place][0]), members[place], fields[place])
            for place in places
        ]
        newest_position = max(read.position, index.newest)
        total = _count_in(read.values[1]) if count else None
        return Page(position, items, next_key, newest_position, total=total)


def is_visible(stored: bytes | None, user_id: UUID, caller: Claims | None) -> bool:
    """Whether the caller may see a profile; a private one is visible to its user only.

    Operators see no private profiles either.
    """
    if stored is None:
        return False
    own = caller is not None and caller.user_id == user_id
    return own or _decode_head(stored).visibility == "public"


def is_erased(stored: bytes) -> bool:
    """Whether a profile is of an erased user, whose name is gone."""
    return _decode_head(stored).display_name is None


def version_of_profile(stored: bytes) -> str:
    """Return the version of a profile, computed from the same facts as commands do."""
    head = _decode_head(stored)
    return profile_version(head.display_name, head.visibility)


def version_of_rating(rank: int, review: bytes | None) -> str:
    """Return the version of a rating, computed from the same facts as commands do."""
    rated_at, half_stars = from_rating_rank(rank)
    return rating_version(half_stars, None if review is None else review.decode(), rated_at)


def rating_item(entry: Entry | None, member: Member, review: bytes | None) -> bytes:
    """Encode one rating as the API shows it."""
    movie, rank = member
    rated_at, half_stars = from_rating_rank(rank)
    score = half_stars / 2
    text = None if review is None else review.decode()
    # A movie that is not in the index yet has no title.
    of_movie = rated_part(UUID(bytes=movie)) if entry is None else entry.rated
    average = None if entry is None else entry.ratings.average
    difference = None if average is None else round(score - average, 4)
    return of_movie + _json(_Opinion(score, difference, text, rated_at))[1:]


def left_item(movie: bytes, left: Left) -> bytes:
    """Encode where a movie that left the catalogue went."""
    how = "withdrawn" if left.into is None else "merged"
    return _json({"movie_id": UUID(bytes=movie), "left": how, "into": left.into})


def _item(index: Index, movie: bytes) -> bytes:
    entry = index.entries.get(movie)
    if entry is not None:
        return entry.item
    left = index.left.get(movie)
    return b"null" if left is None else left_item(movie, left)


def _count_in(statistics: bytes | None) -> int | None:
    """Return the number of ratings in a user's statistics; None if they are damaged or parked."""
    return None if statistics is None else _decode_count(statistics).count


def _key(index: Index, sort: RatingsSort, member: Member) -> tuple[Any, ...]:
    movie, rank = member
    match sort:
        case "newest":
            return rank, movie
        case "score":
            return score_key(movie, rank)
        case "title":
            entry = index.entries.get(movie)
            return "" if entry is None else entry.film.title_key, movie
        case _:
            assert_never(sort)
