"""Reading a catalogue's file: what is passed over, and what is named as wrong."""

from __future__ import annotations

import codecs
import gzip
import lzma
from pathlib import Path

import pytest

from ops.errors import OperatorError
from ops.imports.catalogue import read, require_readable

MIRROR = b'{"title": "Mirror", "year": 1975, "external_id": "film:1"}\n'
STALKER = b'{"title": "Stalker", "year": 1979, "external_id": "film:2"}\n'


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + MIRROR + STALKER,
        b"\n" + MIRROR + b"\r\n  \n" + STALKER + b"\n\n",
        MIRROR + STALKER.rstrip(),
    ],
)
def test_a_byte_order_mark_and_blank_lines_are_passed_over(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "catalogue.jsonl"
    file.write_bytes(content)
    assert [movie.title for movie in read(file)] == ["Mirror", "Stalker"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"year": 1975, "external_id": "film:3"}', "title is missing"),
        (b'{"title": "Solaris", "external_id": "film:3"}', "year is missing"),
        (b'{"title": "Solaris", "year": 1972}', "external_id is missing"),
        (b'{"title": "Solaris", "year": 1972, "external_id": "f:3", "star": 1}', "fields: star"),
        (b'{"title": "Solaris", "year": "1972", "external_id": "f:3"}', "Expected `int`"),
        (b'["Solaris", 1972]', "Expected `object`"),
        (b'{"title": "Solaris"', "truncated"),
        (b'{"title": "\xff"}', "utf-8"),
        (b'{"a":' * 100_000, "recursion"),
    ],
)
def test_a_bad_line_is_named_before_anything_starts(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    file = tmp_path / "catalogue.jsonl"
    file.write_bytes(MIRROR + line + b"\n" + STALKER)
    with pytest.raises(OperatorError, match=f"line 2: .*{reason}"):
        require_readable(str(file))


def test_a_file_that_is_not_there_or_torn_is_named(tmp_path: Path) -> None:
    torn_xz = tmp_path / "torn.jsonl.xz"
    torn_xz.write_bytes(lzma.compress(MIRROR * 1_000)[:-20])
    torn_gz = tmp_path / "torn.jsonl.gz"
    torn_gz.write_bytes(gzip.compress(MIRROR * 1_000)[:-20])
    no_gz = tmp_path / "no.jsonl.gz"
    no_gz.write_bytes(MIRROR)
    for file in (torn_xz, torn_gz, no_gz, tmp_path, tmp_path / "missing.jsonl"):
        with pytest.raises(OperatorError, match=f"{file.name} cannot be read"):
            require_readable(str(file))
