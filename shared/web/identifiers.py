"""Ids as clients write them: UUIDs in the one form that the documents call `format: uuid`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

UUID_CHARS = 36


def _with_hyphens(value: object) -> object:
    """Refuse text in the forms that pydantic takes too: without hyphens, in braces, as a URN."""
    if isinstance(value, str) and len(value) != UUID_CHARS:
        raise PydanticCustomError(
            "uuid_form", "this is not a UUID of 32 hexadecimal digits and four hyphens"
        )
    return value


CanonicalUuid = Annotated[UUID, BeforeValidator(_with_hyphens)]
