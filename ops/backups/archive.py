"""The file of a backup: a tar archive that ends with the SHA-256 of everything before it.

A table or a file of the home is a row of members `NAME/000001.gz`, each with at most 4 MiB before
compression, so that neither side needs more memory. `manifest.json` follows them. The last member,
`sha256`, covers every byte before it, and its own bytes are compared too.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO
from uuid import UUID

import msgspec

from ops.errors import OperatorError

FORMAT = 1
CHUNK_BYTES = 4 << 20
MANIFEST = "manifest.json"
_READ_BYTES = 1 << 20


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table; `sha256` is the digest of its rows as `COPY` writes them."""

    name: str
    columns: list[str]
    rows: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of a backup.

    `topics` maps each topic of the log to its newest schema version. `fingerprints` tell the
    secrets of this log from others and reveal nothing about them.
    """

    format: int
    release: str
    made_at: datetime
    log_id: UUID
    head: int
    migrations: list[str]
    topics: dict[str, int]
    fingerprints: dict[str, str]
    tables: list[Table]


@contextmanager
def new_archive(target: Path) -> Iterator[ArchiveWriter]:
    """Yield the writer of a file of mode 0600, which gets its name at the end."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as stream:
            yield ArchiveWriter(stream, target)
            os.fsync(descriptor)
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)


class ArchiveWriter:
    """Writes members; complete after `finish`."""

    def __init__(self, stream: IO[bytes], target: Path) -> None:
        self._stream = stream
        self._target = target
        self._digest = hashlib.sha256()

    def add(self, name: str, blocks: Iterable[bytes]) -> None:
        """Write the blocks as members that are named after their place."""
        for place, chunk in enumerate(_chunks(blocks), start=1):
            compressed = gzip.compress(chunk, compresslevel=1, mtime=0)
            self._write(_member(f"{name}/{place:06}.gz", compressed))

    def finish(self, manifest: Manifest) -> None:
        self._write(_member(MANIFEST, msgspec.json.encode(manifest)))
        self._write(_end(self._digest.hexdigest()))

    def _write(self, raw: bytes) -> None:
        self._digest.update(raw)
        try:
            while raw:
                raw = raw[self._stream.write(raw) :]
        except OSError as error:
            raise OperatorError(f"cannot write {self._target}: {error.strerror}") from error


@contextmanager
def opened_archive(
    path: Path, on_progress: Callable[[int], None] = lambda _: None
) -> Iterator[Archive]:
    """Yield a complete archive; raise `OperatorError` for any other file."""
    _require_whole(path, on_progress)
    try:
        with tarfile.open(path, "r:") as tar:
            yield Archive(path, tar)
    except tarfile.TarError as error:
        raise _unreadable(path) from error


class Archive:
    """The members of an archive by name, and its manifest; raises `OperatorError` without one."""

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        self.path = path
        self._tar = tar
        self._members: dict[str, list[tarfile.TarInfo]] = {}
        for member in tar.getmembers():
            self._members.setdefault(member.name.rpartition("/")[0], []).append(member)
        try:
            self.manifest = msgspec.json.decode(self._raw(tar.getmember(MANIFEST)), type=Manifest)
        except (KeyError, msgspec.DecodeError) as error:
            raise _unreadable(path) from error

    def content(self, name: str) -> Iterator[bytes]:
        """Yield the blocks that were added under this name, none for an unknown one."""
        for member in self._members.get(name, []):
            yield gzip.decompress(self._raw(member))

    def _raw(self, member: tarfile.TarInfo) -> bytes:
        stream = self._tar.extractfile(member)
        return stream.read() if stream is not None else b""


def _unreadable(path: Path) -> OperatorError:
    return OperatorError(f"{path} is no backup that this release can read")


def _chunks(blocks: Iterable[bytes]) -> Iterator[bytes]:
    chunk = bytearray()
    for block in blocks:
        if len(chunk) + len(block) > CHUNK_BYTES and chunk:
            yield bytes(chunk)
            chunk.clear()
        chunk += block
    if chunk:
        yield bytes(chunk)


def _member(name: str, content: bytes) -> bytes:
    header = tarfile.TarInfo(name)
    header.size, header.mode = len(content), 0o600
    padding = -len(content) % tarfile.BLOCKSIZE
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(padding)


def _end(digest: str) -> bytes:
    return _member("sha256", digest.encode()) + bytes(2 * tarfile.BLOCKSIZE)


def _require_whole(path: Path, on_progress: Callable[[int], None]) -> None:
    """Raise `OperatorError` unless the file ends with the digest of its content."""
    digest = hashlib.sha256()
    left = path.stat().st_size - len(_end(digest.hexdigest()))
    with path.open("rb") as stream:
        while left > 0 and (block := stream.read(min(left, _READ_BYTES))):
            digest.update(block)
            left -= len(block)
            on_progress(stream.tell())
        if left or stream.read() != _end(digest.hexdigest()):
            raise OperatorError(
                f"{path} is damaged or incomplete, or no backup; nothing was restored"
            )
