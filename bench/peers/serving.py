"""How every peer is served: in one uvicorn process, set up as Starfold's are.

The ceilings are served by Starfold's own protocol too; the others by uvicorn's, as their users
would have it.
"""

from __future__ import annotations

import base64
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any
from uuid import UUID

import uvicorn
from fastapi import Depends, FastAPI, Request

from shared.process.gc_tuning import tune_collector
from shared.web.tokens import TokenVerifier, bearer_token

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def dsn() -> str:
    return os.environ["BENCH_DSN"]


def peer(lifespan: Lifespan | None = None) -> FastAPI:
    """An application with nothing but `/health`."""
    app = FastAPI(lifespan=lifespan, telemetry={"tracing": False, "metrics": False})
    app.state.verifier = TokenVerifier(
        base64.b64decode(os.environ["BENCH_TOKEN_PUBLIC_KEY"]),
        issuer="starfold",
        audience="starfold",
        clock=time.time,
    )

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    return app


async def caller_of(request: Request) -> UUID:
    """The same token check as Starfold's, which remembers the tokens that it has verified."""
    verifier = request.app.state.verifier
    assert isinstance(verifier, TokenVerifier)
    return verifier.verify(bearer_token(request.headers.get("authorization"))).user_id


Caller = Annotated[UUID, Depends(caller_of)]


def serve(app: FastAPI, *, http: Any = "httptools") -> None:
    """On the port that the command line names, with Starfold's setting of the collector."""
    tune_collector()
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http=http,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
