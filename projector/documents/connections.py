"""Connections of one thread that send commands at once: to a server, or to a cluster's nodes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Protocol

import redis
from redis.cluster import ClusterNode, get_node_name
from redis.exceptions import AskError, MovedError, RedisClusterException

from shared.read_model.clients import (
    REDIRECTIONS,
    Client,
    Cluster,
    Command,
    packed,
    prefix_of,
    slot_of,
)

# While slots move, a node refuses a command whose keys are on two nodes: retry this often.
RETRIES_MAX = 100
RETRY_AFTER_S = 0.02


class Connections(Protocol):
    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send the commands at once and return their replies, with refusals in their places.

        Raises Redis's errors if a server does not answer.
        """
        ...

    def ask_at_once(self, commands: Sequence[Command]) -> list[Any]:
        """Ask for keys of one partition in one transaction.

        Raises Redis's errors if it is not carried out.
        """
        ...

    def forget(self) -> None:
        """Drop the connections, for example after an error."""
        ...


def connections_of(client: Client) -> Connections:
    """Return connections to the servers of a client."""
    if isinstance(client, Cluster):
        return _NodeConnections(client)
    return _ServerConnection(client)


class _ServerConnection:
    """Own connection, so that a pass does not ask the pool for one at every step."""

    def __init__(self, client: Any) -> None:
        self._connection: Any = client.connection_pool.make_connection()

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        return _replies(self._connection, commands)

    def ask_at_once(self, commands: Sequence[Command]) -> list[Any]:
        return _transaction(self._connection, commands)

    def forget(self) -> None:
        self._connection.disconnect()


class _NodeConnections:
    """A connection to each node; each command goes to the node that serves its keys."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._connections: dict[str, Any] = {}
        self._is_stale = False

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        replies: list[Any] = [None] * len(commands)
        try:
            if self._is_stale:
                self._cluster.nodes_manager.initialize()
                self._is_stale = False
            # Announcements go last, since they are about the other commands.
            last = [place for place, one in enumerate(commands) if one[0] == "PUBLISH"]
            first = [place for place, one in enumerate(commands) if one[0] != "PUBLISH"]
            for places in (first, last):
                self._ask(commands, places, replies)
        except RedisClusterException as error:
            self.forget()
            raise redis.ConnectionError(str(error)) from error
        except redis.RedisError:
            self.forget()
            raise
        return replies

    def ask_at_once(self, commands: Sequence[Command]) -> list[Any]:
        for _ in range(RETRIES_MAX):
            # Alone first: this finds the node that serves the partition now.
            self.ask(commands[:1])
            connection = self._connection(self._node_of(commands[0]))
            try:
                return _transaction(connection, commands)
            except REDIRECTIONS:
                time.sleep(RETRY_AFTER_S)
            except redis.RedisError:
                self.forget()
                raise
        raise redis.ConnectionError("a partition is being moved")

    def forget(self) -> None:
        for connection in self._connections.values():
            connection.disconnect()
        self._connections.clear()
        self._is_stale = True

    def _ask(self, commands: Sequence[Command], places: Sequence[int], replies: list[Any]) -> None:
        """Send the commands at `places`, in their order, until their nodes serve them."""
        asked: dict[int, ClusterNode] = {}
        for _ in range(RETRIES_MAX):
            by_node: dict[str, list[int]] = defaultdict(list)
            nodes: dict[str, ClusterNode] = {}
            for place in places:
                node = asked.get(place) or self._node_of(commands[place])
                nodes[node.name] = node
                by_node[node.name].append(place)
            self._ask_nodes(commands, by_node, nodes, asked, replies)
            places = [place for place in places if isinstance(replies[place], REDIRECTIONS)]
            if not places:
                return
            asked = self._followed({place: replies[place] for place in places})
        raise replies[places[0]]

    def _ask_nodes(
        self,
        commands: Sequence[Command],
        by_node: dict[str, list[int]],
        nodes: dict[str, ClusterNode],
        asked: dict[int, ClusterNode],
        replies: list[Any],
    ) -> None:
        sent = []
        for name, places in by_node.items():
            connection = self._connection(nodes[name])
            wire = []
            for place in places:
                if place in asked:
                    wire.append(packed(("ASKING",)))
                wire.append(packed(commands[place]))
            connection.send_packed_command([b"".join(wire)])
            sent.append((connection, places))
        for connection, places in sent:
            for place in places:
                if place in asked:
                    connection.read_response()
                replies[place] = _reply(connection)

    def _followed(self, refusals: dict[int, Exception]) -> dict[int, ClusterNode]:
        """Note where slots have moved; return the nodes to ask for keys that are moving."""
        asked: dict[int, ClusterNode] = {}
        wait = True
        for place, refusal in refusals.items():
            if isinstance(refusal, MovedError):
                self._cluster.nodes_manager.move_slot(refusal)
                wait = False
            elif isinstance(refusal, AskError):
                nodes = self._cluster.nodes_manager.nodes_cache
                node = nodes.get(get_node_name(refusal.host, refusal.port))
                if node is not None:
                    asked[place] = node
                    wait = False
        if wait:
            time.sleep(RETRY_AFTER_S)
        return asked

    def _node_of(self, command: Command) -> ClusterNode:
        return self._cluster.nodes_manager.get_node_from_slot(slot_of(prefix_of(command)))

    def _connection(self, node: ClusterNode) -> Any:
        connection = self._connections.get(node.name)
        if connection is None:
            client = self._cluster.get_redis_connection(node)
            connection = self._connections[node.name] = client.connection_pool.make_connection()
        return connection


def _transaction(connection: Any, commands: Sequence[Command]) -> list[Any]:
    *queued, replies = _replies(connection, [("MULTI",), *commands, ("EXEC",)])
    if isinstance(replies, Exception):
        raise next((one for one in queued if isinstance(one, Exception)), replies)
    found: list[Any] = replies
    return found


def _replies(connection: Any, commands: Sequence[Command]) -> list[Any]:
    connection.send_packed_command([b"".join(map(packed, commands))])
    return [_reply(connection) for _ in commands]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as refusal:
        return refusal
