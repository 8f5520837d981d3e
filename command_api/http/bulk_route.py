"""Route of bulk requests, which hold memory by the size of their bodies."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from command_api.bulk.decoder import rows_decoder
from command_api.http.bodies import BulkBody
from command_api.http.body_route import (
    BodyRoute,
    DecodedRequest,
    gone,
    off_loop_if_large,
    says_json,
)
from command_api.http.caller_route import Handler
from command_api.http.dependencies import principal_of, wiring_of
from command_api.identity.limits import note_body_bytes

# Splitting this many bytes into rows takes the event loop less than a millisecond.
SPLIT_ON_LOOP_BYTES_MAX = 256 * 1024


class BatchRoute(BodyRoute):
    """Looks for room before it reads the body, and takes a place of the caller's once the body is
    there.
    """

    def answering(self) -> Handler:
        handle = super(BodyRoute, self).answering()
        assert self.body_field is not None
        body_type: Any = self.body_field.field_info.annotation
        assert issubclass(body_type, BulkBody)
        decode = rows_decoder(body_type)

        async def handle_where_there_is_room(request: Request) -> Response:
            principal = await principal_of(request)
            wiring, caller = await wiring_of(request), principal.actor
            assert caller is not None  # No bulk route may be called without a credential.
            wiring.batch_room.require_place(caller)
            try:
                body = await wiring.batch_room.received(caller, request.stream())
            except ClientDisconnect as error:
                raise gone() from error
            with wiring.batch_room.entered(caller):
                note_body_bytes(request.scope, len(body))
                value: dict[str, list[object]] | None = None
                if body and says_json(request):
                    value = await off_loop_if_large(
                        decode, body, on_loop_bytes_max=SPLIT_ON_LOOP_BYTES_MAX
                    )
                    rows = len(value[body_type.FIELD])
                    wiring.rate_limits.charge_rows(request.scope, principal, rows)
                return await handle(DecodedRequest(request, body, value))

        return handle_where_there_is_room
