"""HTTP/1.1 for both APIs: uvicorn's protocol with limits, whatever the application.

uvicorn waits forever: for a request on a new connection or after its first byte, and for a client
that takes nothing of its answer. It accepts heads of any size, and closes a connection while a body
is still arriving, so that the kernel resets it and the client never reads why its request was
refused. This protocol limits all of that, and makes sure that a refused client can read the answer.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import Any

import structlog
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from shared.errors import TooManyRequests
from shared.web.answer import WHOLE_ANSWERS, Answer, Fields, send_answer
from shared.web.application import answer_headers, request_id_of
from shared.web.problems import problem, problem_of
from shared.web.serving.gathering_transport import GatheringTransport
from shared.web.serving.whole_answer import send_whole

# Head and body: the largest bulk request arrives in this time at two megabits a second.
REQUEST_WITHIN_S = 60.0
# A client that takes less than 64 KiB of a larger answer in this time is disconnected.
STALLED_MAX_S = 30.0
# Request line and fields, with their line ends.
HEAD_BYTES_MAX = 64 * 1024
FIELDS_MAX = 100
# Framing of a chunked body: at most this for each byte of the body, and `HEAD_BYTES_MAX` more.
FRAMING_BYTES_MAX = 16
# After an answer that precedes the end of its request, the rest of the request is read and dropped,
# up to these bytes, this time and this pause.
LINGER_BYTES_MAX = 32 * 1024 * 1024
LINGER_MAX_S = 30.0
LINGER_IDLE_S = 5.0
# Time for a new connection beyond the maximum to send a request and be refused.
CROWDED_WITHIN_S = 5.0
LOGGED_EVERY_S = 10.0
# Names in the lifespan's state: a callback for when the server begins to stop, on its event loop,
# and the gate's `charge_address`, for requests refused before the application.
END_STREAMS = "end_streams"
CHARGE_ADDRESS = "charge_address"

log = structlog.get_logger()

# A name, since `super()` would cost each request a microsecond.
_uvicorn = HttpToolsProtocol


class _Crowd:
    """Logs refused connections, at most once in `LOGGED_EVERY_S`."""

    _reported_at_s = -math.inf

    def report(self, connections: int, now_s: float) -> None:
        if now_s - self._reported_at_s >= LOGGED_EVERY_S:
            self._reported_at_s = now_s
            log.warning("connections_refused", connections=connections)


class GatheringProtocol(HttpToolsProtocol):
    """HTTP/1.1 over a gathering transport; disconnects clients that exceed a limit."""

    transport: GatheringTransport
    # One for the process, as is the maximum.
    _crowd = _Crowd()
    # Start of the current request, or of a new connection's wait; None between requests.
    _coming_since_s: float | None
    _within_s: float
    _look: asyncio.TimerHandle
    # Set while the client does not take its answer.
    _cut_off: asyncio.TimerHandle | None = None
    # The target of the current request so far; set by uvicorn.
    url = b""
    # A lower bound for the bytes of an incomplete message besides its body.
    _framing = 0
    # Bytes of the data just received, and whether a message has ended in it.
    _chunk = 0
    _ended_in_chunk = False
    # Why the current message is refused: the problem's code and detail.
    _refusal: tuple[str, str] | None = None
    _refused = False
    # Drop received data: the request was refused, or answered before its end.
    _drops = False
    _discarded = 0
    _lingers_until_s: float | None = None
    _heard_at_s = 0.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        # Connections are counted here, when they are made.
        self._connections_max = self.limit_concurrency or math.inf
        self.limit_concurrency = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows its base too.
        super().connection_made(GatheringTransport(transport, self.loop, self._linger))
        self._within_s = REQUEST_WITHIN_S
        if len(self.connections) > self._connections_max:
            self._within_s = CROWDED_WITHIN_S
            self.app = self._answer_crowded
            self._crowd.report(len(self.connections), self.loop.time())
        self._coming_since_s = self.loop.time()
        self._look = self.loop.call_later(self._within_s, self._cut_off_if_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._keep()
        super().connection_lost(exc)
        self._look.cancel()

    def data_received(self, data: bytes) -> None:
        if self._drops:
            self._discard(len(data))
            return
        self._chunk = len(data)
        self._ended_in_chunk = False
        _uvicorn.data_received(self, data)
        if self._coming_since_s is not None or not self._ended_in_chunk:
            self._count_framing()

    def on_message_begin(self) -> None:
        _uvicorn.on_message_begin(self)
        self._coming_since_s = self.loop.time()

    def on_headers_complete(self) -> None:
        if len(self.headers) > FIELDS_MAX or (
            self._framing + self._chunk > HEAD_BYTES_MAX and self._head_bytes() > HEAD_BYTES_MAX
        ):
            self._refusal = self._head_refusal()
            raise ValueError("the head is too large")
        _uvicorn.on_headers_complete(self)
        extensions: dict[str, Any] = {WHOLE_ANSWERS: partial(send_whole, self.cycle)}
        self.scope["extensions"] = extensions
        # Trailers go to a separate list, which nobody reads.
        self.headers = []
        # The framing of the body is counted from the next data on.
        self._framing = -self._chunk
        if self.expect_100_continue:
            # If it is refused before its body, the client may or may not still send it.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._framing -= (FRAMING_BYTES_MAX + 1) * len(body)
        if self.cycle.response_complete:
            self._discard(len(body))
        else:
            _uvicorn.on_body(self, body)

    def on_message_complete(self) -> None:
        _uvicorn.on_message_complete(self)
        self._coming_since_s = None
        self._framing = 0
        self._discarded = 0
        self._ended_in_chunk = True
        if self.cycle.response_complete and not self.transport.is_closing():
            # The answer preceded the request's end: uvicorn waits for the next request only from
            # here.
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def send_400_response(self, msg: str) -> None:
        """Refuse what arrives from here on, once earlier requests are answered."""
        self._refused = self._drops = True
        cycle = self.cycle
        answered = cycle is None or cycle.response_complete
        if not answered and cycle.more_body:
            # This request's body is malformed: tell the application that the client disconnected.
            answered = not cycle.response_started
            cycle.disconnected = True
            cycle.message_event.set()
            if not answered:
                self.transport.abort()
        if answered:
            self._say_refusal()
        else:
            cycle.on_response = self._say_refusal

    def pause_writing(self) -> None:
        """Disconnect the client unless it takes its answer in time."""
        super().pause_writing()
        self._cut_off = self.loop.call_later(STALLED_MAX_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._keep()

    def shutdown(self) -> None:
        """Called when the server begins to stop."""
        if self._lingers_until_s is not None:
            self.transport.abort()
            return
        super().shutdown()
        end_streams: Any = self.app_state.get(END_STREAMS)
        if end_streams is not None:
            end_streams()

    def _count_framing(self) -> None:
        """Refuse a message with too many bytes before its body or its end."""
        # A message that began within the received data is counted from the next data on.
        self._framing = 0 if self._ended_in_chunk else self._framing + self._chunk
        if self._framing > HEAD_BYTES_MAX and not self._refused:
            self._refusal = self._head_refusal()
            self.send_400_response("")
        elif self._coming_since_s is None and (self.cycle is None or self.cycle.response_complete):
            # Empty lines between requests: uvicorn has stopped waiting for the next one.
            self._coming_since_s = self.loop.time()

    def _head_refusal(self) -> tuple[str, str]:
        """Return the refusal: of the target if it is most of the head (RFC 9112, 3)."""
        return _TARGET_TOO_LONG if 2 * len(self.url) > HEAD_BYTES_MAX else _TOO_LARGE

    def _head_bytes(self) -> int:
        fields = sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)
        line = len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n\r\n")
        return line + fields

    def _say_refusal(self) -> None:
        if self.transport.is_closing():
            return
        code, detail = self._refusal or _MALFORMED
        response, stated = self._charged(problem(code, detail))
        scope = {"headers": self.headers or []}
        headers = [
            *self.server_state.default_headers,
            *response.fields,
            *answer_headers(request_id_of(scope)),
            *stated,
            (b"connection", b"close"),
        ]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[response.status] + head + b"\r\n" + response.body)
        log.info("request_refused", status=response.status, reason=detail)
        self.transport.close()

    def _charged(self, refusal: Answer) -> tuple[Answer, Fields]:
        """Return the refusal, or the one of its address's rate limit, and the limit's fields.

        Behind proxies the client's address is not known here.
        """
        charge_address = self.app_state.get(CHARGE_ADDRESS)
        stated: Fields = []
        if charge_address is not None and not self.config.proxy_headers:
            try:
                charge_address({"client": self.client}, stated)
            except TooManyRequests as error:
                refusal = problem_of(error)
        return refusal, stated

    async def _answer_crowded(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Refuse a request on a connection beyond the maximum."""
        crowded = problem("overloaded", "this process has reached its maximum of connections")
        response, stated = self._charged(crowded)
        closing = (b"connection", b"close")
        await send_answer(response, send, [*answer_headers(request_id_of(scope)), *stated, closing])

    def _linger(self) -> bool:
        """Delay closing until the client has closed: it would lose the answer while it still sends.

        Return whether that is necessary; otherwise the connection may be closed at once.
        """
        cycle = self.cycle
        early = cycle is not None and cycle.response_complete and cycle.more_body
        if not early and not self._refused:
            return False
        if self._lingers_until_s is None:
            self._unset_keepalive_if_required()
            self._heard_at_s = self.loop.time()
            self._lingers_until_s = self._heard_at_s + LINGER_MAX_S
            self._look.cancel()
            self._look = self.loop.call_later(LINGER_IDLE_S, self._stop_lingering)
            self._drops = True
            self.flow.resume_reading()
            self.transport.end()
        return True

    def _discard(self, count: int) -> None:
        self._heard_at_s = self.loop.time()
        self._discarded += count
        if self._discarded > LINGER_BYTES_MAX:
            self.transport.abort()

    def _stop_lingering(self) -> None:
        now_s = self.loop.time()
        assert self._lingers_until_s is not None
        left_s = min(self._heard_at_s + LINGER_IDLE_S, self._lingers_until_s) - now_s
        if left_s <= 0:
            self.transport.abort()
        else:
            self._look = self.loop.call_later(left_s, self._stop_lingering)

    def _keep(self) -> None:
        if self._cut_off is not None:
            self._cut_off.cancel()
            self._cut_off = None

    def _cut_off_if_slow(self) -> None:
        """Check periodically, since a timer for each request would cost every request."""
        now_s = self.loop.time()
        since_s = now_s if self._coming_since_s is None else self._coming_since_s
        left_s = since_s + self._within_s - now_s
        if left_s <= 0:
            self.transport.abort()
        else:
            self._look = self.loop.call_later(left_s, self._cut_off_if_slow)


_MALFORMED = ("malformed-request", "the request is not HTTP/1.1")
_TARGET_TOO_LONG = (
    "target-too-long",
    f"the target is most of this head, whose maximum is {HEAD_BYTES_MAX} bytes",
)
_TOO_LARGE = (
    "head-too-large",
    f"a request's head may have {HEAD_BYTES_MAX} bytes and {FIELDS_MAX} fields",
)
