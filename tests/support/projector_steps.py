"""A log of mixed commands and a projector without its process, taken step by step."""

from __future__ import annotations

import random
from uuid import UUID, uuid4

from command_api.commit.pending_command import Outcome
from command_api.deciding.rating import WithdrawRating
from command_api.deciding.use_cases import Command
from command_api.deciding.user import ChangeProfile
from projector.following.follower import Follower
from projector.generations.builder import Builder
from projector.generations.table import Generation
from projector.generations.upkeep import Upkeep
from projector.projections import DEFINITIONS
from projector.wiring import Wiring
from shared.ids import EventId, MovieId, Position, UserId, new_uuid7, rating_stream_id
from shared.log.events import Event, Metadata, RatingSubmitted
from tests.support.commands import NOW, a_movie, a_rating, a_user, commit
from tests.support.system import System

USERS = 12
MOVIES = 8


class History:
    """A log of mixed commands, the same at every run; `go_on` makes it longer."""

    def __init__(self, system: System) -> None:
        self.committer = system.committer()
        self._random = random.Random(7)
        self.users = [UserId(self.made(a_user())) for _ in range(USERS)]
        self.movies = [MovieId(self.made(a_movie())) for _ in range(MOVIES)]

    def go_on(self, commands: int = 200) -> None:
        commit(self.committer, *(self._command() for _ in range(commands)))

    def _command(self) -> Command:
        user, movie = self._random.choice(self.users), self._random.choice(self.movies)
        match self._random.randrange(10):
            case 0:
                stream = rating_stream_id(user, movie)
                return WithdrawRating(user_id=user, movie_id=movie, rating_stream=stream, now=NOW)
            case 1:
                name = f"Ann {self._random.randrange(100)}"
                private = self._random.random() < 0.5
                return ChangeProfile(
                    user_id=user,
                    display_name=name,
                    visibility="private" if private else "public",
                    now=NOW,
                )
            case _:
                return a_rating(user, movie, self._random.randint(1, 10))

    def made(self, command: Command) -> UUID:
        (outcome,) = commit(self.committer, command)
        assert isinstance(outcome, Outcome)
        return outcome.subject


def append_raw(system: System, event: Event, *, topic: str | None = None) -> Position:
    """Append what no decider would have recorded, in a stream of its own."""
    metadata = Metadata(event_id=EventId(new_uuid7()), recorded_at=NOW)
    state = system.codec().encode(event, metadata, {})
    row = (
        system.owner()
        .execute(
            "INSERT INTO events (originator_id, originator_version, topic, state)"
            " VALUES (%s, 1, %s, %s) RETURNING notification_id",
            [uuid4(), topic or type(event).__name__, state],
        )
        .fetchone()
    )
    assert row is not None
    return Position(row[0])


def impossible_rating(user: UserId, movie: MovieId) -> Event:
    """It takes a score away that was never given."""
    return RatingSubmitted(
        user_id=user,
        movie_id=movie,
        half_stars=3,
        rated_at=NOW,
        review=None,
        previous_half_stars=10,
        previous_rated_at=NOW,
    )


def built(wiring: Wiring, projection: str, *, shares: int = 1) -> Generation:
    """A new generation, built and not switched to."""
    generation = wiring.generations.create(
        DEFINITIONS[projection], "replay", shares=shares, switch_when_ready=False
    )
    builder = Builder(wiring.reader, wiring.store, wiring.generations)
    for share in range(shares):
        assert builder.build(projection, generation.number, share)
    found = wiring.generations.get(projection, generation.number)
    assert found is not None
    assert found.state == "following"
    return found


def bootstrapped(wiring: Wiring) -> None:
    """One active generation of each projection, with no projector running."""
    builder = Builder(wiring.reader, wiring.store, wiring.generations)
    upkeep = Upkeep(wiring, builder)
    upkeep.run_once()
    upkeep.run_once()


def follow_to_the_end(follower: Follower, wiring: Wiring) -> None:
    live = [one for one in wiring.generations.all() if one.state != "building"]
    follower.follow(live)
    while follower.run_pass() or follower.lagging:
        follower.follow(live)
