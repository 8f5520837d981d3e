"""Health, readiness and metrics."""

from __future__ import annotations

from http import HTTPStatus

from eventsourcing.persistence import PersistenceError
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool

from command_api.wiring import Wired
from shared.errors import Unavailable

router = APIRouter(tags=["operations"])


@router.get("/health")
async def health() -> dict[str, str]:
    """The process is alive and its event loop turns."""
    return {"status": "alive"}


@router.get("/ready", status_code=HTTPStatus.OK)
async def ready(wiring: Wired) -> dict[str, object]:
    """The event store answers, so that commands can be taken; else 503."""
    try:
        head = await run_in_threadpool(wiring.store.head)
    except PersistenceError as error:
        raise Unavailable("the event store does not answer") from error
    return {"status": "ready", "position": head}


@router.get("/metrics", response_class=Response)
async def metrics() -> Response:
    """Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
