"""Decode JSON within limits, so that validating a body never costs more than its bytes justify."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from shared.errors import InvalidInput, MalformedJson
from shared.web.problems import InvalidFields

Model = TypeVar("Model", bound=BaseModel)

# Twice the members of any object of the API; pydantic reports every unknown one separately.
MEMBERS_MAX = 64
DEPTH_MAX = 16
# No list in a body or row may have more than a tenth of this.
ITEMS_MAX = 1_000
# Lists and objects of a body; creating an empty one costs a hundred times its two bytes.
CONTAINERS_MAX = 1_000


class Either(NamedTuple):
    """The model of bodies that have a field of this name."""

    field: str
    model: type[Any]


_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def decode_json(content: bytes) -> Any:
    """Decode a body.

    Raises `InvalidInput` beyond the limits, and `MalformedJson` if it is not JSON.
    """
    brackets = _brackets(content)
    if brackets > CONTAINERS_MAX and _brackets(_STRING.sub(b"", content)) > CONTAINERS_MAX:
        raise InvalidInput(f"there are more than {CONTAINERS_MAX:,} lists and objects")
    try:
        value = msgspec.json.decode(content)
    except msgspec.ValidationError as error:
        raise InvalidInput("a number is out of range") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedJson from error
    except RecursionError as error:
        raise too_deep() from error
    # Most bodies have too few colons and brackets to exceed any limit.
    if (
        brackets > DEPTH_MAX
        or content.count(b":") > MEMBERS_MAX
        or content.count(b",") >= ITEMS_MAX
    ):
        _require_bounds(value)
    return value


def validated(model: type[Model], content: bytes, either: Either | None = None) -> Model:
    """Validate a body or a row; raise what `decode_json` raises, and `InvalidFields`."""
    value = decode_json(content)
    if not isinstance(value, dict):
        raise InvalidFields([(("body",), "this should be an object")])
    if either is not None and either.field in value:
        model = either.model
    try:
        made: Model = model.__pydantic_validator__.validate_python(value)
    except ValidationError as error:
        entries = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidFields([(("body", *one["loc"]), one["msg"]) for one in entries]) from error
    return made


def _brackets(body: bytes) -> int:
    return body.count(b"[") + body.count(b"{")


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
