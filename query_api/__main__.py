"""`python -m query_api`: serve the query API until SIGTERM, then drain and exit."""

from __future__ import annotations

import sys

import uvicorn

from query_api.app import create_app
from query_api.settings import QuerySettings
from shared.collector import tune_collector
from shared.errors import Misconfigured
from shared.logs import configure_logging
from shared.settings import settings_from_environment

DRAIN_FOR_S = 10


def main() -> None:
    settings = settings_from_environment(QuerySettings)
    configure_logging(settings, process="query-api")
    app = create_app(settings)
    tune_collector()
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        timeout_graceful_shutdown=DRAIN_FOR_S,
    )


if __name__ == "__main__":
    try:
        main()
    except Misconfigured as error:
        sys.exit(f"starfold query-api: {error}")
