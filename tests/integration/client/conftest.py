from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from starfold_client import AsyncStarfold, Starfold
from tests.support.api import Api
from tests.support.both_clients import Clients

Connect = Callable[..., Starfold]


@pytest.fixture(params=[Starfold, AsyncStarfold], ids=["blocking", "awaiting"])
def clients(request: pytest.FixtureRequest) -> Iterator[Clients]:
    """Makes clients of each kind."""
    made = Clients(request.param)
    yield made
    made.close()


@pytest.fixture
def connect(api: Api, clients: Clients) -> Connect:
    """Makes clients of a running system."""

    def connect(**options: Any) -> Starfold:
        return clients(str(api.command.base_url), str(api.query.base_url), **options)

    return connect


@pytest.fixture
def service(api: Api, connect: Connect) -> Starfold:
    """A client that may do everything that a service may."""
    return connect(api_key=api.service["Authorization"].removeprefix("Bearer "))
