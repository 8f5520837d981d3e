"""Answers of the operators' API that a page passes on."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope, Send

from console.pages.api import PassedOn

REQUEST_ID = "01a21a3b-a183-7a2e-bfbb-370b685f1734"


def test_an_answer_is_sent_part_by_part_as_it_arrives() -> None:
    asked: list[Scope] = []
    sent: list[Message] = []

    async def service(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope)
        own = [(b"content-type", b"application/jsonl"), (b"x-request-id", REQUEST_ID.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": own})
        for number in range(2):
            # Nothing of the parts before is left to be sent.
            assert len(sent) == 1 + number
            body = b"%d\n" % number
            await send({"type": "http.response.body", "body": body, "more_body": not number})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    answer = PassedOn(service, "/v1/operator/events/export", "type=MovieCreated", "Bearer token")
    answer.set_cookie("starfold_console_access", "renewed")
    scope = {"type": "http", "method": "GET", "starfold.request_id": REQUEST_ID, "headers": []}
    asyncio.run(answer(scope, receive, send))
    assert [one.get("body") for one in sent] == [None, b"0\n", b"1\n"]
    names = [name for name, _ in sent[0]["headers"]]
    assert names == [b"content-type", b"set-cookie"]
    assert asked[0]["path"] == "/v1/operator/events/export"
    assert dict(asked[0]["headers"])[b"authorization"] == b"Bearer token"
