"""The two transports: each performs the steps of a flow on an `httpx` client for each API."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeVar

import httpx

from starfold_client.answers import Session
from starfold_client.caller import Caller
from starfold_client.errors import ClientError
from starfold_client.transport.steps import Alone, Api, Flow, Pause, Send, Step

T = TypeVar("T")
Pools = dict[Api, httpx.Client]
AsyncPools = dict[Api, httpx.AsyncClient]
OnPause = Callable[[ClientError, float], None]

CONNECT_TIMEOUT_S = 5.0


class Options:
    """The options of the `httpx` client for an address.

    Proxy variables do not concern this machine itself. Certificates are loaded only where they may
    be needed, since that takes as long as many a request.
    """

    def __init__(self, timeout_s: float, trust_env: bool | None) -> None:
        self._timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))
        self._trust_env = trust_env

    def of(self, url: str) -> dict[str, Any]:
        address = httpx.URL(url)
        trust_env = self._trust_env
        if trust_env is None:
            trust_env = not _is_loopback(address.host)
        return {
            "base_url": url,
            "timeout": self._timeout,
            "trust_env": trust_env,
            "verify": trust_env or address.scheme == "https",
        }


class Client:
    """A caller, how patient they are, and the function to call before each pause."""

    def __init__(self, caller: Caller, patience_s: float, on_pause: OnPause | None) -> None:
        self.caller = caller
        self.patience_s = patience_s
        self.on_pause = on_pause

    @property
    def session(self) -> Session | None:
        """The tokens of the session now, for another client to continue it."""
        return self.caller.session

    @property
    def position(self) -> int:
        """The position of the last write; reads include it."""
        return self.caller.position

    def announce(self, pause: Pause) -> None:
        if self.on_pause is not None:
            self.on_pause(pause.failed, pause.seconds)


class Blocking(Client):
    """Performs steps by blocking the thread; safe to use from several threads."""

    def __init__(
        self,
        caller: Caller,
        pools: Pools,
        patience_s: float,
        on_pause: OnPause | None,
        *,
        owns_pools: bool = True,
    ) -> None:
        super().__init__(caller, patience_s, on_pause)
        self.pools = pools
        self.owns_pools = owns_pools
        self._alone = threading.Lock()

    def opened(self, request: Send, silence_s: float) -> AbstractContextManager[httpx.Response]:
        """Send a request, and return its answer before its body has come."""
        return self.pools[request.api].stream(
            request.method, request.path, **_parts(request), timeout=silence_s
        )

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        try:
            step = next(flow)
            while True:
                try:
                    outcome = self._perform(step)
                except (httpx.HTTPError, ClientError) as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    def _perform(self, step: Step) -> httpx.Response | None:
        match step:
            case Send():
                return self.pools[step.api].request(step.method, step.path, **_parts(step))
            case Pause():
                self.announce(step)
                time.sleep(step.seconds)
            case Alone():
                with self._alone:
                    self.run(step.flow)
        return None


class Awaiting(Client):
    """Performs steps by awaiting them; for one event loop."""

    def __init__(
        self,
        caller: Caller,
        pools: AsyncPools,
        patience_s: float,
        on_pause: OnPause | None,
        *,
        owns_pools: bool = True,
    ) -> None:
        super().__init__(caller, patience_s, on_pause)
        self.pools = pools
        self.owns_pools = owns_pools
        self._alone = asyncio.Lock()

    def opened(
        self, request: Send, silence_s: float
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """Send a request, and return its answer before its body has come."""
        return self.pools[request.api].stream(
            request.method, request.path, **_parts(request), timeout=silence_s
        )

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        try:
            step = next(flow)
            while True:
                try:
                    outcome = await self._perform(step)
                except (httpx.HTTPError, ClientError) as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _perform(self, step: Step) -> httpx.Response | None:
        match step:
            case Send():
                return await self.pools[step.api].request(step.method, step.path, **_parts(step))
            case Pause():
                self.announce(step)
                await asyncio.sleep(step.seconds)
            case Alone():
                async with self._alone:
                    await self.run(step.flow)
        return None


def _parts(request: Send) -> dict[str, Any]:
    return {"params": request.query, "headers": request.headers, "content": request.content}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
