"""Parameter types that are stricter than pydantic's own.

Pydantic reads `0` as a day of 1970; `shared/web/parameter_types.py` has what the APIs share.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from query_api.catalogue.trends import Window
from query_api.redis_reads.freshness import parse_position
from shared.errors import InvalidInput
from shared.ids import POSITION_MAX, START, Position
from shared.web.openapi import AT_LEAST_HEADER
from shared.web.operation import Header, Parameters
from shared.web.parameter_types import WHOLE, Limit

# Ids in a list of movies.
MOVIES_MAX = 100
MOVIES_CHARS_MAX = 37 * MOVIES_MAX
LIMIT_DEFAULT = 20
TEXT_CHARS_MAX = 200
ID_CHARS_MAX = 100
YEAR_MAX = 9_999

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# C0, delete and C1.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def movie_ids(text: str, *, pointer: str) -> list[bytes]:
    """Return the ids in a comma-separated list; raise `InvalidInput` for anything else."""
    parts = [part.strip(" ") for part in text.split(",")]
    if not all(map(_UUID.fullmatch, parts)):
        detail = "these are not comma-separated ids"
        raise InvalidInput(detail, pointer=pointer)
    if len(parts) > MOVIES_MAX:
        detail = f"{len(parts)} movies are more than {MOVIES_MAX}"
        raise InvalidInput(detail, pointer=pointer)
    return [UUID(part).bytes for part in parts]


def _day(value: object) -> object:
    if not isinstance(value, str) or _DAY.fullmatch(value) is None:
        raise PydanticCustomError("day", "this is not a day as YYYY-MM-DD")
    return value


def _true_or_false(value: object) -> object:
    if value not in ("true", "false"):
        raise PydanticCustomError("boolean", "this is neither true nor false")
    return value == "true"


def _without_controls(value: str) -> str:
    if _CONTROLS.search(value) is not None:
        raise PydanticCustomError("control_character", "this holds a control character")
    return value


Year = Annotated[
    Annotated[int, Field(ge=0, le=YEAR_MAX), WHOLE] | None,
    Field(description="A year of release, inclusive"),
]
Text = Annotated[
    str | None,
    AfterValidator(_without_controls),
    Field(
        min_length=1,
        max_length=TEXT_CHARS_MAX,
        json_schema_extra={"pattern": r"^[^\x00-\x1f\x7f-\x9f]+$"},
    ),
]
AsOf = Annotated[
    date | None,
    BeforeValidator(_day),
    Field(description="The statistics at the end of this UTC day; default: now"),
]
After = Annotated[
    Annotated[int, Field(ge=0, le=POSITION_MAX), WHOLE] | None,
    Field(description="The position to continue from; default: the current one"),
]
MovieIds = Annotated[
    str | None,
    Field(
        max_length=MOVIES_CHARS_MAX,
        description=f"Ids of at most {MOVIES_MAX} movies, separated by commas; default: all",
    ),
]
Count = Annotated[
    bool,
    BeforeValidator(_true_or_false),
    Field(description="Whether to state the length of the whole list as `count`"),
]
CatalogueId = Annotated[str, Field(max_length=ID_CHARS_MAX)]
ChangedSince = Annotated[
    Annotated[int, Field(ge=0, le=POSITION_MAX), WHOLE] | None,
    Field(description="The position of the last change that the caller knows; 0 for none"),
]
RatedInDays = Annotated[
    Annotated[Window, WHOLE] | None,
    Field(description="Order by the number of ratings in this many days, today among them"),
]
Cursor = Annotated[str | None, Field(description="`next_cursor` of the previous page")]


class Read(Parameters):
    """The parameters of every read."""

    at_least: Annotated[
        Position,
        Header(AT_LEAST_HEADER),
        BeforeValidator(parse_position),
        Field(
            description="Wait until the read model has applied this position",
            json_schema_extra={"format": "int64", "minimum": START, "maximum": POSITION_MAX},
            examples=[1],
        ),
    ] = START


class ListRead(Read):
    """The parameters of every list."""

    cursor: Cursor = None
    limit: Limit = LIMIT_DEFAULT

    def require_alone(self, parameter: str, beside: set[str]) -> None:
        """Raise `InvalidInput` if any but these parameters is given beside one."""
        others = sorted(self.model_fields_set - beside)
        if others:
            detail = f"{parameter} takes no {others[0]} beside it"
            raise InvalidInput(detail, pointer=f"/query/{parameter}")


class ChangesRead(ListRead):
    """The parameters of a list that can be read in the order of change."""

    changed_since: ChangedSince = None

    @property
    def since(self) -> Position | None:
        """`changed_since`; raises `InvalidInput` with an order or a filter beside it."""
        if self.changed_since is None:
            return None
        of_every_list = {"changed_since", "user_id", *ListRead.model_fields}
        self.require_alone("changed_since", of_every_list)
        return Position(self.changed_since)
