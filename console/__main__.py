"""Serve the operators' API and pages until SIGTERM, finish its acts, exit: `python -m console`."""

from __future__ import annotations

import sys

from console.app import create_app
from console.pages.site import Console
from console.settings import ConsoleSettings
from shared.errors import Misconfigured
from shared.log.connections import forget_libpq_variables
from shared.log.schema import require_database
from shared.process.logs import configure_logging
from shared.process.settings import settings_from_environment
from shared.web.serving.server import serve


def main() -> None:
    settings = settings_from_environment(ConsoleSettings)
    configure_logging(settings, process="console")
    forget_libpq_variables()
    require_database(
        settings.database_url.get_secret_value(),
        schema=settings.database_schema,
        pooler=settings.database_pooler,
    )
    serve(Console(create_app(settings), settings), settings, port=settings.port)


if __name__ == "__main__":
    try:
        main()
    except Misconfigured as error:
        sys.exit(f"starfold console: {error}")
