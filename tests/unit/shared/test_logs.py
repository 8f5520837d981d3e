"""What stands in a log line, and what never does."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAILING = """
import os
import structlog
from shared.process.logs import configure_logging
from shared.process.settings import Settings

def check(password):
    raise ValueError("it failed")

configure_logging(Settings(), process="command-api")
try:
    check(os.environ["WORD"])
except ValueError:
    structlog.get_logger().exception("request_failed")
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_says_where_and_shows_no_variable(form: str) -> None:
    environment = {"WORD": "hunter2", "STARFOLD_LOG_FORMAT": form}
    command = [sys.executable, "-c", FAILING]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    for said in ("request_failed", "ValueError", "it failed", "in check"):
        assert said in ran.stderr
    assert "hunter2" not in ran.stderr
