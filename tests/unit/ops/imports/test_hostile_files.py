"""Hostile files: refused with a reason, in bounded memory, and nothing is written.

`STARFOLD_HOSTILE_FILES=10000` tries that many files of the fuzzer instead of a few.
"""

from __future__ import annotations

import io
import os
import random
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.errors import OperatorError
from ops.imports.importer import READERS, own_rows
from ops.imports.reading.entry import DataSet, Passed, Source
from ops.imports.reading.files import ENTRIES_MAX, open_files
from ops.imports.report import Report
from tests.unit.ops.imports.test_data_sets import MOVIELENS
from tests.unit.ops.imports.test_formats import IMDB, LETTERBOXD, STARFOLD, TRAKT

FILES = int(os.environ.get("STARFOLD_HOSTILE_FILES", "300"))
MEMORY_BYTES_MAX = 32 * 1024**2
MIB = 1024**2

IMDB_HEADER = b"Const,Your Rating,Date Rated\n"


def read_all(source: Source, path: Path) -> int:
    """Read a source as an import does; return how many rows were refused or skipped."""
    report = Report(io.StringIO())
    with open_files(path) as files:
        reading = READERS[source](files)
        if not isinstance(reading, DataSet):
            own_rows(reading, report)
            return report.rows.total()
        return len(reading.passed) + sum(isinstance(row, Passed) for row in reading.rows)


def archive_of(*entries: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return out.getvalue()


@pytest.fixture
def bounded() -> Iterator[None]:
    """Fail if Python's memory grows beyond the bound."""
    tracemalloc.start()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < MEMORY_BYTES_MAX


HOSTILE: dict[str, tuple[Source, Callable[[], bytes], str]] = {
    "a million columns": ("imdb", lambda: b"a," * 1_000_000, "a line of more than"),
    "many columns": ("imdb", lambda: b"const," * 300 + b"\n", "301 columns"),
    "an endless line": ("csv", lambda: b"x" * 8 * MIB, "a line of more than"),
    "NUL bytes": ("imdb", lambda: b"Const\0,Your Rating\n", "NUL bytes"),
    "UTF-16": ("imdb", lambda: "Const,Your Rating\n".encode("utf-16"), "NUL bytes"),
    "nothing": ("imdb", lambda: b"", "the file is empty"),
    "deep JSON": ("trakt", lambda: b"[" * MIB, "no list of ratings in JSON"),
    "deep JSON in an item": (
        "trakt",
        lambda: b'[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
        "no list of ratings in JSON",
    ),
    "a bomb": (
        "imdb",
        lambda: archive_of(("ratings.csv", b"0" * 64 * MIB)),
        "would unpack to",
    ),
    "a nested archive": (
        "imdb",
        lambda: archive_of(("ratings.zip", archive_of(("ratings.csv", IMDB_HEADER)))),
        "none of the expected files",
    ),
    "a path upwards": ("imdb", lambda: archive_of(("../ratings.csv", b"")), "outside its folder"),
    "an absolute path": ("imdb", lambda: archive_of(("/etc/x.csv", b"")), "outside its folder"),
    "a path with a drive": ("imdb", lambda: archive_of(("C:/x.csv", b"")), "outside its folder"),
    "a path of Windows": ("imdb", lambda: archive_of(("..\\x.csv", b"")), "outside its folder"),
    "a long name": ("imdb", lambda: archive_of(("x" * 300, b"")), "a bad name"),
    "a deep path": ("imdb", lambda: archive_of(("x/" * 20 + "x.csv", b"")), "a bad name"),
    "too many entries": (
        "imdb",
        lambda: archive_of(*((f"{n}.csv", b"") for n in range(ENTRIES_MAX + 1))),
        "more than 10,000 entries",
    ),
    "no end record": ("imdb", lambda: archive_of(("r.csv", IMDB_HEADER))[:-22], "no readable ZIP"),
}


@pytest.mark.parametrize(("source", "content", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_with_a_reason(
    tmp_path: Path, source: Source, content: Callable[[], bytes], reason: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content())
    tracemalloc.start()
    try:
        with pytest.raises(OperatorError, match=reason):
            read_all(source, file)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES_MAX
    finally:
        tracemalloc.stop()
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "row",
    [
        b'tt0113277,"unclosed\n' + b"more lines,1,2\n" * 200_000,
        b"tt0113277,9," + b"x" * MIB + b"\n",
        b"tt0113277,9,\0\n",
        b"tt0113277," + b"9" * 5_000 + b",2020-01-01\n",
        b"tt0113277,9,99999999999-01-01\n",
        b"tt" + b"1" * 5_000 + b",9,2020-01-01\n",
        b"tt0113277,nan,2020-01-01\n",
        b"tt0113277,1e9,2020-01-01\n",
        "tt0113277,\u0669,2020-01-01\n".encode(),
    ],
    ids=["quote", "line", "NUL", "digits", "date", "id", "nan", "exponent", "other digits"],
)
def test_a_hostile_row_is_refused_and_named(tmp_path: Path, row: bytes, bounded: None) -> None:
    file = tmp_path / "ratings.csv"
    file.write_bytes(IMDB_HEADER + row)
    assert read_all("imdb", file) == 1


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_bytes(IMDB_HEADER)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "ratings.csv").symlink_to(secret)
    os.mkfifo(folder / "pipe.csv")
    for path, reason in (
        (folder, "none of the expected files"),
        (folder / "pipe.csv", "neither a file nor a folder"),
    ):
        with pytest.raises(OperatorError, match=reason):
            read_all("imdb", path)


def _bases() -> list[tuple[Source, list[tuple[str, bytes]]]]:
    def coded(content: str | bytes) -> bytes:
        return content.encode() if isinstance(content, str) else content

    bases: list[tuple[Source, list[tuple[str, bytes]]]] = [
        ("imdb", [("ratings.csv", coded(content))]) for content in IMDB.values()
    ]
    bases += [
        ("movielens", [(name, coded(one)) for name, one in files.items()])
        for files in MOVIELENS.values()
    ]
    bases += [
        ("letterboxd", [(name, coded(one)) for name, one in LETTERBOXD.items()]),
        ("trakt", [("ratings-movies.json", coded(TRAKT))]),
        ("csv", [("mine.csv", b"title;year;rating;rated_at\nHeat;1995;4;2024-01-01\n")]),
        ("starfold", [("starfold-export.json", coded(STARFOLD))]),
        ("tmdb", [("r.csv", b"TMDb ID,Type,Name,Your Rating\n949,movie,Heat,9\n")]),
        (
            "netflix",
            [("movie_titles.csv", b"1,1995,Heat\n"), ("mv_1.txt", b"1:\n6,3,2005-09-06\n")],
        ),
    ]
    return bases


_SPLICES = (
    b"\0", b'"', b"\n", b"\r", b",", b"::", b"[", b"{", b"\xff\xfe", b"\xef\xbb\xbf", b"9" * 400,
    b"-1", b"1e400", b"nan", b"null", b"9999-99-99", b"," * 5_000, b"[" * 5_000, b"x" * 300_000,
    b"\xe2\x80\xae", b"../", b"PK\x03\x04", b"0000-00-00", b"true",
)  # fmt: skip


def _mutated(drawn: random.Random, content: bytes) -> bytes:
    spoilt = bytearray(content)
    for _ in range(drawn.randint(1, 6)):
        place = drawn.randint(0, len(spoilt))
        match drawn.randrange(4):
            case 0 if spoilt:
                spoilt[place - 1] = drawn.randrange(256)
            case 1:
                del spoilt[place : place + drawn.randint(1, 40)]
            case 2:
                spoilt[place:place] = drawn.choice(_SPLICES)
            case _:
                end = place + drawn.randint(1, 200)
                spoilt[place:place] = spoilt[place:end] * drawn.randint(1, 50)
    return bytes(spoilt)


def test_a_fuzzer_finds_no_crash_and_no_growth(tmp_path: Path, bounded: None) -> None:
    """Each file is a made-up one of a variant with some bytes spoilt, packed or plain."""
    bases = _bases()
    file = tmp_path / "file"
    for seed in range(FILES):
        drawn = random.Random(seed)
        source, files = drawn.choice(bases)
        target = drawn.randrange(len(files))
        spoilt = [
            (name, _mutated(drawn, content) if number == target else content)
            for number, (name, content) in enumerate(files)
        ]
        content = spoilt[target][1] if drawn.random() < 0.3 else archive_of(*spoilt)
        file.write_bytes(_mutated(drawn, content) if drawn.random() < 0.2 else content)
        try:
            read_all(drawn.choice(list(READERS)) if drawn.random() < 0.1 else source, file)
        except OperatorError:
            pass
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
