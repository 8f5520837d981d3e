"""Servers that vanish silently: nothing answers any more, and no connection closes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.support.servers import Server

POLL_S = 0.05


class SilentProxy:
    """A port of loopback in front of a server's Unix socket.

    `silence` is a firewall that drops packets: connections stay open and carry nothing, now and
    for ever; `heal` lets new ones through.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._passing = threading.Event()
        self._passing.set()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._accepting = threading.Thread(target=self._accept, name="silent-proxy", daemon=True)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for pair in self._pairs:
            pair.close()

    def silence(self) -> None:
        with self._lock:
            self._passing.clear()
            for pair in self._pairs:
                pair.silence()

    def heal(self) -> None:
        self._passing.set()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                pair = _Pair(client, self._target, silent=not self._passing.is_set())
                self._pairs.append(pair)


class _Pair:
    """One connection and the server's end of it."""

    def __init__(self, client: socket.socket, target: Path, *, silent: bool) -> None:
        self._ends = [client]
        self._silent = threading.Event()
        self._threads: list[threading.Thread] = []
        if silent:
            self._silent.set()
            return
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(target))
        self._ends.append(server)
        for source, sink in ((client, server), (server, client)):
            thread = threading.Thread(target=self._copy, args=(source, sink), daemon=True)
            thread.start()
            self._threads.append(thread)

    def silence(self) -> None:
        self._silent.set()

    def close(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                if not self._silent.is_set():
                    sink.sendall(data)
        except OSError:
            pass
        if not self._silent.is_set():
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def paused(server: Server) -> Iterator[None]:
    """Stop the server and all its processes (SIGSTOP), and resume them afterwards."""
    guardian = psutil.Process(server.pid)
    processes = guardian.children(recursive=True)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # A connection that has just ended.
            process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
