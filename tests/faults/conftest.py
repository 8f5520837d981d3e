"""A local Starfold for a test that hurts it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_starfold import Local


@pytest.fixture
def local() -> Iterator[Local]:
    """In a folder with a short path, for the servers' sockets."""
    folder = Path(tempfile.mkdtemp(prefix="sf-faults-"))
    one = Local(folder / "home")
    try:
        one.up()
        yield one
    finally:
        one.close()
        shutil.rmtree(folder)
