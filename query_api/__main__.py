"""Serve the query API until SIGTERM, drain and exit: `python -m query_api [--workers N]`."""

from __future__ import annotations

import argparse
import sys

import redis
from fastapi import FastAPI

from query_api.app import create_app
from query_api.settings import WORKERS_MAX, QuerySettings
from shared.errors import Misconfigured
from shared.process.cluster_address import cluster_address
from shared.process.gc_tuning import tune_collector
from shared.process.logs import configure_logging
from shared.process.settings import settings_from_environment
from shared.read_model.clients import require_no_cluster, server_client
from shared.web.serving.server import serve, stop_with_parent


def application() -> FastAPI:
    """Return the application of one worker process."""
    stop_with_parent()
    settings = settings_from_environment(QuerySettings)
    configure_logging(settings, process="query-api")
    tune_collector()
    return create_app(settings)


def main() -> None:
    settings = settings_from_environment(QuerySettings)
    parser = argparse.ArgumentParser(prog="python -m query_api")
    parser.add_argument(
        "--workers", type=int, choices=range(1, WORKERS_MAX + 1), default=settings.workers
    )
    workers = parser.parse_args().workers
    configure_logging(settings, process="query-api")
    _require_no_cluster(settings)
    serve("query_api.__main__:application", settings, port=settings.port, workers=workers)


def _require_no_cluster(settings: QuerySettings) -> None:
    """Refuse a Redis cluster; a server that does not answer yet is checked again later."""
    if cluster_address(settings.redis_url.get_secret_value()) is not None:
        return
    client = server_client(settings.redis_url.get_secret_value())
    try:
        require_no_cluster(client, "STARFOLD_REDIS_URL")
    except (redis.RedisError, OSError):
        return
    finally:
        client.close()


if __name__ == "__main__":
    try:
        main()
    except Misconfigured as error:
        sys.exit(f"starfold query-api: {error}")
