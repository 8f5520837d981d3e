"""Tables with a header: columns by folded name, bounded rows, ragged rows reported."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ops.imports.reading.entry import Entry, Passed, Rows, Unreadable
from ops.imports.reading.files import Files, SourceFile

COLUMNS_MAX = 200
RECORD_BYTES_MAX = 1024**2
HEADER_SHOWN_CHARS_MAX = 300
# A record's fields by folded column name.
Values = Mapping[str, str]


class Table(NamedTuple):
    """The folded column names, their first line as it is, and the rows with their first lines."""

    file: SourceFile
    columns: tuple[str, ...]
    header: str
    rows: Iterator[tuple[int, Values] | Passed]

    def unknown(self) -> Unreadable:
        """Return the error for a header that no variant has."""
        shown = self.header[:HEADER_SHOWN_CHARS_MAX]
        return Unreadable(self.file.name, 1, f"unknown header: {shown}")

    def entries(self, entry: Callable[[int, Values], Entry | Passed]) -> Rows:
        """Make an entry of each row; a `ValueError` is the reason why a row is refused."""
        for row in self.rows:
            if isinstance(row, Passed):
                yield row
                continue
            line, values = row
            try:
                yield entry(line, values)
            except (ValueError, OverflowError) as error:
                yield refused(self.file, line, str(error))


def text_of(line: bytes) -> str:
    """Decode a line of UTF-8, else of cp1252."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="replace")


def folded(name: str) -> str:
    """Return a column's name as letters and digits without case: `Your Rating` is `yourrating`."""
    return "".join(filter(str.isalnum, name.casefold()))


def refused(file: SourceFile, line: int, reason: str) -> Passed:
    return Passed(file=file.name, line=line, status="refused", reason=reason)


def skipped(file: SourceFile, line: int, reason: str) -> Passed:
    return Passed(file=file.name, line=line, status="skipped", reason=reason)


def table(file: SourceFile, *, delimiters: str = ",", skip_lines: int = 0) -> Table:
    """Open a table; the delimiter is the one that its header has most.

    Raises `Unreadable` for a file without a header or with too many columns.
    """
    first = next((text for _, text in _texts(file, skip_lines)), "").strip("\r\n")
    delimiter = max(delimiters, key=first.count)
    rows = records(file, delimiter=delimiter, skip_lines=skip_lines)
    line, names = next(rows, (1, []))
    if not names:
        raise Unreadable(file.name, 1, "the file is empty")
    if "\0" in first:
        raise Unreadable(file.name, 1, "the file has NUL bytes: save it as UTF-8")
    if len(names) > COLUMNS_MAX:
        raise Unreadable(file.name, line, f"{len(names):,} columns: at most {COLUMNS_MAX}")
    columns = tuple(map(folded, names))
    return Table(file, columns, first, _rows(file, columns, rows))


def _rows(
    file: SourceFile, columns: tuple[str, ...], records: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, Values] | Passed]:
    count = len(columns)
    for line, fields in records:
        if not fields:
            continue
        if len(fields) != count:
            yield refused(file, line, f"{len(fields):,} fields instead of {count}")
        elif any("\0" in field for field in fields):
            yield refused(file, line, "the row has a NUL byte")
        else:
            # The first of two columns with the same name counts.
            yield line, dict(zip(reversed(columns), reversed(fields), strict=True))


def records(
    file: SourceFile, *, delimiter: str, skip_lines: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of a file in the form of CSV, with the numbers of their first lines.

    Raises `Unreadable` where the file cannot be read any further.
    """
    record_bytes = 0

    def fed() -> Iterator[str]:
        nonlocal record_bytes
        for number, text in _texts(file, skip_lines):
            record_bytes += len(text)
            if record_bytes > RECORD_BYTES_MAX:
                reason = f"a row of more than {RECORD_BYTES_MAX:,} bytes"
                raise Unreadable(file.name, number, reason)
            yield text

    reader = csv.reader(fed(), delimiter=delimiter)
    line = skip_lines + 1
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise Unreadable(file.name, line, str(error)) from error
        if fields is None:
            return
        yield line, [field.strip() for field in fields]
        line = skip_lines + reader.line_num + 1
        record_bytes = 0


def _texts(file: SourceFile, skip_lines: int = 0) -> Iterator[tuple[int, str]]:
    for number, line in file.lines():
        if number > skip_lines:
            yield number, text_of(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line)


def each(files: Files, chosen: list[SourceFile], read: Callable[[SourceFile], Rows]) -> Rows:
    """Read the chosen files; one of many that cannot be read does not keep back the others.

    Raises `Unreadable` if there is only one, or none.
    """
    if not chosen:
        names = ", ".join(file.name for file in files.files)[:HEADER_SHOWN_CHARS_MAX]
        raise Unreadable(names or "the source", 1, "none of the expected files is there")
    for file in chosen:
        try:
            yield from read(file)
        except Unreadable as error:
            if len(chosen) == 1 and error.line == 1:
                raise
            yield refused(file, error.line, f"{error.reason}; the rest of the file was not read")
