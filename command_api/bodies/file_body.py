"""A body that is a file, of any media type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from shared.web.operation import Request


class FileBody:
    """The operation reads it itself, once there is room."""

    is_bulk = True
    models: Sequence[type[BaseModel]] = ()

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max

    async def read(self, _request: Request[Any, Any]) -> None:
        return None
