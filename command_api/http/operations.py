"""Health, readiness, keys and metrics."""

from __future__ import annotations

from collections.abc import Sequence

from command_api.bodies.answers import HealthAnswer, KeysAnswer, ReadyAnswer
from command_api.store.shared_look_up import SharedLookUp
from shared.ids import Position
from shared.process.tasks import Tasks, require_working
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.metrics import METRICS_ANSWERS, METRICS_CREDENTIALS, MetricsToken, exposed
from shared.web.operation import Parameters, Request, operation
from shared.web.tokens import json_web_key

KEYS_CACHED_FOR_S = 300

Plain = Request[Parameters, None]


class Operations:
    """The routes of every process that answers with the event store's help."""

    def __init__(
        self, head: SharedLookUp[Position], tasks: Tasks, metrics_token: MetricsToken
    ) -> None:
        self._head = head
        self._tasks = tasks
        self._metrics_token = metrics_token

    @operation(
        "GET",
        "/health",
        tag="operations",
        answers={200: AnswerKind("The process is alive", HealthAnswer)},
    )
    async def health(self, _request: Plain) -> Answer:
        """Return 200 if the process is alive and its event loop runs."""
        return json_answer({"status": "alive"})

    @operation(
        "GET",
        "/ready",
        tag="operations",
        answers={
            200: AnswerKind("The process is ready", ReadyAnswer),
            503: AnswerKind("The process is not ready."),
        },
    )
    async def ready(self, _request: Plain) -> Answer:
        """Return 200 if the event store answers and every required task works, else 503."""
        require_working(self._tasks)
        return json_answer({"status": "ready", "position": await self._head()})

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


class PublishedKeys:
    def __init__(self, token_public_keys: Sequence[bytes]) -> None:
        self._token_public_keys = token_public_keys

    @operation(
        "GET",
        "/.well-known/jwks.json",
        tag="operations",
        answers={200: AnswerKind("A JSON Web Key Set", KeysAnswer, ("Cache-Control",))},
    )
    async def json_web_keys(self, _request: Plain) -> Answer:
        """Return the public keys that verify access tokens (RFC 7517)."""
        keys = {"keys": [json_web_key(key) for key in self._token_public_keys]}
        return json_answer(keys).with_field(
            b"cache-control", f"public, max-age={KEYS_CACHED_FOR_S}"
        )
