"""Serve the public pages until SIGTERM: `python -m web`."""

from __future__ import annotations

import sys

from shared.errors import Misconfigured
from shared.process.logs import configure_logging
from shared.process.settings import settings_from_environment
from shared.web.serving.server import serve
from web.app import create_app
from web.settings import WebSettings


def main() -> None:
    settings = settings_from_environment(WebSettings)
    configure_logging(settings, process="web")
    serve(create_app(settings), settings, port=settings.port)


if __name__ == "__main__":
    try:
        main()
    except Misconfigured as error:
        sys.exit(f"starfold web: {error}")
