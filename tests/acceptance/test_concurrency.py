"""Many clients, retries and bulk imports: what went wrong in an earlier service."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.support.api import Api, User

CLIENTS = 256
SOMEBODY = "01900000-0000-7000-8000-000000000000"


def test_concurrent_ratings_lose_no_update_and_count_a_user_once(api: Api) -> None:
    users, movie_id = [api.sign_up() for _ in range(8)], api.movie()

    def rate_often(user: User) -> None:
        for n in range(10):
            assert api.rate(user, movie_id, n / 2 + 0.5).status_code in (200, 201)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(rate_often, users * 2))
    ratings = api.read(f"/v1/movies/{movie_id}")["ratings"]
    assert ratings["count"] == len(users)
    assert sum(ratings["histogram"]) == len(users)


def test_a_retry_rates_once(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    first, second = api.rate(ann, movie_id, 4), api.rate(ann, movie_id, 4)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json()["status"] == "unchanged"
    assert second.headers["Starfold-Position"] == first.headers["Starfold-Position"]
    assert api.read(f"/v1/movies/{movie_id}")["ratings"]["count"] == 1


def test_one_bad_row_spoils_no_other(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    rows = [
        {"movie_id": movie_id, "score": 4},
        {"movie_id": movie_id, "score": 3.3},
        {"movie_id": SOMEBODY, "score": 3},
        {"score": 3},
        "nonsense",
        {"movie_id": movie_id, "score": 4.5},
    ]
    answer = api.post("/v1/ratings/batch", {"ratings": rows}, ann.headers)
    results = api.expect(200, answer)["results"]
    assert [result["index"] for result in results] == list(range(6))
    assert [result["status"] for result in results] == [
        "created",
        "rejected",
        "rejected",
        "rejected",
        "rejected",
        "changed",
    ]
    assert api.read(f"/v1/movies/{movie_id}")["ratings"]["average"] == 4.5


def test_256_clients_at_once_see_no_server_error(api: Api) -> None:
    movie_id = api.movie()
    ann = api.sign_up()

    read = f"GET /v1/movies/{movie_id} HTTP/1.1\r\n"
    write = f"PUT /v1/movies/{movie_id}/rating HTTP/1.1\r\n"
    write += f"Authorization: {ann.headers['Authorization']}\r\n"

    async def client(number: int) -> list[int]:
        body = f'{{"score": {number % 10 / 2 + 0.5}}}'
        return [
            await answered(api.query.base_url, read),
            await answered(api.command.base_url, write, body),
        ]

    async def ask() -> list[list[int]]:
        return await asyncio.gather(*(client(number) for number in range(CLIENTS)))

    assert api.read(f"/v1/movies/{movie_id}")["ratings"]["count"] == 0
    statuses = asyncio.run(ask())
    assert {read for read, _ in statuses} == {200}
    assert {written for _, written in statuses} <= {200, 201}


def test_a_bulk_import_shares_its_commits(api: Api) -> None:
    """800 rows, which took 45 seconds elsewhere, one by one."""
    ann, movie_id = api.sign_up(), api.movie()
    rows = [{"movie_id": movie_id, "score": n % 10 / 2 + 0.5} for n in range(800)]
    before = commits(api)
    results = api.post("/v1/ratings/batch", {"ratings": rows}, ann.headers).json()["results"]
    assert {result["status"] for result in results} == {"created", "changed"}
    assert commits(api) - before <= 8


async def answered(server: httpx.URL, head: str, body: str = "") -> int:
    """Return the status of the answer to a request on a connection of its own."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    head += f"Host: {server.host}\r\nConnection: close\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}\r\n{body}".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split(b" ", 2)[1])


def commits(api: Api) -> int:
    """Batches that this process has committed so far."""
    (line,) = [
        line
        for line in api.command.get("/metrics").text.splitlines()
        if line.startswith("starfold_batch_commands_count")
    ]
    return int(float(line.split()[1]))
