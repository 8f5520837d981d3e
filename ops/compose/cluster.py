"""Make a cluster of Redis or Valkey from running nodes: primaries with a replica each.

The first half of the nodes become the primaries. Each step looks at the cluster first, so that it
may be interrupted and run again, after a failover too.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import redis
import structlog

from ops.errors import OperatorError
from shared.process.cluster_address import ClusterAddress

SLOTS = 16_384
WITHIN_S = 120.0
ANSWER_WITHIN_S = 5
POLL_S = 0.1
_BUS_PORT_OFFSET = 10_000

log = structlog.get_logger()


def make_cluster(address: ClusterAddress) -> None:
    """Join the nodes, serve every slot, and give each primary a replica.

    Raises `OperatorError` if the cluster does not agree within two minutes.
    """
    nodes = [_Node(address, host, port) for host, port in address.nodes]
    half = len(nodes) // 2
    pairs = list(zip(nodes[:half], nodes[half:], strict=True))
    try:
        _wait("a node of the cluster does not answer", lambda: all(one.answers() for one in nodes))
        for other in nodes[1:]:
            nodes[0].meet(other)
        ids = {one.id for one in nodes}
        _wait("a node does not know all others", lambda: all(one.knows(ids) for one in nodes))
        _serve_slots(pairs)
        for pair in pairs:
            _replicate(*pair)
        _wait("the nodes do not agree", lambda: all(one.is_settled() for one in nodes))
    finally:
        for one in nodes:
            one.client.close()
    log.info("cluster_ready", nodes=len(nodes))


class _Node:
    """A node, and the cluster as this node sees it."""

    def __init__(self, address: ClusterAddress, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.client: Any = redis.Redis.from_url(
            address.url_of(host, port), protocol=2, socket_timeout=ANSWER_WITHIN_S
        )

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.AuthenticationError as error:
            raise OperatorError(f"{self.host} refuses the password: {error}") from error
        except redis.RedisError:
            return False

    def all(self) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.client.execute_command("CLUSTER NODES")
        return list(found.values())

    def itself(self) -> dict[str, Any]:
        return next(one for one in self.all() if "myself" in one["flags"])

    @property
    def id(self) -> str:
        return str(self.itself()["node_id"])

    @property
    def is_primary(self) -> bool:
        return "master" in self.itself()["flags"]

    def meet(self, other: _Node) -> None:
        """Introduce another node; a known one's new address is learned in this way too."""
        bus_port = int(other.client.config_get("cluster-port")["cluster-port"])
        # A node takes no names.
        ip = socket.gethostbyname(other.host)
        self.client.execute_command(
            "CLUSTER MEET", ip, other.port, bus_port or other.port + _BUS_PORT_OFFSET
        )

    def knows(self, ids: set[str]) -> bool:
        return ids <= {one["node_id"] for one in self.all() if one["connected"]}

    def is_settled(self) -> bool:
        if self.client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            return False
        return self.is_primary or self.client.info("replication")["master_link_status"] == "up"


def _serve_slots(pairs: list[tuple[_Node, _Node]]) -> None:
    """Assign each pair's range of slots, unless some node serves it already."""
    served = {int(slots[0]) for one in pairs[0][0].all() for slots in one["slots"]}
    for number, (node, _) in enumerate(pairs):
        start, end = (SLOTS * n // len(pairs) for n in (number, number + 1))
        if not any(start <= first < end for first in served):
            node.client.execute_command("CLUSTER ADDSLOTSRANGE", start, end - 1)


def _replicate(one: _Node, other: _Node) -> None:
    """Make the node of a pair that serves no slots the other one's replica."""
    spare, holder = (other, one) if one.itself()["slots"] else (one, other)
    if spare.is_primary and holder.itself()["slots"] and not spare.itself()["slots"]:
        spare.client.execute_command("CLUSTER REPLICATE", holder.id)


def _wait(what_is_wrong: str, condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + WITHIN_S
    while not condition():
        if time.monotonic() > give_up_at:
            raise OperatorError(f"{what_is_wrong} after {WITHIN_S:.0f} s")
        time.sleep(POLL_S)
