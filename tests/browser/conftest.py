"""Chromium for the tests of the pages; without one they do not run, and one line says so.

With `STARFOLD_BROWSER=required` a missing Chromium is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import chromium


def _chromium() -> str | None:
    """Return the path of a Chromium that starts; half an installation does not count."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found and subprocess.run([found, "--version"], capture_output=True).returncode == 0:
            return found
    return None


CHROMIUM = _chromium()
collect_ignore_glob = [] if CHROMIUM else ["test_*.py"]


def pytest_configure() -> None:
    if CHROMIUM is None and os.environ.get("STARFOLD_BROWSER") == "required":
        raise pytest.UsageError("STARFOLD_BROWSER is `required`, and there is no Chromium")


def pytest_report_header() -> str:
    return (
        "" if CHROMIUM else "no Chromium was found: the tests of the pages in a browser do not run"
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(CHROMIUM) as started:
        yield started
