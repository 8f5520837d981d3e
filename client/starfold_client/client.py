"""The clients of both APIs: `Starfold` blocks, `AsyncStarfold` awaits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable
from types import TracebackType
from typing import Self

import httpx

from starfold_client.answers import LiveReset, LiveUpdate, Session
from starfold_client.caller import Caller
from starfold_client.commands import Commands
from starfold_client.exchange import renewal
from starfold_client.live import SILENCE_S, LiveUpdates
from starfold_client.reads import Reads
from starfold_client.rows import Id
from starfold_client.transport.drivers import (
    AsyncPools,
    Awaiting,
    Blocking,
    OnPause,
    Options,
    Pools,
)

TIMEOUT_S = 30.0
# Long enough for a server to restart.
PATIENCE_S = 60.0


class Starfold(Commands, Reads, Blocking):
    """Client of both APIs that blocks; threads may share it."""

    def __init__(
        self,
        command_url: str,
        query_url: str,
        *,
        api_key: str | None = None,
        session: Session | None = None,
        position: int = 0,
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
        trust_env: bool | None = None,
        on_pause: OnPause | None = None,
    ) -> None:
        """Call as nobody, as a service (`api_key`), or with the session of an earlier log-in.

        Reads include everything up to `position` and all writes of this client. A request may wait
        `timeout_s` for the server, and is repeated for at most `patience_s`. Proxy variables are
        honoured except for this machine itself, unless `trust_env` says otherwise. `on_pause` is
        called before each pause with the reason and the seconds.
        """
        options = Options(timeout_s, trust_env)
        pools: Pools = {
            "command": httpx.Client(**options.of(command_url)),
            "query": httpx.Client(**options.of(query_url)),
        }
        super().__init__(Caller(api_key, session, position), pools, patience_s, on_pause)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, unless they are another client's."""
        if self.owns_pools:
            for pool in self.pools.values():
                pool.close()

    def for_caller(
        self,
        *,
        api_key: str | None = None,
        session: Session | None = None,
        position: int = 0,
        forwarded_for: str | None = None,
    ) -> Self:
        """Return a client of another caller that shares this one's connections.

        A server passes the address of the person that it calls for as `forwarded_for`; an API that
        trusts the server as a proxy counts its rate limits by that address.
        """
        other = object.__new__(type(self))
        caller = Caller(api_key, session, position, forwarded_for)
        Blocking.__init__(
            other, caller, self.pools, self.patience_s, self.on_pause, owns_pools=False
        )
        return other

    def renew(self) -> None:
        """Renew the session's tokens now; raise `NotAuthenticated` if the session has ended."""
        self.run(renewal(self.caller))

    def stream(
        self, movies: Iterable[Id] | None = None, *, after: int | None = None
    ) -> Generator[LiveUpdate | LiveReset, None, None]:
        """Iterate over the changes of some movies (at most 100) or all, without end.

        A lost connection is opened again, and continues after the last event; pass the position
        of a read as `after` to miss nothing since.
        """
        live = LiveUpdates(self.caller, movies, after, self.patience_s)
        while True:
            try:
                with self.opened(live.request(), silence_s=SILENCE_S) as response:
                    if response.is_success:
                        live.opened()
                        for line in response.iter_lines():
                            yield from live.line(line)
                    else:
                        response.read()
            except httpx.TransportError as error:
                self.run(live.broken(error))
            else:
                self.run(live.closed(response))


class AsyncStarfold(Commands, Reads, Awaiting):
    """Client of both APIs that awaits, for one event loop."""

    def __init__(
        self,
        command_url: str,
        query_url: str,
        *,
        api_key: str | None = None,
        session: Session | None = None,
        position: int = 0,
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
        trust_env: bool | None = None,
        on_pause: OnPause | None = None,
    ) -> None:
        """Call as nobody, as a service (`api_key`), or with the session of an earlier log-in.

        Reads include everything up to `position` and all writes of this client. A request may wait
        `timeout_s` for the server, and is repeated for at most `patience_s`. Proxy variables are
        honoured except for this machine itself, unless `trust_env` says otherwise. `on_pause` is
        called before each pause with the reason and the seconds.
        """
        options = Options(timeout_s, trust_env)
        pools: AsyncPools = {
            "command": httpx.AsyncClient(**options.of(command_url)),
            "query": httpx.AsyncClient(**options.of(query_url)),
        }
        super().__init__(Caller(api_key, session, position), pools, patience_s, on_pause)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, unless they are another client's."""
        if self.owns_pools:
            for pool in self.pools.values():
                await pool.aclose()

    def for_caller(
        self,
        *,
        api_key: str | None = None,
        session: Session | None = None,
        position: int = 0,
        forwarded_for: str | None = None,
    ) -> Self:
        """Return a client of another caller that shares this one's connections.

        A server passes the address of the person that it calls for as `forwarded_for`; an API that
        trusts the server as a proxy counts its rate limits by that address.
        """
        other = object.__new__(type(self))
        caller = Caller(api_key, session, position, forwarded_for)
        Awaiting.__init__(
            other, caller, self.pools, self.patience_s, self.on_pause, owns_pools=False
        )
        return other

    async def renew(self) -> None:
        """Renew the session's tokens now; raise `NotAuthenticated` if the session has ended."""
        await self.run(renewal(self.caller))

    async def stream(
        self, movies: Iterable[Id] | None = None, *, after: int | None = None
    ) -> AsyncGenerator[LiveUpdate | LiveReset, None]:
        """Iterate over the changes of some movies (at most 100) or all, without end.

        A lost connection is opened again, and continues after the last event; pass the position
        of a read as `after` to miss nothing since.
        """
        live = LiveUpdates(self.caller, movies, after, self.patience_s)
        while True:
            try:
                async with self.opened(live.request(), silence_s=SILENCE_S) as response:
                    if response.is_success:
                        live.opened()
                        async for line in response.aiter_lines():
                            for event in live.line(line):
                                yield event
                    else:
                        await response.aread()
            except httpx.TransportError as error:
                await self.run(live.broken(error))
            else:
                await self.run(live.closed(response))
