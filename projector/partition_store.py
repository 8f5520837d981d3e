"""Reading and writing partitions in Redis: checkpoints, documents, and the compare-and-set call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import redis

from projector.documents import Key, Operation
from projector.kinds import PARKED_ENTITIES, PARKED_MARK
from shared.errors import Misconfigured
from shared.ids import NO_VERSION, START, StreamId
from shared.read_model import APPLIED_CHANNEL, Applied, Checkpoint, Parked, PartitionKeys

# More in one call would hold up every other client of the server for too long.
CALL_COMMANDS_MAX = 1_000
CALL_BYTES_MAX = 512 * 1024
# An event adds at most this much to a call, so that a call is cut before it is too large.
EVENT_COMMANDS_MAX = 8
EVENT_BYTES_MAX = 128 * 1024
SCAN_KEYS = 1_000
SOCKET_TIMEOUT_S = 10.0

ABSENT = b""
NOTHING = StreamId(UUID(int=0))

encode_checkpoint = msgspec.msgpack.Encoder(uuid_format="bytes").encode
decode_checkpoint = msgspec.msgpack.Decoder(Checkpoint).decode


class Call(NamedTuple):
    """One call of `apply.lua`: what it expects to stand, what then stands, what it writes."""

    keys: PartitionKeys
    expected: bytes
    new: bytes
    operations: Sequence[Operation]


def building_marker(definition_version: int, build_token: UUID) -> bytes:
    """The checkpoint of a partition that is being built: nothing has been applied yet."""
    return encode_checkpoint(
        Checkpoint(START, NOTHING, NO_VERSION, definition_version, build_token)
    )


class PartitionStore:
    """Not for several threads at once: each has its own."""

    def __init__(self, redis_url: str) -> None:
        self._redis: Any = redis.Redis.from_url(
            redis_url, socket_timeout=SOCKET_TIMEOUT_S, socket_connect_timeout=SOCKET_TIMEOUT_S
        )
        self._apply = self._redis.register_script(
            files("projector").joinpath("apply.lua").read_bytes()
        )

    def require_no_eviction(self) -> None:
        """Raise `Misconfigured` where Redis could drop a document by itself."""
        policy = self._redis.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
        if policy != "noeviction":
            raise Misconfigured(
                f"Redis runs with maxmemory-policy {policy}: it may drop read models; "
                "set it to noeviction"
            )

    def checkpoints(self, partitions: Sequence[PartitionKeys]) -> list[bytes]:
        """The stored checkpoint of each partition, `ABSENT` for none."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for keys in partitions:
                pipeline.get(keys.checkpoint)
            return [stored or ABSENT for stored in pipeline.execute()]

    def documents(
        self, wanted: Iterable[tuple[PartitionKeys, Iterable[Key]]]
    ) -> list[list[bytes | None]]:
        """Stored documents, one MGET a partition, all in one round trip."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for keys, documents in wanted:
                pipeline.mget([keys.document(kind, suffix) for kind, suffix in documents])
            stored: list[list[bytes | None]] = pipeline.execute()
        return stored

    def parked(self, partitions: Iterable[PartitionKeys]) -> list[list[Parked]]:
        """The parked entities of each partition."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for keys in partitions:
                pipeline.hvals(keys.document(PARKED_ENTITIES))
            return [[PARKED_MARK.decode(value) for value in values] for values in pipeline.execute()]

    def apply(self, calls: Iterable[Call]) -> list[bytes | None]:
        """Make the calls in order, in one round trip.

        For each: None if it was applied, else the checkpoint that stands in its way.
        """
        with self._redis.pipeline(transaction=False) as pipeline:
            for call in calls:
                self._apply(*_as_script_arguments(call), client=pipeline)
            results = pipeline.execute()
        return [None if result == 1 else result for result in results]

    def replace_checkpoint(self, keys: PartitionKeys, checkpoint: bytes) -> None:
        """Take a partition over, whatever stands: its last writer is refused from now on."""
        self._redis.set(keys.checkpoint, checkpoint)

    def announce(self, applied: Iterable[Applied]) -> None:
        """Tell whoever waits for a position; only a hint, lost where nobody listens."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for one in applied:
                pipeline.publish(APPLIED_CHANNEL, msgspec.msgpack.encode(one))
            pipeline.execute()

    def read(self, key: str) -> bytes | None:
        value: bytes | None = self._redis.get(key)
        return value

    def write(self, key: str, value: bytes) -> None:
        self._redis.set(key, value)

    def drop(self, keys: PartitionKeys) -> int:
        """Delete every key of a partition, a few at a time; returns how many there were."""
        dropped = 0
        pattern = keys.prefix + "*"
        batch: list[bytes] = []
        for key in self._redis.scan_iter(match=pattern, count=SCAN_KEYS):
            batch.append(key)
            if len(batch) == SCAN_KEYS:
                dropped += self._redis.unlink(*batch)
                batch.clear()
        if batch:
            dropped += self._redis.unlink(*batch)
        return dropped

    def forget_connection(self) -> None:
        """Drop the connections, as after an error."""
        self._redis.connection_pool.disconnect()

    def close(self) -> None:
        self._redis.close()


def _as_script_arguments(call: Call) -> tuple[list[str], list[bytes]]:
    names: dict[Key, int] = {}
    keys = [call.keys.checkpoint]
    arguments = [call.expected, call.new]
    for letter, key, values, _ in call.operations:
        index = names.get(key)
        if index is None:
            keys.append(call.keys.document(*key))
            index = names[key] = len(keys)
        arguments += (letter, b"%d" % index, *values)
    return keys, arguments
