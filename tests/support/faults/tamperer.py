"""Damaging read models in Redis, one field at a time."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import redis

from projector.generations.table import Generation
from shared.read_model.checksum import checked, with_checksum


class Fault(NamedTuple):
    """What was changed: a key, as the audit names it."""

    partition: int
    kind: str
    suffix: str


class Tamperer:
    """Changes one thing in a key at random; each key at most once."""

    def __init__(self, connection: redis.Redis, seed: int) -> None:
        self._redis: Any = connection
        self._random = random.Random(seed)

    def tamper(self, generation: Generation, count: int) -> set[Fault]:
        """`count` faults, some of them keys that nothing asked for."""
        keys: list[tuple[int, str, str]] = []
        for partition in generation.all_keys:
            found = self._redis.scan_iter(match=partition.prefix + "*", count=1_000)
            keys += (
                (partition.partition, partition.prefix, key.decode())
                for key in found
                if key.decode() != partition.checkpoint
            )
        keys.sort()
        faults = set()
        for number, prefix, key in self._random.sample(keys, count):
            name = self._damage(prefix, key).removeprefix(prefix)
            kind, _, suffix = name.partition(":")
            faults.add(Fault(number, kind, suffix))
        return faults

    def _damage(self, prefix: str, key: str) -> str:
        """Returns the key that is wrong now."""
        draw = self._random.randrange(8)
        if draw == 0:
            self._redis.delete(key)
        elif draw == 1:
            key = f"{prefix}stats:{uuid4().hex}"
            self._redis.set(key, b"{}")
        else:
            match self._redis.type(key):
                case b"string" if key.startswith(f"{prefix}history:"):
                    self._damage_history(key)
                case b"string":
                    self._damage_document(key)
                case b"zset":
                    self._damage_set(key)
                case b"hash":
                    field = self._random.choice(sorted(self._redis.hkeys(key)))
                    self._redis.hset(key, field, b"somebody else's words")
                case b"stream":
                    entry, _ = self._random.choice(self._redis.xrange(key))
                    self._redis.xdel(key, entry)
        return key

    def _damage_document(self, key: str) -> None:
        document = json.loads(checked(self._redis.get(key)))
        name = self._random.choice(sorted(document))
        document[name] = "changed" if document[name] != "changed" else None
        self._redis.set(key, with_checksum(json.dumps(document, separators=(",", ":")).encode()))

    def _damage_history(self, key: str) -> None:
        (added,) = msgspec.msgpack.decode(checked(self._redis.get(key)))
        day = self._random.choice(sorted(added))
        added[day] += 1
        self._redis.set(key, with_checksum(msgspec.msgpack.encode([added])))

    def _damage_set(self, key: str) -> None:
        member = self._random.choice(sorted(self._redis.zrange(key, 0, -1)))
        match self._random.randrange(3):
            case 0:
                self._redis.zrem(key, member)
            case 1:
                self._redis.zincrby(key, 1, member)
            case _:
                self._redis.zadd(key, {uuid4().bytes: 17})
