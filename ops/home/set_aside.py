"""Damaged files of Valkey that a home keeps for a while."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import structlog

from ops.home.folder import Home

SET_ASIDE_MAX = 2
# The files hold personal data in clear, also of people who are erased later.
SET_ASIDE_KEPT = timedelta(days=7)
_REASON_FILE = "reason"
_AT_FORMAT = "%Y%m%dT%H%M%S.%fZ"

log = structlog.get_logger()


class SetAside(NamedTuple):
    """Files that Valkey could not start from, with the time and reason of their removal."""

    at: datetime
    reason: str
    path: Path


def set_aside(home: Home, file: Path, reason: str) -> None:
    """Move a damaged file out of Valkey's way; delete it if it cannot be moved."""
    folder = home.set_aside / datetime.now(UTC).strftime(_AT_FORMAT)
    try:
        folder.mkdir(mode=0o700, parents=True)
        file.rename(folder / file.name)
        (folder / _REASON_FILE).write_text(reason)
    except OSError as error:
        log.warning("setting_aside_failed", path=str(file), error=error.strerror)
        if file.is_dir():
            shutil.rmtree(file, ignore_errors=True)
        else:
            file.unlink(missing_ok=True)
    log.error(
        "valkey_file_set_aside",
        reason=reason,
        path=str(folder),
        consequence="the read models are rebuilt from the log",
    )


def all_set_aside(home: Home) -> list[SetAside]:
    """Return the files that are still kept, oldest first."""
    if not home.set_aside.is_dir():
        return []
    found = []
    for folder in sorted(home.set_aside.iterdir()):
        try:
            at = datetime.strptime(folder.name, _AT_FORMAT).replace(tzinfo=UTC)
            reason = (folder / _REASON_FILE).read_text(errors="replace")
        except ValueError:
            continue
        except OSError:
            reason = "unknown"
        found.append(SetAside(at, reason, folder))
    return found


def forget_old(home: Home) -> None:
    """Delete files older than a week or than the last erasure, and all but the newest few."""
    kept_from = datetime.now(UTC) - SET_ASIDE_KEPT
    if home.erasure_ledger.exists():
        erased_at = datetime.fromtimestamp(home.erasure_ledger.stat().st_mtime, UTC)
        kept_from = max(kept_from, erased_at)
    kept = all_set_aside(home)
    for number, one in enumerate(kept, start=1):
        if number <= len(kept) - SET_ASIDE_MAX or one.at < kept_from:
            shutil.rmtree(one.path, ignore_errors=True)
