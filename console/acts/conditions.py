"""The state that an operator has seen, as a version that their act names in `If-Match`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from command_api.bodies.idempotency_key import Idempotent
from command_api.http.commands import Conditional
from projector.wiring import Wiring
from shared.errors import StaleVersion
from shared.versions import Condition
from shared.web.answer import Answer

VERSION_BYTES = 8


class ActParameters(Idempotent, Conditional):
    """Parameters of every operators' act: a repeat is the same act, on the state that was seen."""


class Subject(NamedTuple):
    """What an act changes: its name, and its current version; None if it does not exist."""

    name: str
    version: Callable[[Wiring], str | None]

    def require(self, condition: Condition | None, wiring: Wiring) -> None:
        """Raise `StaleVersion` if the subject has changed since the operator has seen it."""
        if condition is None or condition.versions is None:
            return
        if self.version(wiring) not in condition.versions:
            raise StaleVersion(f"{self.name} has changed since it was shown")


def version_of(*facts: object) -> str:
    """Return the version of what these facts make up; it changes with any of them."""
    return hashlib.blake2b(msgspec.json.encode(facts), digest_size=VERSION_BYTES).hexdigest()


def tagged(answer: Answer, version: str) -> Answer:
    """Add the version as `ETag`, for `If-Match`."""
    return answer.with_field(b"etag", f'"{version}"')
