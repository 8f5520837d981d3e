"""Processes that may end by themselves at any moment: kill them, and wait until they are gone."""

from __future__ import annotations

import time
from contextlib import suppress

import psutil


def is_running(process: psutil.Process) -> bool:
    """Return whether the process runs; an ended one that nobody has waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_all(processes: list[psutil.Process]) -> None:
    """Send SIGKILL to each process that still runs."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def wait_gone(processes: list[psutil.Process], within_s: float) -> list[psutil.Process]:
    """Return the processes that still run after that time."""
    give_up_at = time.monotonic() + within_s
    while True:
        running = [process for process in processes if is_running(process)]
        if not running or time.monotonic() > give_up_at:
            return running
        time.sleep(0.05)
