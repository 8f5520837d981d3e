"""Errors of the event store as callers are told of them."""

from __future__ import annotations

from shared.errors import StarfoldError, StorageFull, Unavailable
from shared.log.connections import is_storage_full

STORAGE_FULL = "the disk of the event store is full: nothing is recorded until there is room"


def store_away(error: BaseException | None = None, *, full: bool = False) -> StarfoldError:
    """Return the answer for an event store that cannot be used, because of the given error.

    `full` says that its disk was full when it was last written to: it may have ended over that.
    """
    if full or is_storage_full(error):
        return StorageFull(STORAGE_FULL)
    return Unavailable("the event store does not answer")
