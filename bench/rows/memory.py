"""Bytes of Redis a rating: every key of the active generations of all projections."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import redis

from bench import catalogue
from bench.bench import Bench
from bench.findings import Finding, at_most

KEYS_A_ROUND_TRIP = 500


def run(bench: Bench) -> list[Finding]:
    """Valid only right after seeding, before other rows have added ratings."""
    client: Any = redis.Redis.from_url(bench.stack.home.redis_url())
    try:
        by_projection: dict[str, int] = {}
        for generation in bench.stack.wiring.generations.all():
            if generation.state == "active":
                sizes = sum(_bytes_under(client, keys.prefix + "*") for keys in generation.all_keys)
                by_projection[generation.projection] = sizes
        used = client.info("memory")["used_memory"]
    finally:
        client.close()
    each = {name: size / catalogue.RATINGS for name, size in by_projection.items()}
    parts = ", ".join(f"{name} {size:.1f}" for name, size in each.items())
    return [
        Finding(
            row="memory",
            what="Redis bytes a rating, documents and all",
            unit="bytes",
            figures=[sum(each.values())],
            goal=at_most(150),
            measured=f"{sum(by_projection.values()):,} bytes",
            reference=f"used_memory {used / catalogue.RATINGS:.0f} B a rating",
            note=parts,
        )
    ]


def _bytes_under(client: Any, pattern: str) -> int:
    keys: Iterator[bytes] = client.scan_iter(match=pattern, count=KEYS_A_ROUND_TRIP)
    total = 0
    while batch := list(islice(keys, KEYS_A_ROUND_TRIP)):
        pipeline = client.pipeline(transaction=False)
        for key in batch:
            pipeline.execute_command("MEMORY USAGE", key, "SAMPLES", 0)
        total += sum(pipeline.execute())
    return total
