"""Values of the formats: scores, times, years, ids; a `ValueError` says what is wrong."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time

NUMBER_CHARS_MAX = 20
TMDB_ID_MAX = 2**31 - 1
_NOON = time(12, tzinfo=UTC)
_NUMBER = re.compile(r"[0-9]{1,10}([.,][0-9]{1,6})?", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_YEAR = re.compile(r"([0-9]{4})([^0-9].*)?", re.ASCII | re.DOTALL)
_IMDB_ID = re.compile(r"tt[0-9]{7,8}", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,10}", re.ASCII)
_CTIME = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-9]{2}:[0-9]{2}:[0-9]{2}) ([0-9]{4})", re.ASCII
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def shown(text: str) -> str:
    """Return a value for an error, cut to a bearable length."""
    return repr(text if len(text) <= NUMBER_CHARS_MAX else f"{text[:NUMBER_CHARS_MAX]}…")


def half_stars_of_stars(text: str) -> int | None:
    """Return a score from 0.5 to 5 stars; None for a film that is not rated (empty, or 0)."""
    value = 0.0 if not text else _number(text)
    half_stars = 2 * value
    if half_stars == 0:
        return None
    if half_stars != int(half_stars) or not 1 <= half_stars <= 10:
        raise ValueError(f"the score {shown(text)} is not from 0.5 to 5 in steps of 0.5")
    return int(half_stars)


def half_stars_of_ten(text: str) -> int | None:
    """Return a score from 1 to 10; None for a film that is not rated (empty, or 0)."""
    value = 0.0 if not text else _number(text)
    if value == 0:
        return None
    if value != int(value) or not 1 <= value <= 10:
        raise ValueError(f"the score {shown(text)} is not a whole number from 1 to 10")
    return int(value)


def noon(text: str) -> datetime | None:
    """Return noon UTC of a day like 2024-03-07, None for an empty text."""
    if not text:
        return None
    if _DAY.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} is not a day like 2024-03-07")
    return datetime.combine(date.fromisoformat(text), _NOON)


def moment(text: str) -> datetime | None:
    """Return a time like 2024-03-07T19:37:27.000Z, None for an empty text."""
    if not text:
        return None
    if len(text) > 40:
        raise ValueError(f"{shown(text)} is not a time")
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{shown(text)} is not a time like 2024-03-07T19:37:27Z") from error
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return parsed.astimezone(UTC)


def noon_or_moment(text: str) -> tuple[datetime | None, bool]:
    """Return a day or a time, and whether it is a day only."""
    if _DAY.fullmatch(text):
        return noon(text), True
    return moment(text), False


def ctime_noon(text: str) -> datetime | None:
    """Return noon UTC of a day like `Sat Mar  4 00:00:00 2017`, None for an empty text."""
    if not text:
        return None
    found = _CTIME.fullmatch(text)
    if found is None or found[1] not in _MONTHS:
        raise ValueError(f"{shown(text)} is not a time like Sat Mar  4 00:00:00 2017")
    day = date(int(found[4]), _MONTHS.index(found[1]) + 1, int(found[2]))
    return datetime.combine(day, _NOON)


def unix_moment(text: str) -> datetime:
    """Return the time of seconds since 1970."""
    try:
        return datetime.fromtimestamp(_number(text), UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(f"{shown(text)} is out of range") from error


def year(text: str) -> int | None:
    """Return the first year of a text such as `2013-2023`, None if it has none."""
    found = _YEAR.fullmatch(text.strip())
    return int(found[1]) if found else None


def imdb_id(text: str) -> str | None:
    """Return an IMDb id, None for an empty text."""
    if text and _IMDB_ID.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} is not an IMDb id like tt0113277")
    return text or None


def imdb_id_of_digits(text: str) -> str | None:
    """Return the IMDb id of digits without `tt`, None for an empty text."""
    return imdb_id(text if not text or text.startswith("tt") else f"tt{text.zfill(7)}")


def tmdb_id(text: str) -> int | None:
    """Return a TMDB id, None for an empty text."""
    if not text:
        return None
    if _DIGITS.fullmatch(text) is None or not 1 <= int(text) <= TMDB_ID_MAX:
        raise ValueError(f"{shown(text)} is not a TMDB id")
    return int(text)


def own_id(text: str) -> str:
    """Return a source's own numeric id of a user or film."""
    if _DIGITS.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} is not an id")
    return text


def _number(text: str) -> float:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} is not a number")
    return float(text.replace(",", "."))
