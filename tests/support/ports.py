"""Ports for servers that a test starts later."""

from __future__ import annotations

import errno
import itertools
import os
import random
import socket

# The kernel gives ports from 32768 on to outgoing connections, and might take one of them between
# the choice here and the server's start. Each process of pytest has a range of its own.
FIRST = 20_000
PORTS_A_PROCESS = 1_000
PROCESSES_MAX = 12

_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES_MAX
_start = random.randrange(PORTS_A_PROCESS)
_turns = itertools.count()


def free_port() -> int:
    """Return a port of loopback that nobody has, and that was not returned lately."""
    for turn in itertools.islice(_turns, PORTS_A_PROCESS):
        port = FIRST + _process * PORTS_A_PROCESS + (_start + turn) % PORTS_A_PROCESS
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
    raise OSError(errno.EADDRINUSE, "every port of this process is taken")
