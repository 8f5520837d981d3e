"""An application whose requests have spans."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from starlette.types import Receive, Scope, Send

from shared.web.application import Service

if TYPE_CHECKING:
    from shared.tracing.tracer import Tracer

# Asked every few seconds, by machines.
UNTRACED = frozenset({"/health", "/ready", "/metrics"})


def service_of(tracer: Tracer | None) -> type[Service]:
    """Return the class of an API's application: the plain one if traces are off."""
    return Service if tracer is None else _traced(tracer)


def _traced(tracer: Tracer) -> type[Service]:
    class TracedService(Service):
        async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] in UNTRACED:
                await super()._handle(scope, receive, send)
                return
            traceparent = dict(scope["headers"]).get(b"traceparent")
            with tracer.request(scope["method"], self.route_of(scope), traceparent):
                await super()._handle(scope, receive, send)

        def _ended(
            self, scope: Scope, route: str, status: int, started: float, request_id: UUID
        ) -> None:
            at_least = dict(scope["headers"]).get(b"starfold-at-least")
            tracer.describe_answer(status, request_id, at_least)
            super()._ended(scope, route, status, started, request_id)

    return TracedService
