"""Metrics for Prometheus, optionally protected by a bearer token."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import SecretStr

from shared.errors import NotAuthenticated
from shared.web.answer import Answer, AnswerKind, bytes_answer
from shared.web.openapi import METRICS_TOKEN
from shared.web.operation import Credentials, Request
from shared.web.tokens import bearer_token

MetricsToken = SecretStr | None

METRICS_CREDENTIALS: Credentials = ({}, {METRICS_TOKEN: ()})
METRICS_ANSWERS: Mapping[int, AnswerKind] = {
    200: AnswerKind(
        "One sample a line",
        example="# TYPE starfold_streams gauge\nstarfold_streams 3.0\n",
        media_type="text/plain",
    )
}


def exposed(request: Request[Any, Any], token: MetricsToken) -> Answer:
    """Answer with every metric of this process; raise `NotAuthenticated` without the token."""
    if token is not None:
        sent = bearer_token(request.field(b"authorization"))
        if not hmac.compare_digest(sent.encode(), token.get_secret_value().encode()):
            raise NotAuthenticated("the metrics token is wrong")
    return bytes_answer(generate_latest(), CONTENT_TYPE_LATEST)
