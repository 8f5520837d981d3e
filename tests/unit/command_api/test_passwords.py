"""Hashing and checking passwords."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from command_api.identity import passwords as passwords_module
from command_api.identity.passwords import (
    HASHING_THREADS_MAX,
    THREADS,
    WAITING_PER_ADDRESS_MAX,
    Passwords,
)
from shared.errors import Overloaded

RIGHT, WRONG = "correct horse battery staple", "correct horse battery stapler"


class Counted(Passwords):
    """Counts the hashes that it is asked to check, and checks none until it is let go."""

    def __init__(self) -> None:
        super().__init__(memory_kib=8 * 1024, iterations=1, parallelism=1)
        self.checked: list[str] = []
        self.let_go = threading.Event()
        self.let_go.set()

    def _verify(self, password_hash: str, password: str) -> bool:
        assert self.let_go.wait(20)
        self.checked.append(password_hash)
        return super()._verify(password_hash, password)


@pytest.fixture
def passwords() -> Iterator[Counted]:
    own = Counted()
    yield own
    own.close()


def test_a_hash_is_argon2id_with_the_settings_of_today(passwords: Counted) -> None:
    stored = asyncio.run(passwords.hash(RIGHT))
    assert stored.startswith("$argon2id$v=19$m=8192,t=1,p=1$")
    assert RIGHT not in stored
    assert stored != asyncio.run(passwords.hash(RIGHT)), "each has a salt of its own"
    assert not passwords.needs_rehash(stored)
    assert passwords.needs_rehash(stored.replace("t=1", "t=2"))


def test_only_the_right_password_matches(passwords: Counted) -> None:
    async def run() -> list[bool]:
        stored = await passwords.hash(RIGHT)
        tried = (stored, RIGHT), (stored, WRONG), (stored, ""), ("no hash", RIGHT), (None, RIGHT)
        return [await passwords.matches(*one) for one in tried]

    assert asyncio.run(run()) == [True, False, False, False, False]


def test_where_there_is_no_such_user_a_hash_of_the_same_cost_is_checked(passwords: Counted) -> None:
    """So that the time says nothing, and no password matches it, not even its own."""

    async def run() -> None:
        assert not await passwords.matches(None, WRONG)
        assert not await passwords.matches(None, "nobody has this password")
        nobodys = passwords.checked[0]
        assert passwords.checked == [nobodys, nobodys]
        assert nobodys.startswith("$argon2id$v=19$m=8192,t=1,p=1$")

    asyncio.run(run())


def test_only_so_many_wait_and_the_next_is_refused_at_once(
    passwords: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords_module, "WAITING_MAX", 3)

    async def run() -> None:
        passwords.let_go.clear()
        waiting = [asyncio.create_task(passwords.matches(None, RIGHT)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await passwords.matches(None, RIGHT)
        passwords.let_go.set()
        assert await asyncio.gather(*waiting) == [False] * 3
        assert not await passwords.matches(None, RIGHT)

    asyncio.run(run())


def test_an_address_fills_its_own_line_and_waits_in_it(passwords: Counted) -> None:
    """The two that are checked already do not wait."""

    async def run() -> None:
        passwords.let_go.clear()
        first = [
            asyncio.create_task(passwords.matches(f"first {n}", RIGHT, address="first"))
            for n in range(THREADS + WAITING_PER_ADDRESS_MAX)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="this address"):
            await passwords.matches("first", RIGHT, address="first")
        second = asyncio.create_task(passwords.matches("second", RIGHT, address="second"))
        await asyncio.sleep(0)
        passwords.let_go.set()
        await asyncio.gather(*first, second)
        # Behind the two that were checked already and one of the first address's turn.
        assert passwords.checked.index("second") <= THREADS + 2

    asyncio.run(run())


def test_log_ins_go_before_sign_ups_and_wait_for_no_room_of_theirs(passwords: Counted) -> None:
    async def run() -> None:
        passwords.let_go.clear()
        sign_ups = [
            asyncio.create_task(passwords.hash(f"{RIGHT} {n}"))
            for n in range(HASHING_THREADS_MAX + WAITING_PER_ADDRESS_MAX)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await passwords.hash(RIGHT)
        log_ins = [asyncio.create_task(passwords.matches(f"{n}", RIGHT)) for n in range(5)]
        await asyncio.sleep(0)
        passwords.let_go.set()
        await asyncio.gather(*log_ins)
        assert sum(one.done() for one in sign_ups) < len(sign_ups)
        assert len({*await asyncio.gather(*sign_ups)}) == len(sign_ups)

    asyncio.run(run())


def test_whoever_is_cancelled_leaves_the_line(passwords: Counted) -> None:
    async def run() -> None:
        passwords.let_go.clear()
        tasks = [asyncio.create_task(passwords.matches(f"{n}", RIGHT)) for n in range(10)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        passwords.let_go.set()
        assert not await passwords.matches("last", RIGHT)
        assert len(passwords.checked) <= THREADS + 1

    asyncio.run(run())
