"""Run the projector until SIGTERM, finish the current pass and exit: `python -m projector`."""

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
from shared.log.schema import require_pooler_setting
from shared.process.gc_tuning import tune_collector
from shared.process.logs import configure_logging
from shared.process.settings import settings_from_environment

log = structlog.get_logger()


def main() -> None:
    settings = settings_from_environment(ProjectorSettings)
    configure_logging(settings, process="projector")
    forget_libpq_variables()
    require_pooler_setting(
        settings.database_url.get_secret_value(),
        schema=settings.database_schema,
        pooler=settings.database_pooler,
    )
    projector = Projector(settings)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        projector.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    tune_collector()
    _lower_scheduling_priority()
    projector.run()


def _lower_scheduling_priority() -> None:
    """Use SCHED_BATCH on Linux so that the projector does not pre-empt the command path.

    On a busy machine it otherwise runs between a command and its commit whenever it is woken.
    """
    if sys.platform == "linux":
        try:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        except OSError as error:  # Some sandboxes forbid it; the projector works without it.
            log.info("scheduling_unchanged", error=str(error))


if __name__ == "__main__":
    try:
        main()
    except Misconfigured as error:
        sys.exit(f"starfold projector: {error}")
