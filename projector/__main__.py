"""`python -m projector`: project until SIGTERM, then finish the batch and exit."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from projector.settings import ProjectorSettings
from projector.worker import Projector
from shared.collector import tune_collector
from shared.errors import Misconfigured
from shared.logs import configure_logging
from shared.settings import settings_from_environment


def main() -> None:
    settings = settings_from_environment(ProjectorSettings)
    configure_logging(settings, process="projector")
    projector = Projector(settings)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        projector.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    tune_collector()
    projector.run()


if __name__ == "__main__":
    try:
        main()
    except Misconfigured as error:
        sys.exit(f"starfold projector: {error}")
