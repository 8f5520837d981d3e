"""Routes as methods: one definition serves both clients.

A method of `Commands` or `Reads` only says what goes into the request. On `Starfold` it is a
function that returns the answer, on `AsyncStarfold` one that returns an awaitable, and type
checkers know which (`__get__`).
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from msgspec import UNSET

from starfold_client.answers import Page, RowResult, RowResults
from starfold_client.bulk import Bulk, Cut
from starfold_client.caller import Caller
from starfold_client.exchange import Answer, Arguments, Endpoint, exchange
from starfold_client.transport.drivers import Awaiting, Blocking
from starfold_client.transport.steps import Flow

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")
Row = TypeVar("Row")

Build = Callable[Concatenate[Any, P], Arguments]


class Route(Generic[P, T]):
    """A method that sends one request."""

    def __init__(self, endpoint: Endpoint[T], build: Build[P]) -> None:
        self.endpoint = endpoint
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Method[P, T]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> AsyncMethod[P, T]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self
        return (Method if isinstance(client, Blocking) else AsyncMethod)(self, client)


def command(
    method: str,
    path: str,
    decode: Callable[[bytes], T],
    *,
    takes_key: bool = True,
    has_credential: bool = True,
    is_repeatable: bool = True,
    after: Callable[[Caller, T], None] | None = None,
) -> Callable[[Build[P]], Route[P, T]]:
    """Make a method a route of the command API."""
    endpoint = Endpoint(
        "command",
        method,
        path,
        decode,
        takes_key=takes_key,
        has_credential=has_credential,
        is_repeatable=is_repeatable,
        after=after,
    )
    return lambda build: Route(endpoint, build)


class Method(Generic[P, T]):
    """A route of a `Starfold`: call it for the answer's value."""

    def __init__(self, route: Route[P, T], client: Blocking) -> None:
        self._route = route
        self._client = client

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.answer(*args, **kwargs).value

    def answer(self, *args: P.args, **kwargs: P.kwargs) -> Answer[T]:
        """Call it for the value and what the header fields say: position, etag, location."""
        arguments = self._route.build(None, *args, **kwargs)
        return self._client.run(flow(self._route, arguments, self._client))


class AsyncMethod(Generic[P, T]):
    """A route of an `AsyncStarfold`: call and await it for the answer's value."""

    def __init__(self, route: Route[P, T], client: Awaiting) -> None:
        self._route = route
        self._client = client

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return (await self.answer(*args, **kwargs)).value

    async def answer(self, *args: P.args, **kwargs: P.kwargs) -> Answer[T]:
        """Call it for the value and what the header fields say: position, etag, location."""
        arguments = self._route.build(None, *args, **kwargs)
        return await self._client.run(flow(self._route, arguments, self._client))


class ListRoute(Route[P, Page[Item]]):
    """A method that reads one page of a list; its `all` reads the whole list."""

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> ListMethod[P, Item]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> AsyncListMethod[P, Item]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self
        return (ListMethod if isinstance(client, Blocking) else AsyncListMethod)(self, client)


class ListMethod(Method[P, Page[Item]], Generic[P, Item]):
    """A list of a `Starfold`: call it for one page."""

    def all(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[Item]:
        """Iterate over all items from here on, page by page."""
        arguments = self._route.build(None, *args, **kwargs)
        while True:
            page = self._client.run(flow(self._route, arguments, self._client)).value
            yield from page.items
            if page.next_cursor is None:
                return
            arguments = _at(arguments, page.next_cursor)


class AsyncListMethod(AsyncMethod[P, Page[Item]], Generic[P, Item]):
    """A list of an `AsyncStarfold`: call and await it for one page."""

    async def all(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Item]:
        """Iterate over all items from here on, page by page."""
        arguments = self._route.build(None, *args, **kwargs)
        while True:
            page = (await self._client.run(flow(self._route, arguments, self._client))).value
            for item in page.items:
                yield item
            if page.next_cursor is None:
                return
            arguments = _at(arguments, page.next_cursor)


class BulkRoute(Generic[Row]):
    """A method that sends any number of rows, in as many requests as they need."""

    def __init__(self, endpoint: Endpoint[RowResults], bulk: Bulk[Row], doc: str) -> None:
        self.endpoint = endpoint
        self.bulk = bulk
        self.__doc__ = doc

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> BulkMethod[Row]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> AsyncBulkMethod[Row]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self
        return (BulkMethod if isinstance(client, Blocking) else AsyncBulkMethod)(self, client)


class BulkMethod(Generic[Row]):
    def __init__(self, route: BulkRoute[Row], client: Blocking) -> None:
        self._route = route
        self._client = client

    def __call__(
        self,
        rows: Iterable[Row],
        *,
        rows_a_request: int | None = None,
        idempotency_key: str | None = None,
    ) -> Iterator[tuple[Row, RowResult]]:
        """Send rows as they come, and yield each with its result, in order.

        Give an `idempotency_key` to repeat a call of another process with the same rows.
        """
        cutter = self._route.bulk.cutter(rows_a_request)
        for row in rows:
            if (cut := cutter.add(row)) is not None:
                yield from self._send(cut, idempotency_key)
        if (cut := cutter.rest()) is not None:
            yield from self._send(cut, idempotency_key)

    def _send(self, cut: Cut[Row], key: str | None) -> Iterator[tuple[Row, RowResult]]:
        return cut.results(self._client.run(bulk_flow(self._route, cut, self._client, key)).value)


class AsyncBulkMethod(Generic[Row]):
    def __init__(self, route: BulkRoute[Row], client: Awaiting) -> None:
        self._route = route
        self._client = client

    async def __call__(
        self,
        rows: Iterable[Row] | AsyncIterable[Row],
        *,
        rows_a_request: int | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncIterator[tuple[Row, RowResult]]:
        """Send rows as they come, and yield each with its result, in order.

        Give an `idempotency_key` to repeat a call of another process with the same rows.
        """
        cutter = self._route.bulk.cutter(rows_a_request)
        async for row in _each(rows):
            if (cut := cutter.add(row)) is not None:
                for result in await self._send(cut, idempotency_key):
                    yield result
        if (cut := cutter.rest()) is not None:
            for result in await self._send(cut, idempotency_key):
                yield result

    async def _send(self, cut: Cut[Row], key: str | None) -> Iterator[tuple[Row, RowResult]]:
        answer = await self._client.run(bulk_flow(self._route, cut, self._client, key))
        return cut.results(answer.value)


def flow(route: Route[P, T], arguments: Arguments, client: Blocking | Awaiting) -> Flow[Answer[T]]:
    return exchange(route.endpoint, arguments, client.caller, client.patience_s)


def bulk_flow(
    route: BulkRoute[Row], cut: Cut[Row], client: Blocking | Awaiting, key: str | None
) -> Flow[Answer[RowResults]]:
    endpoint = replace(route.endpoint, takes_key=key is not None or not cut.is_repeatable)
    # Each request of the call has a key of its own.
    own_key = None if key is None else f"{key}:{cut.first}"
    arguments = Arguments(body=cut.body, idempotency_key=own_key)
    return exchange(endpoint, arguments, client.caller, client.patience_s)


def given(**values: object) -> Mapping[str, object]:
    """Return the fields of a body without the ones that are UNSET."""
    return {name: value for name, value in values.items() if value is not UNSET}


def _at(arguments: Arguments, cursor: str) -> Arguments:
    return replace(arguments, query={**arguments.query, "cursor": cursor})


async def _each(rows: Iterable[Row] | AsyncIterable[Row]) -> AsyncIterator[Row]:
    if isinstance(rows, AsyncIterable):
        async for row in rows:
            yield row
    else:
        for row in rows:
            yield row
