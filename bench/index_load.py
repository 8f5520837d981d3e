"""Load the query API's index of made-up films: `python -m bench.index_load [FILMS ...]`.

A Valkey of its own holds the documents that a projector would have written; the index is loaded in
this process, as a query API does it. No other service runs.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from ops.home.folder import Home
from ops.local.child import POLL_S, Child, stop_all
from ops.local.servers import valkey_spec
from query_api.feed.changes import Changes
from query_api.feed.index_feed import IndexFeed
from query_api.read_limits import OpenPlaces
from query_api.redis_reads.cluster_reads import reads_of
from query_api.redis_reads.damage import Damage
from query_api.redis_reads.freshness import Freshness
from query_api.redis_reads.generations import ActiveGenerations
from shared.errors import Unavailable
from shared.ids import NO_VERSION, START, MovieId, StreamId
from shared.log.events import MovieFields
from shared.process.gc_tuning import tune_collector
from shared.read_model.checkpoints import Checkpoint, encode_checkpoint
from shared.read_model.clients import async_redis_client, redis_client
from shared.read_model.documents import movie_document
from shared.read_model.generations import MOVIE_POSITIONS_SINCE, generation_copy
from shared.read_model.keys import CHANGES, GENERATIONS_KEY, MOVIES, PARTITIONS, PartitionKeys
from shared.read_model.kinds import CATALOGUE, MOVIE, STATISTICS, Scores
from shared.read_model.ranks import milliseconds, stored_rank
from shared.read_model.statistics import BINS
from tests.support.builders import NOON

SIZES = (30_000, 100_000, 200_000)
FILMS_A_WRITE = 500
GENRES = ("Action", "Comedy", "Crime", "Documentary", "Drama", "Horror", "Romance", "Thriller")
# Titles are of some of these, the first ones most often.
WORDS = 100_000


def fill(url: str, films: int) -> None:
    """Write the documents of films as a projector does."""
    client: Any = redis_client(url)
    client.flushdb()
    copies = {
        name: generation_copy(name, 1, MOVIE_POSITIONS_SINCE, partitions)
        for name, partitions in ((MOVIES, PARTITIONS), (CHANGES, 1))
    }
    client.set(GENERATIONS_KEY, msgspec.json.encode(copies))
    nothing = UUID(int=0)
    start = encode_checkpoint(Checkpoint(START, StreamId(nothing), NO_VERSION, 4, nothing))
    all_keys = [PartitionKeys(MOVIES, 1, number) for number in range(PARTITIONS)]
    for keys in [*all_keys, PartitionKeys(CHANGES, 1, 0)]:
        client.set(keys.checkpoint, start)
    drawn = random.Random(films)
    for first in range(0, films, FILMS_A_WRITE):
        pipeline = client.pipeline(transaction=False)
        for _ in range(min(FILMS_A_WRITE, films - first)):
            movie_id = MovieId(UUID(int=drawn.getrandbits(128), version=4))
            keys = all_keys[movie_id.int % PARTITIONS]
            movie = movie_document(movie_id, _details(drawn), NOON, START, 1)
            scores = [int(drawn.paretovariate(1)) % 1_000 for _ in range(BINS)]
            details = MOVIE.encode(movie)
            pipeline.set(keys.document(MOVIE.name, movie_id.hex), details)
            statistics = STATISTICS.encode(Scores(scores, START))
            pipeline.set(keys.document(STATISTICS.name, movie_id.hex), statistics)
            rank = stored_rank(movie_id.bytes, milliseconds(NOON))
            pipeline.zadd(keys.document(CATALOGUE), {movie_id.bytes: rank})
        pipeline.execute()
    client.close()


def _details(drawn: random.Random) -> MovieFields:
    words = [f"w{int(WORDS ** drawn.random())}" for _ in range(drawn.randint(1, 5))]
    return MovieFields(
        title=" ".join(words).capitalize(),
        year=drawn.randint(1930, 2026),
        genres=tuple(drawn.sample(GENRES, 2)),
        directors=(f"Director {drawn.randrange(200_000)}",),
        cast=tuple(f"Player {drawn.randrange(1_000_000)}" for _ in range(4)),
        imdb_id=f"tt{drawn.randrange(100_000_000):08}",
    )


async def load(url: str) -> tuple[float, float]:
    """Load the index; return the processor time, and the longest pause of the event loop."""
    client = async_redis_client(url, connect_within_s=1.0)
    reads, damage = reads_of(client), Damage(client)
    generations = ActiveGenerations(client)
    freshness = Freshness(client, OpenPlaces("waiting reads", 1))
    feed = IndexFeed(client, reads, generations, freshness, Changes(), damage)
    began = time.process_time()
    loading = asyncio.create_task(feed.step(lambda: None))
    longest, ready = 0.0, False
    while not ready:
        asked_at = time.monotonic()
        await asyncio.sleep(0)
        longest = max(longest, time.monotonic() - asked_at)
        try:
            feed.require()
        except Unavailable:
            assert not loading.done(), loading
        else:
            ready = True
    taken = time.process_time() - began
    while not loading.done():  # A library may turn a cancellation into another error.
        loading.cancel()
        await asyncio.wait([loading], timeout=0.1)
    await reads.close()
    return taken, longest


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4_096


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    tune_collector()
    with tempfile.TemporaryDirectory(prefix="sf-load-") as folder:
        home = Home(Path(folder) / "home")
        home.create()
        spec = valkey_spec(home)
        server = Child(spec)
        server.start()
        while not spec.ready():
            time.sleep(POLL_S)
        try:
            for films in sizes:
                fill(home.redis_url(), films)
                before, began = _resident(), time.monotonic()
                taken, longest = asyncio.run(load(home.redis_url()))
                print(
                    f"{films:,} films: {time.monotonic() - began:.1f} s, {taken:.1f} s of processor"
                    f" time, {(_resident() - before) / films:,.0f} bytes a film, the event loop"
                    f" held for {1_000 * longest:.0f} ms"
                )
        finally:
            stop_all([server])


if __name__ == "__main__":
    main()
