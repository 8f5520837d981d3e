"""`given(events).when(command).then(events)` for the deciders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import pytest

from command_api.deciding import movie, rating, user
from shared.ids import Version
from shared.log.events import Event

# Each noun's rules, its initial state, and the commands that it takes.
_NOUNS = (
    (rating, rating.Rating, rating.RatingCommand),
    (user, user.User, user.UserCommand),
    (movie, movie.Movie, movie.MovieCommand),
)


class Decided:
    """What a command came to, given what had happened."""

    def __init__(self, history: Sequence[Event], command: Any) -> None:
        self._history = history
        self._command = command

    def then(self, *expected: Event) -> None:
        assert self._decide() == list(expected)

    def then_nothing(self) -> None:
        assert self._decide() == []

    def then_refused(self, error: type[Exception], match: str | None = None) -> None:
        with pytest.raises(error, match=match):
            self._decide()

    def _decide(self) -> list[Any]:
        for rules, initial, commands in _NOUNS:
            if isinstance(self._command, commands):
                noun: Any = rules
                state = reduce(noun.evolve, self._history, initial())
                if rules is movie:
                    return list(noun.decide(self._command, state, Version(len(self._history))))
                return list(noun.decide(self._command, state))
        raise AssertionError(f"no decider takes {self._command!r}")


class Given:
    def __init__(self, history: Sequence[Event]) -> None:
        self._history = history

    def when(self, command: object) -> Decided:
        return Decided(self._history, command)


def given(*history: Event) -> Given:
    return Given(history)
