"""A log of mixed commands."""

from __future__ import annotations

import random
from datetime import timedelta
from uuid import UUID

from command_api.commit.pending_command import Outcome
from command_api.deciding.rating import WithdrawRating
from command_api.deciding.use_cases import Command
from command_api.deciding.user import ChangeProfile
from shared.ids import MovieId, UserId, rating_stream_id
from tests.support.builders import NOON, a_movie, a_rating, a_user
from tests.support.commits import commit
from tests.support.system import System

# Not a whole second, like nearly every time of the clock: MessagePack stores those in fewer bytes.
NOW = NOON + timedelta(milliseconds=1)
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
                return a_rating(user, movie, self._random.randint(1, 10), now=NOW)

    def made(self, command: Command) -> UUID:
        (outcome,) = commit(self.committer, command)
        assert isinstance(outcome, Outcome)
        return outcome.subject
