"""A command that waits for its commit, and its outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from command_api.commit.idempotency import RequestKey
from command_api.deciding.cases.decision import Status
from command_api.deciding.principal import Principal
from command_api.deciding.use_cases import Command
from shared.ids import EventId, Position, new_uuid7
from shared.log.events import Metadata


class Outcome(NamedTuple):
    """The outcome of a command.

    `position` belongs to the event that made the current state, now or before. `version` computes
    the version of the changed subject after the command; None if it has none, or if the outcome was
    kept under an Idempotency-Key.
    """

    status: Status
    subject: UUID
    position: Position
    version: Callable[[], str | None] | None = None


Answer = Outcome | Exception


class PendingCommand:
    """A command waiting for its commit.

    `settle` receives the outcome, once. Its event ids are made once and kept however often it is
    decided again, so that an append whose outcome is unknown can be distinguished from others.
    """

    __slots__ = (
        "_event_ids",
        "command",
        "command_id",
        "deadline_s",
        "keys",
        "principal",
        "request_id",
        "row_bytes",
        "settle",
    )

    def __init__(
        self,
        command: Command,
        principal: Principal,
        *,
        request_id: UUID,
        deadline_s: float,
        settle: Callable[[Answer], object],
        keys: tuple[RequestKey, ...] = (),
        row_bytes: int = 0,
    ) -> None:
        self.command = command
        self.principal = principal
        self.request_id = request_id
        self.command_id = new_uuid7()
        # On the event loop's clock; a command that waits longer is dropped before it is decided.
        self.deadline_s = deadline_s
        self.settle = settle
        # The request's key, or the row's and then the whole bulk request's; empty without a key.
        self.keys = keys
        # The size of the command's bulk row.
        self.row_bytes = row_bytes
        self._event_ids: list[EventId] = []

    @property
    def origin(self) -> dict[str, str]:
        """The ids of the request, as log lines name them."""
        return {"request_id": str(self.request_id)}

    def metadata(self, nth: int) -> Metadata:
        """Return the metadata of the command's n-th event, 0 first."""
        while len(self._event_ids) <= nth:
            self._event_ids.append(EventId(new_uuid7()))
        return Metadata(
            event_id=self._event_ids[nth],
            recorded_at=self.command.now,
            actor=self.principal.actor,
            correlation_id=self.request_id,
            causation_id=self.command_id,
        )
