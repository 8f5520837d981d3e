"""A system to import to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.importing import Importing
from tests.support.system import System


@pytest.fixture(scope="module")
def importing(servers: Any) -> Iterator[Importing]:
    system = System(servers)
    url = system.start_command_api().url
    with Importing(system, url, url) as api:
        api.movie("Heat", 1995, imdb_id="tt0113277")
        api.movie("Alien", 1979, tmdb_id=348)
        api.movie("Ronin", 1998)
        api.movie("Twins", 1988)
        api.movie("Twins", 1988)
        yield api
        api.inbox.close()
    system.close()
