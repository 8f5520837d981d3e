"""A gate for applications that a test makes."""

from __future__ import annotations

from typing import Any

from starlette.types import Scope

from shared.web.answer import Answer, Fields
from shared.web.application import Respond
from shared.web.operation import Request


class OpenGate:
    """Admits every caller."""

    async def __call__(self, request: Request[Any, Any], respond: Respond) -> Answer:
        return await respond(request)

    def charge_address(self, _scope: Scope, fields: Fields) -> None:
        fields.append((b"ratelimit", b"none"))
