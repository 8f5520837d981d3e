"""What stands in a log line, and what never does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

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


ODD = """
import os
import sys
import structlog
from shared.process.logs import configure_logging
from shared.process.settings import Settings

configure_logging(Settings(), process="worker")
structlog.get_logger().info("home_made", folder=os.fsdecode(b"/home/\\xff"), kind={1, 1})
print("went on")
"""


def test_what_json_cannot_say_is_a_line_all_the_same() -> None:
    environment = {"STARFOLD_LOG_FORMAT": "json", "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", ODD]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    (line,) = ran.stderr.splitlines()
    said = json.loads(line)
    assert (said["event"], said["process"], said["kind"]) == ("home_made", "worker", "{1}")
    assert os.fsencode(said["folder"]) == b"/home/\xff"


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_line_that_cannot_be_written_stops_nothing(form: str) -> None:
    """As on a full disk."""
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [sys.executable, "-c", ODD],
            check=False,
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            env={"STARFOLD_LOG_FORMAT": form, "PYTHONUTF8": "1"},
        )
    assert ran.stdout == "went on\n"
