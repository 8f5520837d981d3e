"""Metrics for Prometheus: how long requests took, and the answer that exposes all metrics."""

from __future__ import annotations

import hmac
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
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
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


# The method and the route of a request, and the status of its answer.
LABELS = ("method", "route", "status")


class _Observed:
    """The durations of one kind of request: their count per bucket, and their sum."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.total_s = 0.0


class Durations(Collector):
    """Observes durations, on the event loop only.

    The histogram of `prometheus_client` takes two locks for each observation, and more time than
    the routing of a read.
    """

    def __init__(self) -> None:
        self._observed: dict[tuple[str, str, int], _Observed] = {}

    def observe(self, method: str, route: str, status: int, duration_s: float) -> None:
        labels = (method, route, status)
        observed = self._observed.get(labels)
        if observed is None:
            observed = self._observed[labels] = _Observed()
        observed.counts[bisect_left(BUCKETS_S, duration_s)] += 1
        observed.total_s += duration_s

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(
            "starfold_request_seconds",
            "Time to answer a request, by route and status.",
            labels=LABELS,
        )
        bounds = [*map(floatToGoString, BUCKETS_S), "+Inf"]
        for labels, observed in list(self._observed.items()):
            counts = zip(bounds, map(float, accumulate(observed.counts)), strict=True)
            family.add_metric([str(one) for one in labels], list(counts), observed.total_s)
        yield family


REQUESTS = Durations()
REGISTRY.register(REQUESTS)


def exposed(request: Request[Any, Any], token: MetricsToken) -> Answer:
    """Answer with every metric of this process; raise `NotAuthenticated` without the token."""
    if token is not None:
        sent = bearer_token(request.field(b"authorization"))
        if not hmac.compare_digest(sent.encode(), token.get_secret_value().encode()):
            raise NotAuthenticated("the metrics token is wrong")
    return bytes_answer(generate_latest(), CONTENT_TYPE_LATEST)
