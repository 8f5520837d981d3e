"""Decode JSON within bounds, so that validating a body never costs more than its bytes justify."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from shared.errors import InvalidInput

Model = TypeVar("Model", bound=BaseModel)

# Twice as many as any object of the API has. pydantic reports every unknown member on its own.
MEMBERS_MAX = 64
DEPTH_MAX = 16
# No list of a body, and none in a row, may have more than a tenth of this.
ITEMS_MAX = 1_000
# Lists and objects of a body; making an empty one costs a hundred times what its two bytes do.
CONTAINERS_MAX = 1_000

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def decode_json(body: bytes) -> Any:
    """Return the value, or raise `InvalidInput` beyond the bounds and `RequestValidationError` for
    what is not JSON.
    """
    if _brackets(body) > CONTAINERS_MAX and _brackets(_STRING.sub(b"", body)) > CONTAINERS_MAX:
        raise InvalidInput(f"there are more than {CONTAINERS_MAX:,} lists and objects")
    try:
        value = msgspec.json.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidInput("a number is out of range") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed_json() from error
    except RecursionError as error:
        raise too_deep() from error
    _require_bounds(value)
    return value


def validated(model: type[Model], body: bytes) -> Model:
    """Validate a body or a row; raises what `decode_json` raises, or pydantic's `ValidationError`.

    A body with few colons and brackets is within the bounds, and validated without a detour.
    """
    plain = body.count(b":") <= MEMBERS_MAX and body.count(b"{") + body.count(b"[") <= DEPTH_MAX
    if plain:
        return model.model_validate_json(body)
    return model.model_validate(decode_json(body))


def _brackets(body: bytes) -> int:
    return body.count(b"[") + body.count(b"{")


def malformed_json() -> RequestValidationError:
    return RequestValidationError([{"type": "json_invalid", "loc": ("body",), "msg": "not JSON"}])


def too_deep() -> InvalidInput:
    return InvalidInput(f"lists and objects are nested more than {DEPTH_MAX} deep")


def _require_bounds(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH_MAX + 1):
        level = [one for one in level if isinstance(one, dict | list)]
        if not level:
            return
        for one in level:
            if isinstance(one, dict) and len(one) > MEMBERS_MAX:
                raise InvalidInput(f"an object has more than {MEMBERS_MAX} members")
            if len(one) > ITEMS_MAX:
                raise InvalidInput(f"a list has more than {ITEMS_MAX:,} items")
        level = [
            inner for one in level for inner in (one.values() if isinstance(one, dict) else one)
        ]
    raise too_deep()
