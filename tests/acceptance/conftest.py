"""A local Starfold for one test; a module may have its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_starfold import Local


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, for the servers' sockets."""
    made = Path(tempfile.mkdtemp(prefix="sf-up-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def local(folder: Path) -> Iterator[Local]:
    one = Local(folder / "home")
    yield one
    one.close()
