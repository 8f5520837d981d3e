"""Health, readiness and metrics, and the progress of each projection for operators."""

from __future__ import annotations

from query_api.feed.index_feed import IndexFeed
from query_api.http.operation_shapes import Health, Projections, Readiness
from query_api.redis_reads.generations import ActiveGenerations
from query_api.redis_reads.single_reads import read_value
from shared.errors import Unavailable
from shared.process.tasks import Tasks, require_working
from shared.read_model.clients import AsyncClient
from shared.read_model.keys import CHANGES, MOVIES, PROFILES, PartitionKeys
from shared.read_model.status import STATUS_KEY
from shared.web.answer import JSON, Answer, AnswerKind, bytes_answer, json_answer
from shared.web.metrics import METRICS_ANSWERS, METRICS_CREDENTIALS, MetricsToken, exposed
from shared.web.operation import Parameters, Request, operation

Plain = Request[Parameters, None]


class Operations:
    def __init__(
        self,
        client: AsyncClient,
        generations: ActiveGenerations,
        feed: IndexFeed,
        tasks: Tasks,
        metrics_token: MetricsToken,
    ) -> None:
        self._client = client
        self._generations = generations
        self._feed = feed
        self._tasks = tasks
        self._metrics_token = metrics_token

    @operation(
        "GET",
        "/v1/projections",
        tag="operations",
        access="operators",
        answers={
            200: AnswerKind(
                "The projector's latest status",
                Projections,
                ("Cache-Control",),
                Projections.EXAMPLE,
            )
        },
    )
    async def list_projections(self, _request: Plain) -> Answer:
        """List every generation: state, checkpoint, lag, rate, parked entities, stop reason.

        The values date from `at`, which a running projector updates about once a second.
        """
        status = await read_value(self._client, STATUS_KEY)
        if status is None:
            raise Unavailable("no projector has reported its status yet")
        return bytes_answer(status, JSON).with_field(b"cache-control", "no-cache")

    @operation(
        "GET",
        "/health",
        tag="operations",
        access="nobody",
        answers={200: AnswerKind("The process is alive", Health, example=Health.EXAMPLE)},
    )
    async def health(self, _request: Plain) -> Answer:
        """Return 200 if the process is alive and its event loop runs."""
        return json_answer({"status": "alive"})

    @operation(
        "GET",
        "/ready",
        tag="operations",
        access="nobody",
        answers={
            200: AnswerKind("The process is ready", Readiness, example=Readiness.EXAMPLE),
            503: AnswerKind("The process is not ready yet."),
        },
    )
    async def ready(self, _request: Plain) -> Answer:
        """Return 200 if Redis answers, every read model exists and all background tasks work.

        The catalogue's index must be up to date too; otherwise the status is 503.
        """
        await self._generations.refresh()
        active = {}
        for projection in (MOVIES, PROFILES, CHANGES):
            generation = await self._generations.require(projection)
            keys = PartitionKeys(projection, generation.number, 0)
            if await read_value(self._client, keys.checkpoint) is None:
                raise Unavailable(f"the read model {projection} is being built")
            active[projection] = generation.number
        require_working(self._tasks)
        self._feed.require_current()
        return json_answer(
            {"status": "ready", "generations": active, "index_position": self._feed.position}
        )

    @operation(
        "GET",
        "/metrics",
        tag="operations",
        access="nobody",
        own_credentials=METRICS_CREDENTIALS,
        answers=METRICS_ANSWERS,
    )
    async def metrics(self, request: Plain) -> Answer:
        """Return metrics in Prometheus's text format; `STARFOLD_METRICS_TOKEN` may protect them."""
        return exposed(request, self._metrics_token)
