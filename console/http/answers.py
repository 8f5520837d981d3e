"""Kinds of answers that several rooms give."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse

from shared.web.answer import Answer, AnswerKind

JSON_LINES = "application/jsonl"


def json_lines_kind(description: str, example: str) -> AnswerKind:
    """Return what the documentation says of an export."""
    headers = ("Cache-Control", "Content-Disposition")
    return AnswerKind(description, headers=headers, example=example, media_type=JSON_LINES)


def json_lines_answer(lines: AsyncIterator[bytes], filename: str) -> Answer:
    """Answer with a file that is sent part by part as it is read."""
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{filename}"',
    }
    return Answer(200, [], stream=StreamingResponse(lines, media_type=JSON_LINES, headers=headers))


def unstored(answer: Answer) -> Answer:
    """Forbid every cache to keep the answer."""
    return answer.with_field(b"cache-control", "no-store")
