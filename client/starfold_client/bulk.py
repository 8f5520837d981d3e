"""Rows of bulk requests: cut by number and bytes to what the command API takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from starfold_client.answers import RowResult, RowResults
from starfold_client.errors import UnexpectedAnswer

Row = TypeVar("Row")


@dataclass(frozen=True)
class Bulk(Generic[Row]):
    """What a bulk route takes, and which of its rows may be sent twice without a key."""

    field: str
    rows_max: int
    bytes_max: int
    is_repeatable: Callable[[Row], bool]

    def cutter(self, rows_a_request: int | None) -> Cutter[Row]:
        if rows_a_request is not None and rows_a_request < 1:
            raise ValueError(f"{rows_a_request} rows a request are none")
        return Cutter(self, min(rows_a_request or self.rows_max, self.rows_max))


@dataclass(frozen=True)
class Cut(Generic[Row]):
    """The rows of one request, the first of them the call's row `first`."""

    first: int
    rows: list[Row]
    body: bytes
    is_repeatable: bool

    def results(self, answer: RowResults) -> Iterator[tuple[Row, RowResult]]:
        """Yield each row with its result."""
        results = answer.results
        if len(results) != len(self.rows):
            raise UnexpectedAnswer(f"{len(results)} results for {len(self.rows)} rows")
        for row, result in zip(self.rows, results, strict=True):
            result.index += self.first
            yield row, result


class Cutter(Generic[Row]):
    """Collects rows until they fill a request; a row that is too large by itself goes alone."""

    def __init__(self, bulk: Bulk[Row], rows_max: int) -> None:
        self._bulk = bulk
        self._rows_max = rows_max
        self._head = b'{"%s":[' % bulk.field.encode()
        self._encode = msgspec.json.Encoder().encode
        self._first = 0
        self._clear()

    def add(self, row: Row) -> Cut[Row] | None:
        """Add a row; return the rows before it if they fill a request."""
        encoded = self._encode(row)
        bytes_with = self._bytes + len(encoded) + 1
        is_full = len(self._rows) == self._rows_max or bytes_with > self._bulk.bytes_max
        cut = self.rest() if is_full else None
        self._rows.append(row)
        self._encoded.append(encoded)
        self._bytes += len(encoded) + 1
        return cut

    def rest(self) -> Cut[Row] | None:
        """Return the rows that are left, if there are any."""
        if not self._rows:
            return None
        cut = Cut(
            self._first,
            self._rows,
            self._head + b",".join(self._encoded) + b"]}",
            all(map(self._bulk.is_repeatable, self._rows)),
        )
        self._first += len(self._rows)
        self._clear()
        return cut

    def _clear(self) -> None:
        self._rows: list[Row] = []
        self._encoded: list[bytes] = []
        self._bytes = len(self._head) + 1
