"""Passwords: argon2id in a bounded pool, never on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from shared.errors import Overloaded

Result = TypeVar("Result")

THREADS = 2
WAITING_MAX = 64


class Passwords:
    """Hashes and checks passwords; `Overloaded` when too many wait."""

    def __init__(self, *, memory_kib: int, iterations: int, parallelism: int) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=iterations, memory_cost=memory_kib, parallelism=parallelism
        )
        # Checked against where there is no such user, so that both take the same time.
        self._nobodys_hash = self._hasher.hash("nobody has this password")
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        return await self._in_pool(self._hasher.hash, password)

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """False for another password, and as slowly for a user who has none."""
        matches = await self._in_pool(self._verify, password_hash or self._nobodys_hash, password)
        return matches and password_hash is not None

    def needs_rehash(self, password_hash: str) -> bool:
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        self._pool.shutdown()

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False

    async def _in_pool(self, function: Callable[..., Result], *arguments: str) -> Result:
        if self._waiting >= WAITING_MAX:
            raise Overloaded(f"{self._waiting} passwords are waiting to be checked already")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, function, *arguments
            )
        finally:
            self._waiting -= 1
