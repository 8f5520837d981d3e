"""Health, readiness and metrics of the console."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from console.worker_thread import WiredThread
from shared.process.tasks import Tasks, require_working
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.metrics import METRICS_ANSWERS, METRICS_CREDENTIALS, MetricsToken, exposed
from shared.web.operation import Parameters, Request, operation

Plain = Request[Parameters, None]


class Health(BaseModel):
    status: Literal["alive"]


class Readiness(BaseModel):
    """`position` is the last position of the log."""

    status: Literal["ready"]
    position: int


class Operations:
    def __init__(self, reads: WiredThread, tasks: Tasks, metrics_token: MetricsToken) -> None:
        self._reads = reads
        self._tasks = tasks
        self._metrics_token = metrics_token

    @operation(
        "GET",
        "/health",
        tag="operations",
        answers={200: AnswerKind("The process is alive", Health)},
    )
    async def health(self, _request: Plain) -> Answer:
        """Return 200 if the process is alive and its event loop runs."""
        return json_answer({"status": "alive"})

    @operation(
        "GET",
        "/ready",
        tag="operations",
        answers={
            200: AnswerKind("The process is ready", Readiness),
            503: AnswerKind("The process is not ready."),
        },
    )
    async def ready(self, _request: Plain) -> Answer:
        """Return 200 if the event store answers and every required task works."""
        require_working(self._tasks)
        head = await self._reads.run(lambda wiring: wiring.reader.head())
        return json_answer({"status": "ready", "position": head})

    @operation(
        "GET",
        "/metrics",
        tag="operations",
        own_credentials=METRICS_CREDENTIALS,
        answers=METRICS_ANSWERS,
    )
    async def metrics(self, request: Plain) -> Answer:
        """Return metrics in Prometheus's text format; `STARFOLD_METRICS_TOKEN` may protect them."""
        return exposed(request, self._metrics_token)
