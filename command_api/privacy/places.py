"""A limited number of large reads at once, one a user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Overloaded
from shared.ids import UserId


class Places:
    """The places of one process; `name` is what they are for."""

    def __init__(self, maximum: int, name: str) -> None:
        self._maximum = maximum
        self._name = name
        self._users: set[UserId] = set()

    @contextmanager
    def held(self, user_id: UserId) -> Iterator[None]:
        """Hold a place; raise `Overloaded` if the user has one, or none is free."""
        if user_id in self._users:
            raise Overloaded(f"another {self._name} of this user is in progress already")
        if len(self._users) >= self._maximum:
            raise Overloaded(f"too many {self._name}s are in progress already")
        self._users.add(user_id)
        try:
            yield
        finally:
            self._users.remove(user_id)
