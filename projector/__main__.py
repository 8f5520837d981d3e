"""`python -m projector`: project until SIGTERM, then finish the batch and exit."""

from __future__ import annotations

import signal
from types import FrameType

from projector.settings import ProjectorSettings
from projector.worker import Projector
from shared.logs import configure_logging


def main() -> None:
    settings = ProjectorSettings()
    configure_logging(settings, process="projector")
    projector = Projector(settings)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        projector.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    projector.run()


if __name__ == "__main__":
    main()
