"""The files of a source: one file, a folder or a ZIP archive, within bounds.

A ZIP archive is recognised by its first bytes and never unpacked to disk. Its directory is checked
before it is read: number of entries, sizes, ratio, names. Folders are read without symbolic links.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from ops.errors import OperatorError
from ops.imports.reading.entry import Unreadable

ENTRIES_MAX = 10_000
DIRECTORY_BYTES_MAX = 4 * 1024**2
# The largest public set, MovieLens 32M, has 1 GiB.
TOTAL_BYTES_MAX = 8 * 1024**3
# Real ratings compress 3 to 10 times.
RATIO_MAX = 200
# Files below this size are harmless whatever their ratio.
RATIO_FROM_BYTES = 1024**2
NAME_CHARS_MAX = 255
DEPTH_MAX = 8
# A review may have 10,000 characters, escaped and in HTML.
LINE_BYTES_MAX = 256 * 1024
CHUNK_BYTES = 1024**2

_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_END = struct.Struct("<4s4H2LH")
_END_MARK = b"PK\x05\x06"
_END_64_LOCATOR = b"PK\x06\x07"
_END_64_LOCATOR_BYTES = 20
_COMMENT_BYTES_MAX = 65_535
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What `zipfile` and the file system raise for an entry or a file that is damaged, encrypted (a
# RuntimeError) or packed in a way that is not supported.
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError)


class SourceFile(NamedTuple):
    """A file of a source; `name` is its path without the folder that all have in common."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]

    @property
    def base(self) -> str:
        """The name of the file itself, in lower case."""
        return PurePosixPath(self.name).name.casefold()

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield lines with their numbers from 1; raise `Unreadable` for one that is too long."""
        number = 0
        with self._opened() as stream:
            while True:
                number += 1
                try:
                    line = stream.readline(LINE_BYTES_MAX + 1)
                except _BROKEN as error:
                    raise Unreadable(self.name, number, f"cannot be read: {error}") from error
                if not line:
                    return
                if len(line) > LINE_BYTES_MAX:
                    reason = f"a line of more than {LINE_BYTES_MAX:,} bytes"
                    raise Unreadable(self.name, number, reason)
                yield number, line

    def content(self, bytes_max: int) -> bytes:
        """Return the whole file; raise `Unreadable` if it is larger than the maximum."""
        if self.size <= bytes_max:
            with self._opened() as stream:
                try:
                    # Room is made for what is asked for, so ask for no more than the file has.
                    content = stream.read(self.size + 1)
                except _BROKEN as error:
                    raise Unreadable(self.name, 1, f"cannot be read: {error}") from error
            if len(content) <= self.size:
                return content
        raise Unreadable(self.name, 1, f"larger than {bytes_max:,} bytes")

    def count_lines(self) -> int:
        """Return the number of line breaks, for the total of a progress bar."""
        return sum(chunk.count(b"\n") for chunk in self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """Yield the content piece by piece; raise `Unreadable` where it ends early."""
        with self._opened() as stream:
            try:
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk
            except _BROKEN as error:
                raise Unreadable(self.name, 1, f"cannot be read: {error}") from error

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        try:
            stream = self.open()
        except _BROKEN as error:
            raise Unreadable(self.name, 1, f"cannot be read: {error}") from error
        with stream:
            yield stream


class Files(NamedTuple):
    """The files of a source; `written_at` is when the file, or the youngest of them, was written.

    `is_single` is true for a plain file.
    """

    files: tuple[SourceFile, ...]
    written_at: datetime
    is_single: bool

    def named(self, matches: Callable[[str], object]) -> list[SourceFile]:
        """Return the files whose own name, in lower case, matches; a plain file always does."""
        if self.is_single:
            return list(self.files)
        return [file for file in self.files if matches(file.base)]

    def digest(self) -> bytes:
        """Return the SHA-256 of the names and contents of all files."""
        whole = hashlib.sha256()
        for file in self.files:
            own = hashlib.sha256()
            for chunk in file.chunks():
                own.update(chunk)
            whole.update(file.name.encode("utf-8", "surrogatepass") + b"\0" + own.digest())
        return whole.digest()

    def get(self, name: str) -> SourceFile | None:
        """Return the file with this name, or None."""
        return next((file for file in self.files if file.base == name), None)


@contextmanager
def open_files(path: Path) -> Iterator[Files]:
    """Open a file, a folder or a ZIP archive; raise `OperatorError` if it breaks a bound."""
    try:
        found = path.stat()
        files = _folder(path) if stat.S_ISDIR(found.st_mode) else None
    except (OSError, ValueError) as error:
        raise _cannot_be_read(path, error) from error
    if files is not None:
        yield files
        return
    if not stat.S_ISREG(found.st_mode):
        raise OperatorError(f"{path} is neither a file nor a folder")
    file = SourceFile(path.name, found.st_size, _opener(path))
    with _unpacked(file, path, _moment(found.st_mtime)) as unpacked:
        yield unpacked


@contextmanager
def open_content(content: bytes, written_at: datetime) -> Iterator[Files]:
    """Open a file or a ZIP archive that is in memory; raise `OperatorError` as `open_files`."""
    file = SourceFile("import", len(content), lambda: io.BytesIO(content))
    with _unpacked(file, "the file", written_at) as unpacked:
        yield unpacked


@contextmanager
def _unpacked(file: SourceFile, shown: object, written_at: datetime) -> Iterator[Files]:
    try:
        stream = file.open()
    except OSError as error:
        raise _cannot_be_read(shown, error) from error
    with stream:
        if stream.read(4) not in _ZIP_STARTS:
            yield Files((file,), written_at, is_single=True)
            return
        _require_small_directory(shown, stream)
        try:
            archive = zipfile.ZipFile(stream)
        except (*_BROKEN, ValueError, struct.error) as error:
            raise OperatorError(f"{shown} is no readable ZIP archive: {error}") from error
        with archive:
            yield Files(_entries(shown, archive, file.size), written_at, is_single=False)


def _cannot_be_read(shown: object, error: Exception) -> OperatorError:
    return OperatorError(f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}")


def _folder(folder: Path) -> Files:
    found: list[SourceFile] = []
    written = folder.stat().st_mtime
    total = 0
    for root, folders, names in os.walk(folder):
        if len(Path(root).relative_to(folder).parts) >= DEPTH_MAX:
            folders.clear()
        for name in sorted(names):
            path = Path(root, name)
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                continue
            total += 1
            if total > ENTRIES_MAX:
                raise OperatorError(f"{folder} has more than {ENTRIES_MAX:,} files")
            written = max(written, status.st_mtime) if found else status.st_mtime
            shown = path.relative_to(folder).as_posix()
            found.append(SourceFile(shown, status.st_size, _opener(path)))
    return Files(_without_prefix(found), _moment(written), is_single=False)


def _opener(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")


def _require_small_directory(shown: object, stream: IO[bytes]) -> None:
    """Refuse a directory that would take much memory, before `zipfile` reads it."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _COMMENT_BYTES_MAX - _END.size - _END_64_LOCATOR_BYTES))
    tail = stream.read()
    place = tail.rfind(_END_MARK)
    if place < 0 or len(tail) - place < _END.size:
        raise OperatorError(f"{shown} is no readable ZIP archive: it has no end record")
    _, _, _, _, entries, directory_bytes, _, _ = _END.unpack_from(tail, place)
    before = tail[max(0, place - _END_64_LOCATOR_BYTES) : place]
    is_64 = before.startswith(_END_64_LOCATOR)
    if is_64 or entries > ENTRIES_MAX or directory_bytes > DIRECTORY_BYTES_MAX:
        raise OperatorError(f"{shown} has more than {ENTRIES_MAX:,} entries")


def _entries(shown: object, archive: zipfile.ZipFile, size: int) -> tuple[SourceFile, ...]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > ENTRIES_MAX:
        raise OperatorError(f"{shown} has more than {ENTRIES_MAX:,} entries")
    total = sum(entry.file_size for entry in entries)
    if total > TOTAL_BYTES_MAX:
        raise OperatorError(f"{shown} would unpack to {total:,} bytes")
    if total > RATIO_FROM_BYTES and total > RATIO_MAX * size:
        raise OperatorError(f"{shown} would unpack to {total // max(size, 1):,} times its size")
    for entry in entries:
        _require_harmless(shown, entry)

    def opener(entry: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
        return lambda: archive.open(entry)

    found = [SourceFile(one.filename, one.file_size, opener(one)) for one in entries]
    return _without_prefix(found)


def _require_harmless(shown: object, entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename
    parts = name.split("/")
    named = name[:80]
    if len(name) > NAME_CHARS_MAX or len(parts) > DEPTH_MAX or not name.isprintable():
        raise OperatorError(f"{shown} has an entry with a bad name: {named!r}")
    if name.startswith("/") or "\\" in name or ".." in parts or ":" in parts[0]:
        raise OperatorError(f"{shown} has an entry outside its folder: {named!r}")
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _METHODS:
        raise OperatorError(f"{shown} has an entry that is encrypted or rarely packed: {named!r}")
    ratio_max = RATIO_MAX * entry.compress_size
    if entry.file_size > RATIO_FROM_BYTES and entry.file_size > ratio_max:
        raise OperatorError(f"{shown} has an entry that unpacks {RATIO_MAX} times: {named!r}")


def _without_prefix(files: list[SourceFile]) -> tuple[SourceFile, ...]:
    """Return the files without hidden ones, and without the folders that all have in common."""
    shown = [
        file
        for file in files
        if not any(part.startswith((".", "__MACOSX")) for part in file.name.split("/"))
    ]
    while shown and all("/" in file.name for file in shown):
        firsts = {file.name.partition("/")[0] for file in shown}
        if len(firsts) > 1:
            break
        shown = [file._replace(name=file.name.partition("/")[2]) for file in shown]
    return tuple(sorted(shown, key=lambda file: file.name))


def _moment(seconds: float) -> datetime:
    """Return a file's time, the start of 1970 for one that is out of range."""
    try:
        return datetime.fromtimestamp(max(seconds, 0), UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)
