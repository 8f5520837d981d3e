"""Reading whole read models back from Redis, to compare them."""

from __future__ import annotations

from typing import Any

from projector.audit.auditor import Audit
from projector.documents.store import ABSENT
from projector.generations.table import Generation
from projector.projections import DEFINITIONS
from projector.wiring import Wiring
from shared.read_model.checkpoints import decode_checkpoint
from tests.support.system import System, eventually

ReadModel = dict[str, Any]


def read_model(system: System, generation: Generation) -> ReadModel:
    """Every key of a generation without its prefix, but for the checkpoints, with its value."""
    found: ReadModel = {}
    for keys in generation.all_keys:
        for key in system.redis.scan_iter(match=keys.prefix + "*", count=1_000):
            name = key.decode()
            if name != keys.checkpoint:
                found[name.removeprefix(keys.prefix) + f"@{keys.partition}"] = _value(system, key)
    return found


def active(wiring: Wiring, projection: str) -> Generation:
    (found,) = (
        one
        for one in wiring.generations.all()
        if one.projection == projection and one.state == "active"
    )
    return found


def assert_exact(wiring: Wiring) -> None:
    """Compare every active generation with the log; nothing differs, nothing is parked."""
    for projection in DEFINITIONS:
        report = Audit(wiring.reader, wiring.store).verify(active(wiring, projection))
        assert (report.differences, report.parked) == ([], []), projection


def assert_exact_at_head(system: System) -> None:
    """Compare them once they have applied the whole log."""
    wiring = system.projector_wiring()
    wait_until_applied(wiring)
    assert_exact(wiring)


def wait_until_applied(wiring: Wiring) -> None:
    """Wait until every partition of every active generation stands at the head of the log."""
    head = wiring.reader.head()

    def reached() -> bool:
        live = [one for one in wiring.generations.all() if one.state == "active"]
        if len(live) < len(DEFINITIONS):
            return False
        stored = [c for one in live for c in wiring.store.checkpoints(one.all_keys)]
        return ABSENT not in stored and all(decode_checkpoint(c).position >= head for c in stored)

    eventually(reached)


def _value(system: System, key: bytes) -> Any:
    connection: Any = system.redis
    match connection.type(key):
        case b"string":
            return connection.get(key)
        case b"zset":
            return connection.zrange(key, 0, -1, withscores=True)
        case b"hash":
            return connection.hgetall(key)
        case b"stream":
            return connection.xrange(key)
        case other:
            raise AssertionError(f"{key!r} is a {other!r}")
