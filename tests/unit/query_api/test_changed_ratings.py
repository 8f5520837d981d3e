"""The order of change of a user's ratings: a mirror that follows it has what the user rated."""

from __future__ import annotations

import random
from uuid import UUID

import pytest

from projector.documents.working_set import Key
from query_api.views.changed_ratings import Change, changes_of, cut_changes
from shared.errors import DocumentDamaged
from shared.ids import START, MovieId, Position
from shared.log.events import Event
from shared.read_model.checksum import checked_positions
from shared.read_model.kinds import POSITIONS, RATINGS, positions_suffixes
from shared.read_model.ranks import checked_rank, half_stars_of
from tests.support.builders import ANN, NOON, rating_submitted, rating_withdrawn, user_created
from tests.support.scenarios.projection_scenario import folded, written

OPERATIONS = 400
# Every two of them share a field.
MOVIES = [MovieId(UUID(int=(copy << 100) + number)) for number in range(8) for copy in (0, 1)]


class Profile:
    """A user's ratings as they are folded, and as counting says."""

    def __init__(self) -> None:
        self.position = 0
        self.scores: dict[MovieId, int] = {}
        self._stored: dict[Key, dict[bytes, int | bytes]] = {}
        self.note(user_created())

    def note(self, event: Event) -> None:
        operations = folded("profiles", self._stored, [event], after=self.position)
        self._stored = written(self._stored, operations)
        self.position += 1

    def rate(self, movie: MovieId, half_stars: int) -> None:
        before = self.scores.get(movie)
        self.scores[movie] = half_stars
        previous = {"previous_half_stars": before, "previous_rated_at": before and NOON}
        self.note(rating_submitted(movie_id=movie, half_stars=half_stars, **previous))

    def withdraw(self, movie: MovieId) -> None:
        before = self.scores.pop(movie, None)
        if before is not None:
            self.note(rating_withdrawn(movie_id=movie, previous_half_stars=before))

    def changes(self, since: Position) -> list[tuple[Change, int | None]]:
        """Return the changes in their order, with the half stars of each rating."""
        ranked = self._stored.get((RATINGS, ANN.hex), {})
        ratings = [(movie, checked_rank(movie, float(rank))) for movie, rank in ranked.items()]
        hashes = [self._stored.get((POSITIONS, one), {}) for one in positions_suffixes(ANN.hex)]
        reply = [part for fields in hashes for pair in fields.items() for part in pair]
        positions = checked_positions(reply, until=Position(self.position))  # type: ignore[arg-type]  # Values of hashes are bytes.
        changes = changes_of(ratings, positions, since)
        return [
            (one, None if one.place is None else half_stars_of(ratings[one.place][1]))
            for one in changes
        ]


class Mirror:
    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._since = Position(0)
        self.scores: dict[MovieId, int] = {}

    def read_page(self, limit: int) -> int:
        """Take in a page; return the number of its changes."""
        after = dict(self._profile.changes(self._since))
        page, _ = cut_changes(list(after), limit)
        assert len({one.position for one in page}) <= limit
        for one in page:
            half_stars, movie = after[one], MovieId(UUID(bytes=one.movie))
            if half_stars is None:
                self.scores.pop(movie, None)
            else:
                self.scores[movie] = half_stars
            self._since = one.position
        return len(page)


@pytest.mark.parametrize("seed", range(5))
def test_a_mirror_that_follows_by_pages_meanwhile_ends_equal(seed: int) -> None:
    drawn = random.Random(seed)
    profile = Profile()
    mirror = Mirror(profile)
    for _ in range(OPERATIONS):
        movie = drawn.choice(MOVIES)
        if drawn.random() < 0.3:
            profile.withdraw(movie)
        else:
            profile.rate(movie, drawn.randint(1, 10))
        if drawn.random() < 0.2:
            mirror.read_page(2)
    while mirror.read_page(2):
        pass
    assert mirror.scores == profile.scores
    late = Mirror(profile)
    while late.read_page(3):
        pass
    assert late.scores == profile.scores


def test_a_lost_rating_or_position_is_damage() -> None:
    one, other = MOVIES[0].bytes, MOVIES[4].bytes
    with pytest.raises(DocumentDamaged):
        changes_of([(one, 1)], {}, START)
    with pytest.raises(DocumentDamaged):
        changes_of([(one, 1)], {one[-3:]: Position(1), other[-3:]: Position(2)}, START)
    withdrawn = {one[-3:]: Position(1), one: Position(2)}
    assert changes_of([], withdrawn, START) == [Change(Position(2), one, None)]
