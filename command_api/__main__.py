"""`python -m command_api`: serve the command API until SIGTERM, then drain and exit."""

from __future__ import annotations

import sys

from command_api.app import create_app
from command_api.settings import CommandSettings
from shared.errors import Misconfigured
from shared.logs import configure_logging
from shared.serving import serve
from shared.settings import settings_from_environment


def main() -> None:
    settings = settings_from_environment(CommandSettings)
    configure_logging(settings, process="command-api")
    serve(create_app(settings), settings, port=settings.port)


if __name__ == "__main__":
    try:
        main()
    except Misconfigured as error:
        sys.exit(f"starfold command-api: {error}")
