"""A local Starfold for a test that hurts it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.support.local_starfold import Local


@pytest.fixture
def local() -> Iterator[Local]:
    """In a folder with a short path, for the servers' sockets.

    Commands that run in this process take its addresses into the environment: for this test alone.
    """
    folder = Path(tempfile.mkdtemp(prefix="sf-faults-"))
    one = Local(folder / "home")
    with patch.dict(os.environ):
        try:
            one.up()
            yield one
        finally:
            one.close()
            shutil.rmtree(folder)
