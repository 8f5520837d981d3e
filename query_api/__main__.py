"""`python -m query_api`: serve the query API until SIGTERM, then drain and exit."""

from __future__ import annotations

import sys

from query_api.app import create_app
from query_api.settings import QuerySettings
from shared.errors import Misconfigured
from shared.logs import configure_logging
from shared.serving import serve
from shared.settings import settings_from_environment


def main() -> None:
    settings = settings_from_environment(QuerySettings)
    configure_logging(settings, process="query-api")
    serve(create_app(settings), settings, port=settings.port)


if __name__ == "__main__":
    try:
        main()
    except Misconfigured as error:
        sys.exit(f"starfold query-api: {error}")
