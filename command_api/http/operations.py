"""Health, readiness and metrics."""

from __future__ import annotations

import hmac
from http import HTTPStatus

from eventsourcing.persistence import PersistenceError
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from command_api.http.dependencies import Wired
from shared.errors import NotAuthenticated, Unavailable
from shared.process.tasks import require_working
from shared.web.tokens import bearer_token, json_web_key

KEYS_CACHED_FOR_S = 300

router = APIRouter(tags=["operations"])


@router.get("/health")
async def health() -> dict[str, str]:
    """The process is alive and its event loop turns."""
    return {"status": "alive"}


@router.get("/ready", status_code=HTTPStatus.OK)
async def ready(wiring: Wired) -> dict[str, object]:
    """The event store answers and every task works, so that commands can be taken; else 503."""
    require_working(wiring.tasks)
    try:
        head = await wiring.head()
    except PersistenceError as error:
        raise Unavailable("the event store does not answer") from error
    return {"status": "ready", "position": head}


@router.get("/.well-known/jwks.json")
async def json_web_keys(wiring: Wired, response: Response) -> dict[str, list[dict[str, str]]]:
    """The public keys that access tokens are verified with (RFC 7517)."""
    response.headers["Cache-Control"] = f"public, max-age={KEYS_CACHED_FOR_S}"
    return {"keys": [json_web_key(wiring.settings.token_public_key.get_secret_value())]}


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, wiring: Wired) -> Response:
    """Prometheus text format; behind a bearer token where `STARFOLD_METRICS_TOKEN` is set."""
    token = wiring.settings.metrics_token
    if token is not None:
        sent = bearer_token(request.headers.get("authorization"))
        if not hmac.compare_digest(sent.encode(), token.get_secret_value().encode()):
            raise NotAuthenticated("the metrics token is another one")
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
