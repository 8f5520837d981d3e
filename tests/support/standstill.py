"""Measure how long a partition of the read models does not advance while the log grows."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from typing import Self

from projector.documents.store import ABSENT
from projector.projections import DEFINITIONS
from projector.wiring import Wiring
from shared.ids import Position
from shared.read_model.checkpoints import decode_checkpoint
from tests.support.read_models import active

LOOK_EVERY_S = 0.02


class StandstillMeter(threading.Thread):
    """Look at the partitions of every active generation, all the time.

    `longest_s` is how long the first event that a partition lacked had been in the log, at most.
    """

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(name="standstill")
        self._wiring = wiring
        self._keys = [one for name in DEFINITIONS for one in active(wiring, name).all_keys]
        self._stop_asked = threading.Event()
        self._heads: list[Position] = []
        self._seen_at: list[float] = []
        self.longest_s = 0.0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop_asked.set()
        self.join()

    def run(self) -> None:
        while not self._stop_asked.wait(LOOK_EVERY_S):
            self._look()

    def _look(self) -> None:
        head = self._wiring.reader.head()
        if not self._heads or head > self._heads[-1]:
            self._heads.append(head)
            self._seen_at.append(time.monotonic())
        stored = self._wiring.store.checkpoints(self._keys)
        now = time.monotonic()
        lowest = min(decode_checkpoint(one).position for one in stored if one != ABSENT)
        first_lacked = bisect_right(self._heads, lowest)
        if first_lacked < len(self._heads):
            self.longest_s = max(self.longest_s, now - self._seen_at[first_lacked])
