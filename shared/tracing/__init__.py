"""Traces of OpenTelemetry: from a request over its event to the projections and the reads.

Without `STARFOLD_TRACES` nothing of it is loaded, and no other code is on the path of a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.errors import Misconfigured
from shared.process.setting_types import NO_TRACES
from shared.process.settings import TracedSettings

if TYPE_CHECKING:
    from shared.tracing.tracer import Tracer


def tracer_of(settings: TracedSettings, *, process: str) -> Tracer | None:
    """Return the process's tracer, or None if traces are off.

    Raises `Misconfigured` if OpenTelemetry is not installed.
    """
    if settings.traces == NO_TRACES:
        return None
    try:
        # Imported late: an optional extra, and some 40 MB.
        from shared.tracing.tracer import Tracer
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"STARFOLD_TRACES needs the extra `tracing`: the module {error.name} is missing"
        ) from None
    return Tracer(settings.traces, process)
