"""What the transports do for the client's logic, which itself does no input or output.

A flow is a generator: it yields steps, receives their outcome, and returns its result. The
transport of `Starfold` performs the steps by blocking, the one of `AsyncStarfold` by awaiting.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from starfold_client.errors import ClientError

T = TypeVar("T")

Api = Literal["command", "query"]


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; the outcome is an `httpx.Response` or a raised `httpx.TransportError`."""

    api: Api
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next attempt; `failed` is why the last one was none."""

    seconds: float
    failed: ClientError


@dataclass(frozen=True, slots=True)
class Alone:
    """Run another flow while no other flow of this caller runs alone."""

    flow: Flow[None]


Step = Send | Pause | Alone
Flow = Generator[Step, Any, T]
