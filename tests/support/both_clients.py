"""Both clients behind one interface, so that each of their tests is written once.

`Awaited` runs an `AsyncStarfold` on an event loop of its own, and waits for each result.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from inspect import isawaitable
from typing import Any, Self, cast

from starfold_client import AsyncStarfold, Starfold
from starfold_client.routes import AsyncBulkMethod, AsyncMethod

WITHIN_S = 60.0


class Awaited:
    """Looks like a `Starfold`."""

    def __init__(self, client: AsyncStarfold, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name == "for_caller":
            return lambda **options: Awaited(found(**options), self._loop)
        if callable(found):
            return _Function(self._wait, found)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self._client.close())

    def _wait(self, result: Any) -> Any:
        if isinstance(result, AsyncGenerator):
            return self._each(result)
        if not isawaitable(result):
            return result

        async def awaited() -> Any:
            return await result

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result(WITHIN_S)

    def _each(self, results: AsyncGenerator[Any, None]) -> Iterator[Any]:
        end = object()
        try:
            while (one := self._wait(anext(results, end))) is not end:
                yield one
        finally:
            self._wait(results.aclose())


class _Function:
    def __init__(self, wait: Callable[[Any], Any], function: Callable[..., Any]) -> None:
        self._wait = wait
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._wait(self._function(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        assert isinstance(self._function, AsyncMethod | AsyncBulkMethod)
        return _Function(self._wait, getattr(self._function, name))


class Clients:
    """Makes clients of one kind, and closes them."""

    def __init__(self, kind: type[Starfold | AsyncStarfold]) -> None:
        self.kind = kind
        self._made: list[Starfold] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="clients")
        self._thread.start()

    def __call__(self, command_url: str, query_url: str, **options: Any) -> Starfold:
        client: Any = self.kind(command_url, query_url, **options)
        if isinstance(client, AsyncStarfold):
            client = Awaited(client, self._loop)
        self._made.append(client)
        return cast("Starfold", client)

    def close(self) -> None:
        for client in self._made:
            client.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
