"""The number of connections that this process may have, by its limit of file descriptors."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from typing import NamedTuple

import structlog

# For connections to servers, files, pipes, and connections that are being refused.
RESERVED_MIN = 64
# Live updates may take this share of all connections; the rest serves requests.
STREAMS_SHARE = 0.75
UNLIMITED = 1 << 20
# Limits to try on systems that name none, or refuse the one that they name.
_TRIED = (UNLIMITED, 65_536, 10_240)

log = structlog.get_logger()


class Descriptors(NamedTuple):
    """The limit of this process, and the numbers derived from it."""

    limit: int

    @property
    def connections_max(self) -> int:
        return max(self.limit - max(RESERVED_MIN, self.limit // 16), 1)

    @property
    def streams_max(self) -> int:
        return max(int(self.connections_max * STREAMS_SHARE), 1)


def descriptors() -> Descriptors:
    """Return the current limit of this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Descriptors(UNLIMITED if soft == resource.RLIM_INFINITY else soft)


def raise_descriptors() -> Descriptors:
    """Raise the soft limit to the hard one, as far as the system allows, and log the result.

    Processes started later inherit it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = hard == resource.RLIM_INFINITY
    for wanted in _TRIED if unlimited or sys.platform == "darwin" else (hard,):
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            break
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            break
    found = descriptors()
    log.info(
        "descriptors_limited",
        before=soft,
        limit=found.limit,
        connections_max=found.connections_max,
        streams_max=found.streams_max,
    )
    return found
