"""Tables on a terminal, and tab-separated lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print one line for each row; None is blank, times are UTC."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            print("\t".join(_text(cell) for cell in row))
        return
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*(Text(_text(cell)) for cell in row))
    Console().print(table)


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return cell.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return str(cell)
