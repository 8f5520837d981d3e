"""`python -m projector`: project until SIGTERM, then finish the batch and exit."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import structlog

from projector.settings import ProjectorSettings
from projector.worker import Projector
from shared.errors import Misconfigured
from shared.log.connections import forget_libpq_variables
from shared.process.gc_tuning import tune_collector
from shared.process.logs import configure_logging
from shared.process.settings import settings_from_environment

log = structlog.get_logger()


def main() -> None:
    settings = settings_from_environment(ProjectorSettings)
    configure_logging(settings, process="projector")
    forget_libpq_variables()
    projector = Projector(settings)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        projector.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    tune_collector()
    _interrupt_nobody()
    projector.run()


def _interrupt_nobody() -> None:
    """Wait for a processor like a batch job, where Linux schedules: on a full machine the projector
    came in between a command and its commit whenever it was woken.
    """
    if sys.platform == "linux":
        try:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        except OSError as error:  # Some sandboxes forbid it. It works all the same.
            log.info("scheduling_unchanged", error=str(error))


if __name__ == "__main__":
    try:
        main()
    except Misconfigured as error:
        sys.exit(f"starfold projector: {error}")
