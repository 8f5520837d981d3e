"""The public pages: another browser's histogram, and both APIs beside 200 visitors."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from playwright.sync_api import Browser, Page, sync_playwright

from bench.bench import Bench, Loaded, cores, measure, rates
from bench.findings import Finding, at_most, ratios
from bench.load import HOST, Load, UnexpectedAnswersError, request
from bench.load import run as run_load
from bench.seed import rate_requests

RATINGS = 50
VISITORS = 200
# Each visitor opens a page this often.
LOOKS_EVERY_S = 5.0
# An address may have 100 event streams: the visitors come from two.
ADDRESSES = (HOST, "127.0.0.2")
READ_BYTES = 65_536
SECONDS = 5.0
SETTLED_AFTER_S = 1.0
PASSWORD = "correct horse battery staple"
CLIENTS = 32
REQUESTS = 5_000
DRAW = 9_000

_raters = count(1)


def run(bench: Bench) -> list[Finding]:
    with bench.stack.pages() as port:
        moved = [_moved_ms(bench, port) for _ in range(bench.rounds)]
        loaded = _beside(bench, port)
    slowest = max(max(one) for one in moved)
    findings = [
        Finding(
            row="pages",
            what="click of a star until another browser's count moves",
            unit="ms",
            figures=[figure for one in moved for figure in one],
            goal=at_most(2_000),
            measured=f"{RATINGS} ratings a round, two browsers",
            note=f"at most {slowest:,.0f} ms",
        )
    ]
    for name, what in (("get", "GET a movie"), ("put", "PUT a rating")):
        beside = loaded[f"{name} beside"]
        findings.append(
            ratios(
                "pages",
                f"{what}, {CLIENTS} clients, beside {VISITORS} visitors",
                rates(beside),
                rates(loaded[name]),
                against="alone",
                goal=None,
                note=f"every page was answered with 2xx, no event stream ended; {cores(beside)}",
            )
        )
    return findings


def _moved_ms(bench: Bench, port: int) -> list[float]:
    """Return the milliseconds from each click to the change in the other browser."""
    site = f"http://{HOST}:{port}"
    movie = f"/movies/{bench.seeded.movie_ids[next(_raters)]}"
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        reader, rater = (_page(browser, site) for _ in range(2))
        _sign_up(rater, movie)
        reader.goto(movie)
        rater.locator("html.scripted").wait_for(state="attached")
        figures = []
        for number in range(RATINGS):
            before = _numbers(reader)
            clicked = time.perf_counter()
            rater.locator(f"label[for=score-{1 + 3 * number % 10}]").click()
            reader.wait_for_function(
                "before => [...document.querySelectorAll('[data-histogram] .number')]"
                ".map((one) => one.textContent).join() !== before",
                arg=before,
            )
            figures.append(1_000 * (time.perf_counter() - clicked))
        browser.close()
    return figures


def _page(browser: Browser, site: str) -> Page:
    return browser.new_context(base_url=site).new_page()


def _numbers(page: Page) -> str:
    return ",".join(page.locator("[data-histogram] .number").all_text_contents())


def _sign_up(page: Page, movie: str) -> None:
    page.goto(f"/signup?next={movie}")
    page.get_by_label("Name").fill("Ann")
    page.get_by_label("E-mail address").fill(f"pages{next(_raters)}@example.org")
    page.locator("input[type=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    page.get_by_role("button", name="Log out").wait_for()


def _beside(bench: Bench, port: int) -> dict[str, list[Loaded]]:
    """Measure both APIs alone and beside the visitors, in turn."""
    loaded: dict[str, list[Loaded]] = {}
    for number in range(bench.rounds):
        for name, load in (("get", _get(bench)), ("put", _put(bench, 2 * number))):
            loaded.setdefault(name, []).append(measure(bench.stack, load))
            bench.stack.wait_caught_up()
        for name, load in (("get", _get(bench)), ("put", _put(bench, 2 * number + 1))):
            found = _with_visitors(bench, port, load)
            loaded.setdefault(f"{name} beside", []).append(found)
            bench.stack.wait_caught_up()
    return loaded


def _with_visitors(bench: Bench, port: int, load: Load) -> Loaded:
    """Measure while visitors open pages, and each has the event stream of a film open.

    Any answer but 2xx is an error, and so is a stream that ends.
    """
    movies = [f"/movies/{movie_id}" for movie_id in bench.seeded.movie_ids[:100]]
    visits = Load(
        port=port,
        requests=[request("GET", path) for path in ("/", "/?sort=count", "/login", *movies)],
        clients=VISITORS,
        seconds=SECONDS + LOOKS_EVERY_S + 2 * SETTLED_AFTER_S,
        per_second=VISITORS / LOOKS_EVERY_S,
    )
    measured = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        streaming = pool.submit(_hold_streams, port, movies, measured)
        visiting = pool.submit(run_load, visits)
        # All visitors have come once.
        time.sleep(LOOKS_EVERY_S + SETTLED_AFTER_S)
        try:
            found = measure(bench.stack, load)
        finally:
            measured.set()
        visiting.result()
        if ended := streaming.result():
            raise UnexpectedAnswersError(f"{ended} of {VISITORS} event streams ended")
    return found


def _hold_streams(port: int, movies: Sequence[str], until: threading.Event) -> int:
    """Read an event stream for each visitor until the event is set; return how many ended."""

    async def held() -> int:
        streams = [
            asyncio.create_task(
                _follow(port, movies[number % len(movies)], ADDRESSES[number % len(ADDRESSES)])
            )
            for number in range(VISITORS)
        ]
        await asyncio.to_thread(until.wait)
        return sum(one.done() for one in streams)

    return asyncio.run(held())


async def _follow(port: int, movie: str, address: str) -> None:
    """Read a film's event stream until it ends."""
    reader, writer = await asyncio.open_connection(HOST, port, local_addr=(address, 0))
    try:
        writer.write(request("GET", f"{movie}/live"))
        if b" 200 " in await reader.readline():
            while await reader.read(READ_BYTES):
                pass
    finally:
        writer.close()


def _get(bench: Bench) -> Load:
    paths = [f"/v1/movies/{movie_id}" for movie_id in bench.seeded.movie_ids]
    requests = [request("GET", path) for path in paths]
    return Load(port=bench.stack.query_port, requests=requests, clients=CLIENTS, seconds=SECONDS)


def _put(bench: Bench, draw: int) -> Load:
    requests = rate_requests(bench.seeded, "PUT", "/v1", count=REQUESTS, draw=DRAW + draw)
    return Load(port=bench.stack.command_port, requests=requests, clients=CLIENTS, seconds=SECONDS)
