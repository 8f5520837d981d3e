"""Health, documentation and metrics: what went wrong in an earlier service."""

from __future__ import annotations

from tests.support.api import Api


def test_ready_and_health_tell_the_truth(api: Api) -> None:
    for client in (api.command, api.query):
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 200


def test_docs_load_nothing_from_elsewhere(api: Api) -> None:
    for client in (api.command, api.query):
        page = client.get("/docs")
        assert page.status_code == 200
        assert "//cdn" not in page.text
        for asset in ("swagger-ui.css", "swagger-ui-bundle.js"):
            assert asset in page.text
        assert client.get("/openapi.json").json()["openapi"].startswith("3.1")


def test_metrics_are_counted(api: Api) -> None:
    for client in (api.command, api.query):
        assert "starfold_request_seconds_bucket" in client.get("/metrics").text
    api.movie()
    committed = api.command.get("/metrics").text
    for name in ("starfold_commit_seconds_count", "starfold_batch_commands_count"):
        assert f"\n{name} 0.0" not in committed
        assert f"\n{name} " in committed
