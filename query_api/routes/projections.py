"""How far each projection is, for operators."""

from __future__ import annotations

from fastapi import APIRouter, Response

from query_api.caller_route import CallerRoute
from query_api.routes.answers import JSON, OPERATOR_PROBLEMS, PROBLEMS, example
from query_api.routes.examples import PROJECTIONS
from query_api.single_reads import read_value
from query_api.wiring import Wired
from shared.errors import Unavailable
from shared.status import STATUS_KEY

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
