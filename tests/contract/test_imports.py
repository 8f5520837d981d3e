"""What starting a service imports: each side of the split runs without the other side's store."""

import subprocess
import sys

import pytest

REPORT = "import sys, {service}.app, {service}.__main__; print(*sys.modules)"


def imported_by(service: str) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-c", REPORT.format(service=service)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return {module.partition(".")[0] for module in ended.stdout.split()}


@pytest.mark.parametrize(
    ("service", "needed", "forbidden"),
    [
        ("query_api", {"redis"}, {"psycopg", "psycopg_pool", "eventsourcing", "rq"}),
        ("command_api", {"psycopg"}, {"redis", "hiredis", "rq"}),
    ],
)
def test_a_service_imports_its_own_store_alone(
    service: str, needed: set[str], forbidden: set[str]
) -> None:
    imported = imported_by(service)
    assert needed <= imported
    assert not forbidden & imported
