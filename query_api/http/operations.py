"""Health, readiness and metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from query_api.http.dependencies import Wired
from query_api.http.examples import METRICS, READY
from query_api.http.responses import example
from query_api.redis_reads.single_reads import read_value
from shared.errors import Unavailable
from shared.process.tasks import require_working
from shared.read_model.layout import CHANGES, MOVIES, PROFILES, PartitionKeys

router = APIRouter(tags=["operations"])

_METRICS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One sample a line",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": METRICS}},
    }
}


@router.get("/health", responses=example({"status": "alive"}, description="It is"))
async def health() -> dict[str, str]:
    """The process is alive and its event loop turns."""
    return {"status": "alive"}


@router.get("/ready", responses=example(READY, description="It is"))
async def ready(wiring: Wired) -> dict[str, object]:
    """Redis answers, every read model is there, every background task works, and the index is up to
    date; else 503.
    """
    await wiring.generations.refresh()
    active = {}
    for projection in (MOVIES, PROFILES, CHANGES):
        generation = await wiring.generations.require(projection)
        keys = PartitionKeys(projection, generation.number, 0)
        if await read_value(wiring.client, keys.checkpoint) is None:
            raise Unavailable(f"the read model {projection} is being built")
        active[projection] = generation.number
    require_working(wiring.tasks)
    wiring.feed.require_current()
    return {"status": "ready", "generations": active, "index_position": wiring.feed.position}


@router.get("/metrics", response_class=Response, responses=_METRICS)
async def metrics() -> Response:
    """Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
