"""The right answers of a Starfold that nobody writes to, and a judge of what it answers."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.support.api import AT_LEAST
from tests.support.local_starfold import Local

READERS = 8
ANSWERED_WITHIN_S = 30.0


class Oracle:
    """`answers` counts what was judged: right, unavailable, unreachable; `wrong` lists the rest."""

    def __init__(self, local: Local, paths: list[str], position: int) -> None:
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{local.query_port}",
            headers={AT_LEAST: str(position)},
            timeout=ANSWERED_WITHIN_S,
        )
        self._pool = ThreadPoolExecutor(READERS)
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._right: dict[str, Any] = {}
        for path in paths:
            answer = self._get(path)
            assert answer.status_code == httpx.codes.OK, answer.text
            self._right[path] = answer.json()

    def close(self) -> None:
        self._pool.shutdown()
        self._client.close()

    def seconds_until_right(self, within_s: float) -> float | None:
        """Read everything again and again; return when all of it was right, None if never."""
        started = time.monotonic()
        while time.monotonic() - started < within_s:
            judged = list(self._pool.map(self._judge, self._right))
            self.answers.update(judged)
            if all(one == "right" for one in judged):
                return time.monotonic() - started
            time.sleep(0.1)
        return None

    def _judge(self, path: str) -> str:
        try:
            answer = self._get(path)
        except httpx.TransportError:
            return "unreachable"
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            if "retry-after" in answer.headers and "problem+json" in answer.headers["content-type"]:
                return "unavailable"
            self.wrong.append(f"{path}: a 503 that is no problem: {answer.text[:200]}")
            return "malformed"
        try:
            body = answer.json()
        except json.JSONDecodeError:
            self.wrong.append(f"{path}: {answer.status_code}, no JSON: {answer.content[:200]!r}")
            return "malformed"
        if answer.status_code == httpx.codes.OK and body == self._right[path]:
            return "right"
        if isinstance(body, dict) and body.get("stale") is True:
            return "stale"
        where = _difference(body, self._right[path])
        self.wrong.append(f"{path}: {answer.status_code}, {where}")
        return "wrong"

    def _get(self, path: str) -> httpx.Response:
        return self._client.get(path)


def _difference(found: Any, right: Any, place: str = "") -> str:
    """The first place where two JSON values differ, and both values there."""
    if isinstance(found, dict) and isinstance(right, dict):
        for name in {**right, **found}:
            if found.get(name, "nothing") != right.get(name, "nothing"):
                return _difference(
                    found.get(name, "nothing"), right.get(name, "nothing"), f"{place}/{name}"
                )
    if isinstance(found, list) and isinstance(right, list) and len(found) == len(right):
        for number, (one, other) in enumerate(zip(found, right, strict=True)):
            if one != other:
                return _difference(one, other, f"{place}/{number}")
    return f"{place}: {str(found)[:200]} for {str(right)[:200]}"
