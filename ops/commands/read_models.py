"""The read models, for commands that inspect or change them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ops.errors import OperatorError
from ops.home.access import projector_settings
from ops.home.folder import Home
from projector.projections import DEFINITIONS, Projection
from projector.wiring import Wiring, wire


@contextmanager
def wired(home: Home) -> Iterator[Wiring]:
    wiring = wire(projector_settings(home))
    try:
        yield wiring
    finally:
        wiring.close()


def definition_of(projection: str) -> Projection:
    """Return the projection's definition; raise `OperatorError` if there is none."""
    if projection not in DEFINITIONS:
        raise OperatorError(
            f"there is no projection {projection!r}; there are {', '.join(DEFINITIONS)}"
        )
    return DEFINITIONS[projection]
