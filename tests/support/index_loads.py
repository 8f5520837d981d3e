"""How often an index of the catalogue is loaded."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from query_api.feed.movie_source import MovieSource
from shared.read_model.checkpoints import Checkpoint


def counted_loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of each partition that is loaded from now on."""
    loads: list[int] = []
    load = MovieSource.load

    async def counted(source: MovieSource, number: int, alive: Callable[[], None]) -> Checkpoint:
        loads.append(number)
        return await load(source, number, alive)

    monkeypatch.setattr(MovieSource, "load", counted)
    return loads
