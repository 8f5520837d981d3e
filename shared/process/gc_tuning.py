"""How often Python's garbage collector looks for cycles, in every long-lived process."""

from __future__ import annotations

import gc

# Events and documents are made by the hundred thousand, live long, and hold no cycles. At the
# default of 700 new objects a look, reading and folding the log spent half of their time on it.
NEW_OBJECTS_A_LOOK = 50_000
LOOKS_A_GENERATION = (20, 100)


def tune_collector() -> None:
    """To be called once all modules are imported: they are set aside and not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS_A_LOOK, *LOOKS_A_GENERATION)
