"""`python -m command_api`: serve the command API until SIGTERM, then drain and exit."""

from __future__ import annotations

import sys

import uvicorn

from command_api.app import create_app
from command_api.settings import CommandSettings
from shared.collector import tune_collector
from shared.errors import Misconfigured
from shared.logs import configure_logging
from shared.settings import settings_from_environment

DRAIN_FOR_S = 10


def main() -> None:
    settings = settings_from_environment(CommandSettings)
    configure_logging(settings, process="command-api")
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
        sys.exit(f"starfold command-api: {error}")
