"""How far each projection is, for operators."""

from __future__ import annotations

from fastapi import APIRouter, Response

from query_api.http.caller_route import CallerRoute
from query_api.http.dependencies import Wired
from query_api.http.examples import PROJECTIONS
from query_api.http.responses import JSON, OPERATOR_PROBLEMS, PROBLEMS, example
from query_api.redis_reads.single_reads import read_value
from shared.errors import Unavailable
from shared.read_model.status import STATUS_KEY

router = APIRouter(
    prefix="/v1/projections",
    tags=["operations"],
    responses=PROBLEMS | OPERATOR_PROBLEMS,
    route_class=CallerRoute,
)


@router.get("", responses=example(PROJECTIONS, description="As the projector last wrote it"))
async def list_projections(wiring: Wired) -> Response:
    """Every generation: state, checkpoint, lag in events and seconds, rate, parked, stopped.

    As of `at`, which moves on about once a second while a projector runs.
    """
    status = await read_value(wiring.client, STATUS_KEY)
    if status is None:
        raise Unavailable("no projector has said yet how far it is")
    return Response(status, media_type=JSON, headers={"Cache-Control": "no-cache"})
