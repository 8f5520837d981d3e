"""A console of the module's system, and a browser without script that visits it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.api import Api
from tests.support.system import System


@pytest.fixture(scope="module")
def url(module_system: System, api: Api) -> str:
    return module_system.start_console(command_url=str(api.command.base_url).rstrip("/")).url


@pytest.fixture
def visitor(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers={"Origin": url}, timeout=60) as client:
        yield client
