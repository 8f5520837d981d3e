"""Chromium for the tests of the pages; without one they do not run, and one line says so.

With `STARFOLD_BROWSER=required` a missing Chromium is an error.
"""

from __future__ import annotations

import os
import shutil

import pytest

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name)) is not None
    ),
    None,
)
collect_ignore = [] if CHROMIUM else ["test_public_pages.py"]


def pytest_configure() -> None:
    if CHROMIUM is None and os.environ.get("STARFOLD_BROWSER") == "required":
        raise pytest.UsageError("STARFOLD_BROWSER is `required`, and there is no Chromium")


def pytest_report_header() -> str:
    return (
        "" if CHROMIUM else "no Chromium was found: the tests of the pages in a browser do not run"
    )
