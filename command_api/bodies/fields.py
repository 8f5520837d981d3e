"""Types of request fields with their limits, at the edge and nowhere else."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    StringConstraints,
)

from command_api.deciding.credentials import (
    PASSWORD_CHARS_MIN,
    canonical_email,
    canonical_password,
    is_common,
)

TITLE_CHARS_MAX = 300
NAME_CHARS_MAX = 100
REVIEW_CHARS_MAX = 10_000
DESCRIPTION_CHARS_MAX = 5_000
PASSWORD_CHARS_MAX = 1_024
EMAIL_CHARS_MAX = 254
CREDENTIAL_CHARS_MAX = 200
REASON_CHARS_MAX = 500
YEAR_MIN = 1888  # The year of the oldest surviving film.
YEARS_AHEAD_MAX = 5
RATED_AT_MIN = datetime(1970, 1, 1, tzinfo=UTC)
RUNTIME_MIN_MAX = 6_000
LIST_ITEMS_MAX = 100
ALTERNATIVE_TITLES_MAX = 50
TMDB_ID_MAX = 2**31 - 1

# RFC 3339, with fractions as fine as Python parses them.
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?"
    r"([Zz]|[+-][0-9]{2}:?[0-9]{2})"
)
# As in the Stream-Safe Text Format of UAX #15. Normalizing n marks in a row takes n² steps.
COMBINING_IN_A_ROW_MAX = 30

_LINE_CONTROLS = "\n\r\t"
# Letters and symbols that look like a space: Hangul fillers, the empty Braille pattern.
_BLANKS = "\u115f\u1160\u2800\u3164\uffa0"
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

# For the documentation, as precise as a pattern can be: no control characters, and in a line at
# least one character that is no space, mark, format character or blank.
_NO_CONTROLS = {"pattern": r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"}
_LINE = {
    "minLength": 1,
    "pattern": r"^[^\x00-\x1f\x7f-\x9f]*"
    r"[^\s\x00-\x1f\x7f-\xa0\xad\u0300-\u036f\u115f\u1160\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]"
    r"[^\x00-\x1f\x7f-\x9f]*$",
}


def printable(text: str) -> str:
    """Return NFC without outer white space; refuse control characters and lone surrogates."""
    text = _without_controls(text.strip())
    if text.isascii():
        return text
    _require_few_combining_marks(text)
    return unicodedata.normalize("NFC", text)


def _without_controls(text: str) -> str:
    found = _FORBIDDEN.search(text)
    if found is not None:
        raise ValueError(f"holds the control character U+{ord(found[0]):04X}")
    return text


def _require_few_combining_marks(text: str) -> None:
    in_a_row = 0
    for combining_class in map(unicodedata.combining, text):
        in_a_row = in_a_row + 1 if combining_class else 0
        if in_a_row > COMBINING_IN_A_ROW_MAX:
            raise ValueError(f"holds more than {COMBINING_IN_A_ROW_MAX} combining marks in a row")


def _one_line(text: str) -> str:
    if any(character in _LINE_CONTROLS for character in text):
        raise ValueError("holds a line break or a tab")
    text = printable(text)
    if not text:
        raise ValueError("is empty")
    if not any(map(_is_visible, text)):
        raise ValueError("has no visible character")
    return text


def _is_visible(character: str) -> bool:
    """Whether a character is visible; characters newer than this Python's Unicode are."""
    category = unicodedata.category(character)
    return category[0] not in "MZ" and category not in ("Cc", "Cf") and character not in _BLANKS


def _uncommon(password: str) -> str:
    if is_common(canonical_password(password)):
        raise ValueError("is one of the most common passwords: choose another one")
    return password


def _at_most(items_max: int) -> BeforeValidator:
    """Refuse a longer list before each of its items is validated."""

    def few_items(items: Any) -> Any:
        if isinstance(items, list) and len(items) > items_max:
            raise ValueError(f"has {len(items)} items, the maximum is {items_max}")
        return items

    return BeforeValidator(few_items)


def _email(text: str) -> str:
    text = canonical_email(_one_line(text))
    local, at, domain = text.rpartition("@")
    valid = at and local and "." in domain and not any(part == "" for part in domain.split("."))
    if not valid or any(character.isspace() for character in text) or "@" in local:
        raise ValueError("is not an e-mail address")
    return text


def _is_timestamp(value: object) -> object:
    """Refuse a number of seconds, also as text, which pydantic would accept."""
    if isinstance(value, int | float) or (
        isinstance(value, str) and _TIMESTAMP.fullmatch(value) is None
    ):
        raise ValueError("is not a time like 2026-01-31T12:00:00Z")
    return value


def _whole_milliseconds(moment: datetime) -> datetime:
    try:
        moment = moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is out of range") from error
    if moment < RATED_AT_MIN:
        raise ValueError("is before 1970")
    odd = moment.microsecond % 1_000
    return moment.replace(microsecond=moment.microsecond - odd) if odd else moment


def _whole(value: object) -> object:
    """Convert 1979.0 to 1979: JSON does not distinguish them."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _year_not_far_ahead(year: int) -> int:
    latest = _latest_year()
    if year > latest:
        raise ValueError(f"is later than {latest}")
    return year


def _latest_year() -> int:
    return datetime.now(UTC).year + YEARS_AHEAD_MAX


def _documented(schema: dict[str, Any]) -> Any:
    """Add to the schema of a type what its constraints do not say."""
    return Field(json_schema_extra=schema)


Title = Annotated[
    str,
    StringConstraints(max_length=TITLE_CHARS_MAX),
    AfterValidator(_one_line),
    _documented(_LINE),
]
Name = Annotated[
    str,
    StringConstraints(max_length=NAME_CHARS_MAX),
    AfterValidator(_one_line),
    _documented(_LINE),
]
# Why an operator does something.
Reason = Annotated[
    str,
    StringConstraints(max_length=REASON_CHARS_MAX),
    AfterValidator(_one_line),
    _documented(_LINE),
]
Names = Annotated[tuple[Name, ...], Field(max_length=LIST_ITEMS_MAX), _at_most(LIST_ITEMS_MAX)]
AlternativeTitles = Annotated[
    tuple[Title, ...], Field(max_length=ALTERNATIVE_TITLES_MAX), _at_most(ALTERNATIVE_TITLES_MAX)
]
ExternalId = Name
Email = Annotated[
    str,
    StringConstraints(max_length=EMAIL_CHARS_MAX),
    AfterValidator(_email),
    _documented({"format": "email"}),
]
# Passwords may use any script, but no control characters; the most common ones are refused.
Password = Annotated[
    str,
    StringConstraints(min_length=PASSWORD_CHARS_MIN, max_length=PASSWORD_CHARS_MAX),
    AfterValidator(_without_controls),
    AfterValidator(_uncommon),
    _documented(_NO_CONTROLS),
]
Year = Annotated[
    int,
    Field(strict=True, ge=YEAR_MIN),
    BeforeValidator(_whole),
    AfterValidator(_year_not_far_ahead),
    Field(json_schema_extra=lambda schema: schema.update(maximum=_latest_year())),
]
Runtime = Annotated[int, Field(strict=True, ge=1, le=RUNTIME_MIN_MAX), BeforeValidator(_whole)]
ImdbId = Annotated[str, StringConstraints(pattern=r"^tt[0-9]{7,10}$")]
TmdbId = Annotated[int, Field(strict=True, ge=1, le=TMDB_ID_MAX), BeforeValidator(_whole)]
Url = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^https?://[^\s<>\"]+$")]
Description = Annotated[
    str,
    StringConstraints(max_length=DESCRIPTION_CHARS_MAX),
    AfterValidator(printable),
    _documented(_NO_CONTROLS),
]
Review = Annotated[
    str,
    StringConstraints(max_length=REVIEW_CHARS_MAX),
    AfterValidator(printable),
    _documented(_NO_CONTROLS),
]
Score = Annotated[
    float, Field(strict=True, ge=0.5, le=5, multiple_of=0.5, examples=[4.5], allow_inf_nan=False)
]
RatedAt = Annotated[
    AwareDatetime, AfterValidator(_whole_milliseconds), BeforeValidator(_is_timestamp)
]
