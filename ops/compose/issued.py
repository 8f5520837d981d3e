"""Start a program with the settings that were issued to it: `python -m ops.compose.issued PROGRAM`.

Imports only the standard library: every container starts with it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

# A container mounts its settings; systemd passes them to a service as a credential.
OWN_SETTINGS = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/etc/starfold")) / "environment"


class NothingIssued(Exception):
    """Raised when the file of settings is missing."""


def take_settings(settings: Path = OWN_SETTINGS) -> None:
    """Add the issued settings to the environment; variables that are already set win."""
    if not settings.exists():
        raise NothingIssued(f"{settings} is missing: no settings were issued to this container")
    for line in settings.read_text().splitlines():
        name, _, value = line.partition("=")
        os.environ.setdefault(name, value)


def become(program: list[str], settings: Path = OWN_SETTINGS) -> NoReturn:
    """Replace this process by the program."""
    take_settings(settings)
    try:
        os.execvp(program[0], program)  # noqa: S606  # The image or its operator names the program, never a request.
    except OSError as error:
        sys.exit(f"starfold: {program[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("usage: python -m ops.compose.issued PROGRAM [ARGUMENT...]")
    try:
        become(sys.argv[1:])
    except (NothingIssued, OSError) as error:
        sys.exit(f"starfold: {error}")
