"""Serve a peer in one uvicorn process, set up as Starfold's processes are.

The ceilings are served with Starfold's own protocol too; the others with uvicorn's, as their users
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
    """Return an application with nothing but `/health`."""
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
    """Return Starfold's token check, which caches verified tokens."""
    verifier = request.app.state.verifier
    assert isinstance(verifier, TokenVerifier)
    return verifier.verify(bearer_token(request.headers.get("authorization"))).user_id


Caller = Annotated[UUID, Depends(caller_of)]


def serve(app: FastAPI, *, http: Any = "httptools") -> None:
    """Serve on the port given on the command line, with Starfold's collector settings."""
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
