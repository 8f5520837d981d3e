"""The system beside its read models: write rate, jobs, servers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from console.access import OPERATORS_ONLY
from console.http.answers import unstored
from console.system import ServerRole, WriteRate, counted_jobs, server_states
from console.worker_thread import WiredThread
from ops.jobs import JobQueue
from projector.wiring import Wiring
from shared.process.clock import utc_now
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.operation import Parameters, Request, operation


class JobsState(BaseModel):
    """Operators' jobs that wait, run and have failed, and the live workers that take them."""

    queued: int
    started: int
    failed: int
    workers: int


class ServerAnswer(BaseModel):
    """A server; all but its role is null if it does not answer."""

    role: ServerRole
    answers: bool
    product: Annotated[str | None, Field(description="PostgreSQL, Valkey or Redis")]
    version: str | None
    bytes_used: Annotated[
        int | None, Field(description="The size of the database, or the memory that Redis uses")
    ]
    bytes_max: Annotated[int | None, Field(description="The memory that Redis may use")]
    connections: int | None
    connections_max: int | None


class SystemState(BaseModel):
    at: datetime
    events_per_s: Annotated[
        float | None, Field(description="Appended to the log, as the mean of a minute")
    ]
    jobs: Annotated[JobsState | None, Field(description="Null if their Redis does not answer")]
    servers: Annotated[
        list[ServerAnswer], Field(description="Of a cluster, each server that holds keys")
    ]


class System:
    def __init__(self, servers: WiredThread, jobs: JobQueue, rate: WriteRate) -> None:
        self._servers = servers
        self._jobs = jobs
        self._rate = rate

    @operation(
        "GET",
        "/v1/operator/system",
        tag="operations",
        access=OPERATORS_ONLY,
        answers={200: AnswerKind("The system", SystemState, ("Cache-Control",))},
    )
    async def get_system(self, _request: Request[Parameters, None]) -> Answer:
        """Return how fast the log grows, the operators' jobs, and how full each server is."""

        def found(wiring: Wiring) -> dict[str, Any]:
            counts = counted_jobs(self._jobs)
            return {
                "at": utc_now(),
                "events_per_s": self._rate.per_s,
                "jobs": None if counts is None else counts._asdict(),
                "servers": [one._asdict() for one in server_states(wiring, self._jobs)],
            }

        return unstored(json_answer(await self._servers.run(found)))
