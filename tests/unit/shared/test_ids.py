"""Ids: unique across threads and forks, and those that are derived are derived alike for ever."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from shared.ids import MovieId, UserId, new_uuid7, rating_stream_id, uuid_text

THREADS = 8
IDS_EACH = 5_000


@given(st.uuids(), st.uuids())
def test_a_ratings_stream_is_the_uuid5_of_user_and_movie(user: UUID, movie: UUID) -> None:
    """The log holds streams of that name since the first release."""
    assert rating_stream_id(UserId(user), MovieId(movie)) == uuid5(user, movie.hex)


@given(st.uuids())
def test_a_uuid_is_written_as_str_writes_it(one: UUID) -> None:
    assert uuid_text(one) == str(one).encode()


def test_an_id_is_a_uuid_like_any_other() -> None:
    made = new_uuid7()
    again = UUID(str(made))
    assert (made, hash(made), made.is_safe) == (again, hash(again), again.is_safe)
    assert pickle.loads(pickle.dumps(made)) == made  # Trusted: made just above.


def test_threads_make_no_id_twice() -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        made = pool.map(lambda _: [new_uuid7() for _ in range(IDS_EACH)], range(THREADS))
    ids = [one for part in made for one in part]
    assert len(set(ids)) == THREADS * IDS_EACH
    assert {(one.version, one.variant) for one in ids} == {(7, ids[0].variant)}


# In a process of its own, which has no other threads.
FORKED = """
import os
from shared.ids import new_uuid7
new_uuid7()
child = os.fork()
if child:
    os.waitpid(child, 0)
print([new_uuid7().int & (1 << 62) - 1 for _ in range(200)], flush=True)
if child == 0:
    os._exit(0)
"""


def test_a_forked_child_makes_ids_of_its_own() -> None:
    printed = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, check=True)
    parent, child = (set(json.loads(line)) for line in printed.stdout.splitlines())
    assert not parent & child
