"""Build `ops/imports/catalogue.jsonl.xz` from `movies.db` in the bokeh-sampledata wheel (CC0).

Usage: `python -m ops.imports.build_catalogue MOVIES_DB`.
"""

from __future__ import annotations

import lzma
import sqlite3
import sys
from pathlib import Path

import msgspec

CATALOGUE = Path(__file__).with_name("catalogue.jsonl.xz")
CAST_MAX = 5
YEAR_MIN = 1888

_SELECT = """
SELECT "ID" AS id, "imdbID" AS imdb_id, "Title" AS title, "Year" AS year, "Rating" AS certificate,
    "Runtime" AS runtime_min, "Genre" AS genres, "Director" AS directors, "Cast" AS "cast",
    "Language" AS languages, "Country" AS countries
FROM omdb ORDER BY "Year", "Title", "ID"
"""


def main() -> None:
    """Write the compact form: one JSON object a line, without empty fields."""
    connection = sqlite3.connect(sys.argv[1])
    connection.row_factory = sqlite3.Row
    rows = [_row(row) for row in connection.execute(_SELECT)]
    lines = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    CATALOGUE.write_bytes(lzma.compress(lines, preset=9 | lzma.PRESET_EXTREME))
    sys.stdout.write(f"{len(rows)} films, {CATALOGUE.stat().st_size} bytes\n")


def _row(row: sqlite3.Row) -> dict[str, object]:
    movie = {
        "external_id": f"catalogue:{row['id']}",
        "imdb_id": row["imdb_id"],
        "title": row["title"].strip(),
        "year": row["year"],
        "certificate": row["certificate"],
        "runtime_min": int(row["runtime_min"]) if row["runtime_min"] else None,
        "genres": _names(row["genres"]),
        "directors": _names(row["directors"]),
        "cast": _names(row["cast"])[:CAST_MAX],
        "languages": _names(row["languages"]),
        "countries": _names(row["countries"]),
    }
    return {field: value for field, value in movie.items() if value}


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


if __name__ == "__main__":
    main()
