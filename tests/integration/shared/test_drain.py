"""A process with time to drain: not ready, and still serving, between SIGTERM and its end."""

from __future__ import annotations

import httpx

from tests.support.processes import CommandProcess
from tests.support.system import System, eventually


def test_a_draining_process_serves_closes_connections_and_stops_at_a_second_signal(
    system: System,
) -> None:
    process = system.closing(CommandProcess(system, {"STARFOLD_DRAIN_S": "3600"}))
    process.wait_ready()
    with httpx.Client(base_url=process.url) as client:
        assert "connection" not in client.get("/health").headers
        process.request_stop()
        eventually(lambda: client.get("/ready").status_code == httpx.codes.SERVICE_UNAVAILABLE)
        for path, status in (("/health", 200), ("/v1/users", 405), ("/docs", 200), ("/no", 404)):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["connection"]) == (status, "close"), path
        signed_up = client.post(
            "/v1/users",
            json={"email": "a@example.org", "password": "correct horse", "display_name": "Ann"},
        )
        assert signed_up.status_code == httpx.codes.CREATED, signed_up.text
    process.request_stop()
    process.wait_stopped()
    assert "command_api_stopped" in process.output.read_text()


def test_a_process_without_time_to_drain_stops_at_the_first_signal(system: System) -> None:
    process = system.closing(CommandProcess(system))
    process.wait_ready()
    process.request_stop()
    process.wait_stopped()
    assert "draining" not in process.output.read_text()
