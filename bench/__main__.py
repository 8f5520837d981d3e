"""Measure the rows of the benchmark and print a table: `python -m bench [ROW...]`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType, ModuleType
from typing import Annotated

import msgspec
import structlog
import typer
from rich.console import Console

from bench import catalogue
from bench.bench import Bench
from bench.findings import Finding, notes, table
from bench.rows import (
    abuse,
    batch,
    cost,
    crud,
    films,
    follow,
    get,
    grown,
    half,
    hot,
    imports,
    large,
    large_reads,
    memory,
    pages,
    put,
    replay,
    switch,
    visible,
)
from bench.seed import fill_crud, seed
from bench.stack import Stack
from shared.process.gc_tuning import tune_collector

# In the order of the runs: `batch` seeds the data set, and `memory` needs it unchanged.
ROWS: dict[str, ModuleType] = {
    "batch": batch,
    "memory": memory,
    "get": get,
    "put": put,
    "cost": cost,
    "half": half,
    "hot": hot,
    "visible": visible,
    "follow": follow,
    "replay": replay,
    "switch": switch,
    "abuse": abuse,
    # Adds ratings to both.
    "crud": crud,
    "grown": grown,
    "films": films,
    "imports": imports,
    "large": large,
    "large_reads": large_reads,
    "pages": pages,
}
# Run only on request: they take minutes, and `pages` needs a Chromium.
LONG = frozenset({"abuse", "films", "grown", "imports", "large", "large_reads", "pages"})
ROUNDS_MIN = 3
# If the output is not a terminal.
OUTPUT_COLUMNS = 150


def bench(
    rows: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(ROWS)}.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Each thing is measured so often.")] = 3,
    size: Annotated[
        float, typer.Option(min=0.001, max=1, help="For `imports`: the share of MovieLens 32M.")
    ] = 1.0,
    json: Annotated[Path | None, typer.Option(help="A file for the findings.")] = None,
) -> None:
    """Measure ratios to plain references in the same run, as medians of the rounds."""
    wanted = rows or [name for name in ROWS if name not in LONG]
    unknown = set(wanted).difference(ROWS)
    if unknown:
        raise typer.BadParameter(f"there are only {', '.join(ROWS)}")
    console = Console(width=None if sys.stdout.isatty() else OUTPUT_COLUMNS)
    started = time.monotonic()
    load_before = os.getloadavg()[0]
    findings = _measured(wanted, rounds, size, Console(stderr=True))
    console.print(table(findings))
    console.print(notes(findings), highlight=False)
    console.print(
        f"{os.cpu_count()} cores, load {load_before:.1f} before; {rounds} rounds,"
        f" {time.monotonic() - started:.0f} s"
    )
    if rounds < ROUNDS_MIN:
        console.print(f"fewer than {ROUNDS_MIN} rounds: these figures say little")
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(findings)))


def _measured(wanted: list[str], rounds: int, size: float, progress: Console) -> list[Finding]:
    findings: list[Finding] = []
    # One address may read as fast as it can.
    os.environ.setdefault("STARFOLD_READ_LIMIT_ADDRESS", "0")
    with Stack() as stack:
        progress.print("seeding users and movies")
        seeded = seed(stack)
        fill_crud(stack, seeded, catalogue.ratings())
        run = Bench(stack, seeded, rounds, size)
        for name, row in ROWS.items():
            if name in wanted or row is batch:
                progress.print(f"row {name}")
                found = row.run(run)
                findings += found if name in wanted else []
    return findings


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    """Exit through the handler that stops everything."""
    sys.exit(1)


def main() -> None:
    signal.signal(signal.SIGTERM, _on_signal)
    signal.signal(signal.SIGHUP, _on_signal)
    # As in the processes of Starfold and of the peers.
    tune_collector()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    typer.run(bench)


if __name__ == "__main__":
    main()
