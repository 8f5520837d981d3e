"""The address of a cluster of Redis or Valkey: some of its nodes."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

SCHEMES: Final = ("redis+cluster", "rediss+cluster")
PORT = 6379

_URL = re.compile(r"(rediss?)\+cluster://(?:([^@/]*)@)?([^/?]+)/?(\?.*)?")


class ClusterAddress(NamedTuple):
    """Some nodes of a cluster, and how to connect to each of its nodes."""

    scheme: str
    credentials: str
    nodes: tuple[tuple[str, int], ...]
    query: str

    def url_of(self, host: str, port: int) -> str:
        """Return the URL of one node."""
        address = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{self.credentials}{address}:{port}{self.query}"


def cluster_address(url: str) -> ClusterAddress | None:
    """Parse `redis+cluster://user:password@host:port,host:port`; None for another scheme.

    Raises `ValueError`.
    """
    if url.partition("://")[0] not in SCHEMES:
        return None
    matched = _URL.fullmatch(url)
    if matched is None:
        raise ValueError("is not an address like redis+cluster://host:6379,host:6379")
    scheme, credentials, hosts, query = matched.groups(default="")
    nodes = []
    for node in hosts.split(","):
        host, separator, port = node.rpartition(":")
        if not separator or node.endswith("]"):
            host, port = node, str(PORT)
        if not port.isdigit():
            raise ValueError("has an invalid port")
        nodes.append((host.strip("[]"), int(port)))
    return ClusterAddress(scheme, f"{credentials}@" if credentials else "", tuple(nodes), query)
