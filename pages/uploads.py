"""Files that forms send: received into memory, on no disk, and a few at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

FIELDS_MAX = 4
FIELD_BYTES_MAX = 1024


class _InMemory(MultiPartParser):
    # No part is moved to the disk, where its content would outlive it. The guard bounds the body.
    spool_max_size = 0


class Uploads:
    """Receives uploads, `at_once_max` in all and one of an owner; further ones are 503."""

    def __init__(self, at_once_max: int) -> None:
        self._at_once_max = at_once_max
        self._owners: set[Hashable] = set()

    @asynccontextmanager
    async def receiving(self, request: Request, owner: Hashable) -> AsyncIterator[FormData]:
        """Receive a form with a file; its place is free again at the end of the block."""
        if owner in self._owners or len(self._owners) >= self._at_once_max:
            raise HTTPException(503)
        self._owners.add(owner)
        try:
            form = await _form(request)
            try:
                yield form
            finally:
                await form.close()
        finally:
            self._owners.discard(owner)


async def _form(request: Request) -> FormData:
    """Read a form of the kind `multipart/form-data`; any other body is 400."""
    parser = _InMemory(
        request.headers,
        request.stream(),
        max_files=1,
        max_fields=FIELDS_MAX,
        max_part_size=FIELD_BYTES_MAX,
    )
    if "content-type" not in request.headers:
        raise HTTPException(400)
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, error.message) from error


async def content_of(form: FormData, name: str) -> bytes:
    """Return a file's content; empty if there is no such file."""
    file = form.get(name)
    return await file.read() if isinstance(file, UploadFile) else b""
