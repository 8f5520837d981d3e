"""Health and metrics, the same in both APIs."""

from __future__ import annotations

import hmac

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import SecretStr

from shared.errors import NotAuthenticated
from shared.web.exchange import JSON, Answer, Exchange, json_answer, whole_answer
from shared.web.operation import Operation
from shared.web.tokens import bearer_token

_ALIVE = {"status": "alive"}
_METRICS = "# TYPE starfold_request_seconds histogram\n"


class Monitoring:
    """`metrics_token`, if there is one, is what `/metrics` wants as a bearer token."""

    def __init__(self, metrics_token: SecretStr | None) -> None:
        self._metrics_token = metrics_token

    async def health(self, _exchange: Exchange) -> Answer:
        """The process is alive and its event loop turns."""
        return json_answer(_ALIVE)

    async def metrics(self, exchange: Exchange) -> Answer:
        """Prometheus text format; behind a bearer token where `STARFOLD_METRICS_TOKEN` is set."""
        token = self._metrics_token
        if token is not None:
            sent = bearer_token(exchange.header(b"authorization"))
            if not hmac.compare_digest(sent.encode(), token.get_secret_value().encode()):
                raise NotAuthenticated("the metrics token is another one")
        return whole_answer(generate_latest(), CONTENT_TYPE_LATEST)


OPERATIONS = [
    Operation(
        "GET",
        "/health",
        Monitoring.health,
        tags=("operations",),
        responses={200: {"description": "It is", "content": {JSON: {"example": _ALIVE}}}},
        documented={"response_model": dict[str, str]},
    ),
    Operation(
        "GET",
        "/metrics",
        Monitoring.metrics,
        tags=("operations",),
        responses={
            200: {
                "description": "One sample a line",
                "content": {"text/plain": {"schema": {"type": "string"}, "example": _METRICS}},
            }
        },
    ),
]
