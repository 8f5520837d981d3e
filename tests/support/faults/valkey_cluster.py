"""A cluster of real Valkey servers on loopback: three primaries with a replica each."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from ops.compose.cluster import make_cluster
from ops.home import redis_users
from ops.home.folder import Home
from ops.local.child import ChildSpec
from ops.local.servers import valkey_spec
from shared.process.cluster_address import cluster_address
from tests.support.faults.silent_proxy import paused
from tests.support.servers import Server
from tests.support.system import eventually

PRIMARIES = 3
# A primary that is silent for this time is replaced by its replica.
NODE_TIMEOUT_MS = 1_000
READY_WITHIN_S = 60.0
MIGRATED_AT_ONCE, MIGRATED_WITHIN_MS = 10, 5_000
# A node that answers takes milliseconds.
ANSWER_WITHIN_S = 1.0


class Node:
    """One server of a cluster; it may be killed and started again."""

    def __init__(self, home: Home, folder: Path) -> None:
        folder.mkdir()
        self.port, self.bus_port = _two_free_ports()
        password = home.secrets().redis_passwords[redis_users.OWNER]
        lines = {
            "bind": "127.0.0.1",
            "port": self.port,
            "cluster-enabled": "yes",
            "cluster-port": self.bus_port,
            "cluster-node-timeout": NODE_TIMEOUT_MS,
            "cluster-replica-validity-factor": 0,
            "aclfile": home.write_redis_users(),
            "primaryuser": redis_users.OWNER,
            "primaryauth": password,
            "dir": folder,
            "save": '""',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "repl-diskless-sync-delay": 0,
        }
        configuration = folder / "valkey.conf"
        configuration.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        self.client: Any = redis.Redis(
            port=self.port,
            username=redis_users.OWNER,
            password=password,
            socket_timeout=ANSWER_WITHIN_S,
        )
        spec: ChildSpec = valkey_spec(home)
        argv = [spec.argv[0], str(configuration)]
        self.server = Server(
            spec._replace(
                name="valkey-node",
                argv=argv,
                ready=self.answers,
                prepare=lambda: None,
                output=folder / "log",
            )
        )

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def kill(self) -> None:
        self.server.kill()

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.BusyLoadingError:
            return False
        except redis.RedisError:
            return False

    @property
    def id(self) -> str:
        found: bytes = self.client.execute_command("CLUSTER MYID")
        return found.decode()

    @property
    def is_primary(self) -> bool:
        return bool(self.client.role()[0] == b"master")

    @property
    def state(self) -> dict[str, str]:
        found: Any = self.client.execute_command("CLUSTER INFO")
        if isinstance(found, bytes):
            found = dict(line.split(":") for line in found.decode().split())
        return {str(name): str(value) for name, value in found.items()}


class ValkeyCluster:
    """The cluster; `url` is for clients with a user of the home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._folder = Path(tempfile.mkdtemp(prefix="sf-cluster-"))
        self.nodes = [Node(home, self._folder / str(n)) for n in range(2 * PRIMARIES)]

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        self.make()
        self.wait_whole()

    def make(self) -> None:
        """Make a cluster of the nodes, as the step of the compose file does."""
        address = cluster_address(self.url(redis_users.OWNER))
        assert address is not None
        make_cluster(address)

    def url(self, user: str) -> str:
        password = self._home.secrets().redis_passwords[user]
        nodes = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"redis+cluster://{user}:{password}@{nodes}"

    @property
    def primaries(self) -> list[Node]:
        return [node for node in self.nodes if node.answers() and node.is_primary]

    def wait_whole(self) -> None:
        """Wait until every primary has a replica that follows it, and all agree."""
        eventually(self._is_whole, READY_WITHIN_S)

    def kill_primary(self, node: Node) -> float:
        """Kill a primary; return the seconds until its replica has taken over."""
        return self._replaced(node, node.kill)

    def hang_primary(self, node: Node) -> float:
        """Stop a primary where it is until its replica has taken over; return those seconds."""
        with contextlib.ExitStack() as stack:
            return self._replaced(node, lambda: stack.enter_context(paused(node.server)))

    def _replaced(self, node: Node, fail: Callable[[], object]) -> float:
        others = {one.port for one in self.primaries} - {node.port}
        failed_at = time.monotonic()
        fail()
        eventually(
            lambda: (
                len([one for one in self.primaries if one.port not in others]) == 1
                and all(one.state["cluster_state"] == "ok" for one in self.primaries)
            ),
            READY_WITHIN_S,
        )
        return time.monotonic() - failed_at

    def move_slot(self, key: str) -> None:
        """Move the slot of a key to another primary, key by key, while it is used."""
        slot = key_slot(key.encode())
        primaries = self.primaries
        source = next(one for one in primaries if self._serves(one, slot))
        target = next(one for one in primaries if one is not source)
        target.client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
        source.client.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", target.id)
        user = redis_users.OWNER
        password = self._home.secrets().redis_passwords[user]
        while True:
            keys = source.client.execute_command("CLUSTER GETKEYSINSLOT", slot, MIGRATED_AT_ONCE)
            if not keys:
                break
            to = ["127.0.0.1", target.port, "", 0, MIGRATED_WITHIN_MS, "AUTH2", user, password]
            source.client.execute_command("MIGRATE", *to, "KEYS", *keys)
        for node in (target, source, *(one for one in primaries if one not in (source, target))):
            node.client.execute_command("CLUSTER SETSLOT", slot, "NODE", target.id)

    def close(self) -> None:
        for node in self.nodes:
            node.client.close()
            with contextlib.suppress(AssertionError):
                node.stop()
        shutil.rmtree(self._folder)

    def _knows_all(self, node: Node) -> bool:
        return node.state["cluster_known_nodes"] == str(len(self.nodes)) and (
            node.state["cluster_state"] == "ok"
        )

    def _is_whole(self) -> bool:
        if not all(one.answers() and self._knows_all(one) for one in self.nodes):
            return False
        replicas = [one for one in self.nodes if not one.is_primary]
        linked = all(one.client.role()[3] == b"connected" for one in replicas)
        return linked and len(replicas) == len(self.nodes) - PRIMARIES

    def _serves(self, node: Node, slot: int) -> bool:
        for start, end, primary, *_ in node.client.execute_command("CLUSTER SLOTS"):
            if start <= slot <= end:
                return bool(primary[1] == node.port)
        return False


@contextlib.contextmanager
def valkey_cluster(home: Home) -> Iterator[ValkeyCluster]:
    cluster = ValkeyCluster(home)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def _two_free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        ports = []
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    return ports[0], ports[1]
