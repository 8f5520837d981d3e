"""Numbers and charts as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from pages.charts import Frame
from starfold_client.answers import Day

FRAME = Frame(640, 220, left=34, bottom=24, top=10, right=8)
STARS_MAX = 5
# The marks in a `User-Agent`; the first one found counts, because browsers name others too.
BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


class Bar(NamedTuple):
    """A row of a histogram; `share` is in percent of the longest one."""

    stars: float
    ratings: int
    share: int


class Point(NamedTuple):
    x: float
    y: float
    day: Day


class Chart(NamedTuple):
    """A line of averages over bars of counts."""

    frame: Frame
    line: str
    points: Sequence[Point]
    bars: Sequence[tuple[float, float, float, float]]
    grid: Sequence[tuple[float, int]]
    labels: Sequence[tuple[float, str]]


def histogram(counts: Sequence[int]) -> list[Bar]:
    """Return a bar for each score, the highest first; `counts` begin with half a star."""
    longest = max(counts, default=0) or 1
    bars = [Bar((i + 1) / 2, count, round(100 * count / longest)) for i, count in enumerate(counts)]
    return bars[::-1]


def chart(days: Sequence[Day]) -> Chart:
    """Draw the average and the count at the end of each period, in the order of time."""
    rated = sorted((one for one in days if one.average is not None), key=lambda one: one.date)
    first, last = rated[0].date.toordinal(), rated[-1].date.toordinal()
    span = max(last - first, 1)
    most = max(one.count for one in rated)

    points = [
        Point(
            FRAME.x((one.date.toordinal() - first) / span),
            FRAME.y((one.average or 0) / STARS_MAX),
            one,
        )
        for one in rated
    ]
    width = max(2.0, min(14.0, (FRAME.width - FRAME.left) / len(points) * 0.7))
    bars = []
    for point in points:
        top = FRAME.y(0.5 * point.day.count / most)
        left = max(round(point.x - width / 2, 1), FRAME.left)
        bars.append((left, top, width, round(FRAME.base - top, 1)))
    return Chart(
        FRAME,
        " ".join(f"{point.x},{point.y}" for point in points),
        points,
        bars,
        [(FRAME.y(stars / STARS_MAX), stars) for stars in range(1, STARS_MAX + 1)],
        [(points[0].x, f"{rated[0].date:%Y}"), (points[-1].x, f"{rated[-1].date:%Y}")],
    )


def spoken_average(value: float | None) -> str:
    """Return an average with two decimals, a dash if there is none."""
    return "–" if value is None else f"{value:.2f}"


def stars(value: float) -> str:
    """Return a score as people say it: `3½ stars`."""
    return f"{halves(value)} star{'' if value in (0.5, 1.0) else 's'}"


def halves(value: float) -> str:
    """Return a score as a short number: `3½`."""
    whole, half = divmod(round(value * 2), 2)
    return f"{whole or ''}{'½' if half else ''}"


def signed(value: float) -> str:
    """Return a difference with its sign, a proper minus included; zero has none."""
    return f"{value:+.2f}".replace("-", "−") if round(value, 2) else "0.00"


def people(count: int, one: str, many: str) -> str:
    """Return a count with its noun: `1 rating`, `2,400 ratings`."""
    return f"{count:,} {one if count == 1 else many}"


def web_address(url: str | None) -> str | None:
    """Return an address of a picture that a browser may load, None for any other text."""
    return url if url and urlsplit(url).scheme == "https" else None


def spoken_day(value: date | datetime) -> str:
    return f"{value.day} {value:%B %Y}"


def spoken_moment(value: datetime) -> str:
    return f"{spoken_day(value)}, {value:%H:%M} UTC"


def device(user_agent: str | None) -> str:
    """Return the browser and the system of a `User-Agent`; one of neither as it is."""
    text = user_agent or ""
    browser = next((name for mark, name in BROWSERS if mark in text), "")
    system = next((name for mark, name in SYSTEMS if mark in text), "")
    return " on ".join(filter(None, (browser, system))) or text or "An unknown device"


def spoken_period(first: date, resolution: str) -> str:
    """Return the period that begins on a day: a month or a year."""
    return f"{first:%Y}" if resolution == "year" else f"{first:%B %Y}"


FILTERS = {
    "average": spoken_average,
    "bars": histogram,
    "chart": chart,
    "day": spoken_day,
    "device": device,
    "halves": halves,
    "moment": spoken_moment,
    "people": people,
    "period": spoken_period,
    "signed": signed,
    "stars": stars,
    "web_address": web_address,
}
