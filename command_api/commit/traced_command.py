"""A command whose commit has a span, and whose events carry the trace."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from command_api.commit.pending_command import Answer, Outcome, PendingCommand
from shared.log.events import Metadata, TracedMetadata

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from shared.tracing.tracer import Tracer


def command_of(tracer: Tracer | None) -> type[PendingCommand]:
    """Return the class of waiting commands: the plain one if traces are off."""
    return PendingCommand if tracer is None else _traced(tracer)


def _traced(tracer: Tracer) -> type[PendingCommand]:
    # Imported late: they load OpenTelemetry.
    from opentelemetry.trace import get_current_span

    from shared.tracing.tracer import stored_form, trace_id_of

    class TracedCommand(PendingCommand):
        """Made within the span of its request, and settled outside of it.

        Rows of a bulk request share the span of the request: thousands would say no more.
        """

        __slots__ = ("_span", "_trace")

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            if math.isinf(self.deadline_s):
                self._span = get_current_span()
            else:
                self._span = tracer.start(f"commit {type(self.command).__name__}")
                self.settle = partial(_settled, self._span, self.settle)
            self._trace = stored_form(self._span)

        @property
        def origin(self) -> dict[str, str]:
            return {**super().origin, "trace_id": trace_id_of(self._span)}

        def metadata(self, nth: int) -> Metadata:
            plain = super().metadata(nth)
            if self._trace is None:
                return plain
            return TracedMetadata(**msgspec.structs.asdict(plain), trace=self._trace)

    return TracedCommand


def _settled(span: Span, settle: Callable[[Answer], object], answer: Answer) -> None:
    """End the span of a commit, and pass its answer on."""
    if isinstance(answer, Outcome):
        span.set_attribute("starfold.position", answer.position)
    else:
        span.set_attribute("error.type", type(answer).__name__)
    span.end()
    settle(answer)
