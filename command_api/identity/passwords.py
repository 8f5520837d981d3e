"""Passwords: argon2id in a bounded thread pool, never on the event loop."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from command_api.commit.fair_queue import FairQueue
from command_api.deciding.credentials import canonical_password
from shared.errors import Overloaded

Result = TypeVar("Result")

THREADS = 2
# The other threads only check passwords, so that a log-in never waits for a hash.
HASHING_THREADS_MAX = 1
# Maximum length of the queue of checks and of the queue of hashes: total, and per address.
WAITING_MAX = 300
WAITING_PER_ADDRESS_MAX = 100
# Next to the event loop, which serves all other requests, argon2 gets a quarter of a busy core.
NICER_BY = 5
NICENESS_MAX = 19


class Passwords:
    """Hashes and checks passwords; raises `Overloaded` when too many wait.

    Addresses take turns. Checks (log-ins) precede hashes (sign-ups and new passwords).
    """

    def __init__(self, *, memory_kib: int, iterations: int, parallelism: int) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=iterations, memory_cost=memory_kib, parallelism=parallelism
        )
        # Checked if there is no such user, so that both cases take the same time.
        self._nobodys_hash = self._hasher.hash("nobody has this password")
        self._pool = ThreadPoolExecutor(
            THREADS, thread_name_prefix="argon2", initializer=_lower_priority
        )
        self._checks, self._hashes = _JobQueue("checked"), _JobQueue("hashed")

    async def hash(self, password: str, *, address: str = "") -> str:
        return await self._run_in_turn(self._hashes, address, partial(self._hash, password))

    async def matches(self, password_hash: str | None, password: str, *, address: str = "") -> bool:
        """Whether the password matches; a user without one takes the same time."""
        check = partial(self._verify, password_hash or self._nobodys_hash, password)
        return await self._run_in_turn(self._checks, address, check) and password_hash is not None

    def needs_rehash(self, password_hash: str) -> bool:
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        self._pool.shutdown()

    def _hash(self, password: str) -> str:
        return self._hasher.hash(canonical_password(password))

    def _verify(self, password_hash: str, password: str) -> bool:
        """Verify a password, also in the unnormalized form that earlier releases hashed."""
        for text in dict.fromkeys((canonical_password(password), password)):
            try:
                return self._hasher.verify(password_hash, text)
            except (VerifyMismatchError, VerificationError, InvalidHashError):
                continue
        return False

    async def _run_in_turn(
        self, queue: _JobQueue, address: str, work: Callable[[], Result]
    ) -> Result:
        """Wait for a turn and for the result; a cancelled caller leaves the queue."""
        queue.require_room(address)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        job = _Job(work, future)
        queue.waiting.put(address, job)
        self._start_jobs()
        try:
            return await future
        finally:
            queue.waiting.discard(address, job)

    def _start_jobs(self) -> None:
        while self._checks.running + self._hashes.running < THREADS:
            queue = self._checks
            job = queue.waiting.take()
            if job is None and self._hashes.running < HASHING_THREADS_MAX:
                queue = self._hashes
                job = queue.waiting.take()
            if job is None:
                return
            queue.running += 1
            running = asyncio.get_running_loop().run_in_executor(self._pool, job.work)
            running.add_done_callback(partial(self._finish, queue, job))

    def _finish(self, queue: _JobQueue, job: _Job[Any], ended: asyncio.Future[Any]) -> None:
        queue.running -= 1
        if ended.cancelled():
            job.future.cancel()
        elif not job.future.done():
            error = ended.exception()
            if error is None:
                job.future.set_result(ended.result())
            else:
                job.future.set_exception(error)
        self._start_jobs()


class _Job(Generic[Result]):
    """Work for a thread, and the future of its result."""

    __slots__ = ("future", "work")

    def __init__(self, work: Callable[[], Result], future: asyncio.Future[Result]) -> None:
        self.work = work
        self.future = future


class _JobQueue:
    """Waiting jobs of one kind, and the number of running ones."""

    def __init__(self, what: str) -> None:
        self.waiting: FairQueue[_Job[Any]] = FairQueue()
        self.running = 0
        self._what = what

    def require_room(self, address: str) -> None:
        """Raise `Overloaded` if the queue is full."""
        if self.waiting.count_of(address) >= WAITING_PER_ADDRESS_MAX:
            raise Overloaded(f"too many passwords of this address are waiting to be {self._what}")
        if len(self.waiting) + self.running >= WAITING_MAX:
            raise Overloaded(f"too many passwords are waiting to be {self._what}")


def _lower_priority() -> None:
    """Lower the priority of this thread, and of the ones that argon2 starts from it."""
    if sys.platform == "linux":
        # Linux has a priority for each thread; POSIX has one for the process.
        niceness = min(os.getpriority(os.PRIO_PROCESS, 0) + NICER_BY, NICENESS_MAX)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
