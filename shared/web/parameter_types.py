"""Types of parameters that are stricter than pydantic's own.

Pydantic reads UUIDs without hyphens, in braces and as a URN, and `1_0`, digits of other scripts and
`10.0` as whole numbers.
"""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

LIMIT_MAX = 100
UUID_CHARS = 36

_DIGITS = re.compile(r"[0-9]{1,19}")


def whole(text: str) -> int | None:
    """Return the number in a text of 1 to 19 ASCII digits, None for any other text."""
    return int(text) if _DIGITS.fullmatch(text) else None


def _whole(value: object) -> object:
    number = whole(value) if isinstance(value, str) else None
    if number is None:
        raise PydanticCustomError("whole_number", "this is not a whole number of ASCII digits")
    return number


def _with_hyphens(value: object) -> object:
    if isinstance(value, str) and len(value) != UUID_CHARS:
        raise PydanticCustomError(
            "uuid_form", "this is not a UUID of 32 hexadecimal digits and four hyphens"
        )
    return value


# For a field with bounds of its own.
WHOLE = BeforeValidator(_whole)
# The one form that the documents call `format: uuid`.
CanonicalUuid = Annotated[UUID, BeforeValidator(_with_hyphens)]
# The number of items on a page.
Limit = Annotated[int, Field(ge=1, le=LIMIT_MAX), WHOLE]
