"""The read models, for commands that inspect or change them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ops.home.access import projector_settings
from ops.home.folder import Home
from projector.wiring import Wiring, wire


@contextmanager
def wired(home: Home) -> Iterator[Wiring]:
    wiring = wire(projector_settings(home))
    try:
        yield wiring
    finally:
        wiring.close()
