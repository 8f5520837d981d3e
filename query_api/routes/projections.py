"""How far each projection is, for operators."""

from __future__ import annotations

from fastapi import APIRouter, Response

from query_api.routes.answers import JSON, OPERATOR_PROBLEMS, PROBLEMS, example
from query_api.routes.examples import PROJECTIONS
from query_api.single_reads import read_value
from query_api.wiring import Caller, Wired
from shared.errors import Forbidden, NotAuthenticated, Unavailable
from shared.status import STATUS_KEY

router = APIRouter(
    prefix="/v1/projections", tags=["operations"], responses=PROBLEMS | OPERATOR_PROBLEMS
)


@router.get("", responses=example(PROJECTIONS, description="As the projector last wrote it"))
async def list_projections(wiring: Wired, caller: Caller) -> Response:
    """Every generation: state, checkpoint, lag in events and seconds, rate, parked, stopped.

    As of `at`, which moves on about once a second while a projector runs.
    """
    if caller is None:
        raise NotAuthenticated("this needs an operator's access token")
    if caller.role != "operator":
        raise Forbidden("this is for operators")
    status = await read_value(wiring.client, STATUS_KEY)
    if status is None:
        raise Unavailable("no projector has said yet how far it is")
    return Response(status, media_type=JSON, headers={"Cache-Control": "no-cache"})
