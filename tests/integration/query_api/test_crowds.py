"""Many clients at once: every answer is a read or a 503 that says when to come back."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from urllib.parse import urlsplit

import httpx
import pytest

from query_api.app import create_app
from tests.support.api import Api
from tests.support.system import RunningApp, System, eventually

REQUESTS_EACH = 5
OPENED_AT_A_TIME = 100


@pytest.fixture(autouse=True)
def _files() -> None:
    """Both ends of each connection are of this process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture(scope="module")
def query_url(module_system: System, api: Api) -> str:
    """The crowd and the server share a processor: uvicorn's 5 s may be too short for a client."""
    app = create_app(module_system.query_settings())
    running = module_system.closing(RunningApp(app, timeout_keep_alive=75))
    eventually(lambda: httpx.get(f"{running.url}/ready").is_success)
    return running.url


@pytest.mark.parametrize("clients", [256, 2_000])
def test_a_crowd_gets_answers(api: Api, query_url: str, clients: int) -> None:
    ann, movie_id = api.sign_up(), api.movie("Crowded")
    api.rate(ann, movie_id, 4)
    api.read(f"/v1/users/{ann.user_id}/ratings")
    paths = [
        f"/v1/movies/{movie_id}",
        f"/v1/movies/{movie_id}/ratings",
        "/v1/movies?q=crowded",
        f"/v1/users/{ann.user_id}",
        f"/v1/users/{ann.user_id}/ratings",
        "/v1/movies/nothing",
    ]
    statuses = asyncio.run(crowd(query_url, paths, clients))
    assert sum(statuses.values()) == clients * REQUESTS_EACH
    # The last path is no movie's.
    assert set(statuses) <= {"200", "422", "503 retry"}, statuses
    assert statuses["200"] > clients


async def crowd(base_url: str, paths: list[str], clients: int) -> Counter[str]:
    """All connections are open before the first request is sent."""
    url = urlsplit(base_url)
    statuses: Counter[str] = Counter()
    opening = asyncio.Semaphore(OPENED_AT_A_TIME)
    all_open = asyncio.Barrier(clients)

    async def client(number: int) -> None:
        async with opening:
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
        await all_open.wait()
        for request in range(REQUESTS_EACH):
            path = paths[(number + request) % len(paths)]
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {url.hostname}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower().decode()
            length = head.partition("content-length: ")[2].partition("\r")[0]
            await reader.readexactly(int(length))
            retry = " retry" if "retry-after: " in head else ""
            statuses[head.split(" ")[1] + retry] += 1
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return statuses
