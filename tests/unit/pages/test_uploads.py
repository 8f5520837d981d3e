"""Uploads: in memory, a few at a time."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from pages.uploads import Uploads, content_of

BODY = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n%s\r\n--x--\r\n'
)


def request(body: bytes, content_type: str = "multipart/form-data; boundary=x") -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    headers = [(b"content-type", content_type.encode())] if content_type else []
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def test_a_large_file_stays_in_memory() -> None:
    async def received() -> tuple[bool, int]:
        async with Uploads(1).receiving(request(BODY % bytes(3_000_000)), "ann") as form:
            file = form["file"]
            assert isinstance(file, UploadFile)
            return file._in_memory, len(await content_of(form, "file"))

    assert asyncio.run(received()) == (True, 3_000_000)


def test_an_owner_has_one_place_and_all_have_a_few() -> None:
    uploads = Uploads(2)

    async def places() -> list[int]:
        refused = []
        async with AsyncExitStack() as held:
            for owner in ("ann", "ann", "bob", "cy"):
                try:
                    await held.enter_async_context(uploads.receiving(request(BODY % b"1"), owner))
                except HTTPException as error:
                    refused.append(error.status_code)
        async with uploads.receiving(request(BODY % b"1"), "cy") as form:
            assert await content_of(form, "file") == b"1"
            assert await content_of(form, "another") == b""
        return refused

    assert asyncio.run(places()) == [503, 503]


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data"])
def test_a_body_that_is_no_form_is_refused_and_leaves_its_place(kind: str) -> None:
    uploads = Uploads(1)

    async def refused() -> int:
        with pytest.raises(HTTPException) as caught:
            async with uploads.receiving(request(b"x", kind), "ann"):
                pass
        async with uploads.receiving(request(BODY % b"1"), "ann"):
            return caught.value.status_code

    assert asyncio.run(refused()) == 400
