"""Send an answer that is in one part, with one write to the transport.

uvicorn's `send` takes two messages, and searches every header field with two regular expressions:
a fifth of what a read costs. Here one search of the whole head finds a value with a line break.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from shared.web.answer import Answer, Fields


async def send_whole(cycle: RequestResponseCycle, answer: Answer, more: Fields) -> None:
    """Send an answer, with additional fields, as uvicorn would.

    Any body has its Content-Length among the fields, and a `connection` field says `close`. Raises
    `ValueError` before anything is sent if a field contains a line break or a null character.
    """
    if cycle.flow.write_paused and not cycle.disconnected:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    parts = [STATUS_LINE[answer.status]]
    lines = 2
    says_close = False
    for fields in (cycle.default_headers, answer.fields, more):
        lines += len(fields)
        for name, value in fields:
            if name == b"connection":
                cycle.keep_alive = False
                says_close = True
            parts += (name, b": ", value, b"\r\n")
    if not cycle.keep_alive and not says_close:
        lines += 1
        parts.append(b"connection: close\r\n")
    parts.append(b"\r\n")
    head = b"".join(parts)
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
        raise ValueError("a header field contains a line break or a null character")
    cycle.response_started = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(head + answer.body)
    cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
