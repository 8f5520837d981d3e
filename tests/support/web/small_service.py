"""A service with the operations of a test, open to every caller."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.types import Lifespan, Scope

from shared.web.answer import Answer, Fields
from shared.web.application import Respond, Service
from shared.web.cross_origin import CrossOrigin
from shared.web.openapi import Admission
from shared.web.operation import Request


class OpenGate:
    """Admits every caller."""

    async def __call__(self, request: Request[Any, Any], respond: Respond) -> Answer:
        return await respond(request)

    def charge_address(self, _scope: Scope, fields: Fields) -> None:
        fields.append((b"ratelimit", b"none"))


def small_service(room: type, lifespan: Lifespan[FastAPI] | None = None) -> Service:
    """Return a service that answers the operations of a room."""
    service = Service(
        [room],
        title="Test",
        description="A test",
        lifespan=lifespan,
        body_bytes_max=1_000,
        access_log=False,
        cross_origin=CrossOrigin("", (), ()),
        tags={"t": "Things"},
        admission=lambda _access: Admission(),
    )
    service.serve([room()], OpenGate())
    return service
