"""The journal of one collector: requests as they came, durable before they are answered, until the log has them.

Each collector process appends to files of its own, so that collectors never wait for one another, nor for the
engine. The sequencer (``runtime/sequence.py``) moves entries from all journals into the log, whose order is
the order of everything. A file is deleted once the log holds all of it.

A file begins with one line of JSON (``Header``). Then come entries::

    magic 4 | payload bytes u32 | CRC-32 u32 | received_at i64 (µs) | meta bytes u32 | meta | body      little endian

The sum covers everything after it and is seeded with the file's id and the entry's place, so an entry in the wrong
place is damage too. Damage never stops the journal: what cannot be read is handed over as ``Damage``, with its bytes,
and reading goes on at the next whole entry.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from cadenza.errors import LedgerError
from cadenza.faults import fault

SUFFIX = ".journal"
_BEGUN = ".begun"
ROTATE_BYTES = 64 * 1024 * 1024
"""A file of this size is closed and the next begun."""
MAX_ENTRY = 64 * 1024 * 1024
"""An entry that claims more bytes than this is damage."""

_MAGIC = b"CDZ1"
_FRAME = struct.Struct("<4sIIqI")
_SUMMED = struct.Struct("<qI")
_HEADER_BYTES = 256
_DAMAGE_KEPT = 1_000_000
_sync = getattr(os, "fdatasync", os.fsync)


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One request: when it was received (µs), what the door knows of it, and its body as it came."""

    received_at: int
    meta: bytes
    body: bytes


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a file. ``id`` is different for every file there ever was."""

    journal: int = 1
    id: str
    writer: str
    began_at: int


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a file that are not a whole entry. ``kept`` holds at most the first million of them. ``torn``: the end of
    a file whose writer died, which is what an entry that was never acknowledged looks like."""

    file: str
    low: int
    high: int
    torn: bool
    kept: bytes


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What reading a file from some place gave. ``through``: where to go on. ``ended``: nothing more will come."""

    entries: list[Entry]
    damage: list[Damage]
    through: int
    ended: bool


class JournalWriter:
    """Appends entries for one collector. One thread uses it."""

    def __init__(self, folder: Path, writer: str, lock: int, new_id: str) -> None:
        self._folder, self._writer, self._lock, self._seed_id = folder, writer, lock, new_id
        self._fd = -1
        self._size = self._seed = self._number = 0
        self._path = folder

    @classmethod
    def open(cls, folder: Path, writer: str, new_id: str) -> JournalWriter:
        """Take the name ``writer`` for this process; files appear at the first entry. ``new_id``: a random id, part of
        the names of this writer's files. Raises LedgerError when another process has the name."""
        if not (writer.isascii() and writer.isalnum()):
            raise LedgerError(f"'{writer}' cannot name a collector.", remedy="Use letters and digits.")
        lock = _take_lock(
            folder / f"{writer}.lock", f"Another process collects under the name '{writer}'.",
            "Stop it, or give this one another name with --name.",
        )  # fmt: skip
        for left in folder.glob(f"*-{writer}-*{_BEGUN}"):  # by a crash; nothing was in it yet
            left.unlink(missing_ok=True)
        return cls(folder, writer, lock, new_id)

    def append(self, entries: Sequence[Entry]) -> None:
        """Append and wait for the disk. Raises LedgerError; then none of them may be acknowledged (a reader may still
        find them: their sender sends again, and the ids decide)."""
        if self._fd >= 0 and self._size >= ROTATE_BYTES:
            self._finish()
        try:
            if self._fd < 0:
                self._begin(entries[0].received_at)
            data = b"".join(self._frames(entries))
            fault("journal.before_write")
            _write_all(self._fd, data)
            fault("journal.before_sync")
            _sync(self._fd)
        except OSError as error:
            self._abandon()
            raise _refused(self._path, error) from error
        self._size += len(data)

    def close(self) -> None:
        """End the file and give the name back."""
        self._finish()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _frames(self, entries: Sequence[Entry]) -> Iterator[bytes]:
        place, seed, crc32 = self._size, self._seed, zlib.crc32
        for entry in entries:
            meta, body = entry.meta, entry.body
            summed = crc32(_SUMMED.pack(entry.received_at, len(meta)), seed ^ (place & 0xFFFFFFFF))
            total = crc32(body, crc32(meta, summed))
            size = len(meta) + len(body)
            yield _FRAME.pack(_MAGIC, size, total, entry.received_at, len(meta))
            yield meta
            yield body
            place += _FRAME.size + size

    def _begin(self, now: int) -> None:
        self._number += 1
        identity = f"{self._seed_id[:12]}{self._number:06d}"
        line = msgspec.json.encode(Header(id=identity, writer=self._writer, began_at=now)) + b"\n"
        self._path = self._folder / f"{now:017d}-{self._writer}-{identity}{SUFFIX}"
        # It gets its name when it is locked and begun: to a reader, an unlocked file is one that has ended.
        begun = self._path.with_suffix(_BEGUN)
        self._fd = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._seed, self._size = zlib.crc32(identity.encode()), len(line)
        _write_all(self._fd, line)
        os.fsync(self._fd)
        begun.rename(self._path)
        _sync_folder(self._folder)

    def _finish(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _abandon(self) -> None:
        """After a failure nobody knows what the file holds beyond what was confirmed: cut it there if that can be done,
        and never write to it again (a failed sync may have dropped pages that later ones would not bring back)."""
        if self._fd < 0:
            return
        with suppress(OSError):
            os.ftruncate(self._fd, self._size)
        self._finish()


class JournalFile:
    """One file, for reading. Its ``name`` is unique for ever."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._seed: int | None = None
        self._first = 0

    @staticmethod
    def bytes_of(entry: Entry) -> int:
        """What an entry takes up in a file."""
        return _FRAME.size + len(entry.meta) + len(entry.body)

    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._fd).st_size

    def read(self, place: int, most: int) -> Found:
        """Entries from ``place`` on (0: the beginning), about ``most`` bytes of them, at least one."""
        # Asked before reading: once nobody writes, what is read to the end is all there is.
        ended = self._unwritten()
        size = self.size()
        if self._seed is None and not self._read_header():
            if not ended:
                return Found(entries=[], damage=[], through=0, ended=False)
            kept = os.pread(self._fd, _DAMAGE_KEPT, 0)
            damage = [] if size == 0 else [Damage(file=self.name, low=0, high=size, torn=True, kept=kept)]
            return Found(entries=[], damage=damage, through=size, ended=True)
        place = max(place, self._first)
        if place >= size:
            return Found(entries=[], damage=[], through=place, ended=ended)
        data = os.pread(self._fd, min(size - place, max(most, _FRAME.size)), place)
        needed = self._first_size(data)
        if needed > len(data):
            data = os.pread(self._fd, min(size - place, needed), place)
        return self._parse(data, place, size, ended)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _unwritten(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        return True

    def _read_header(self) -> bool:
        line, newline, _ = os.pread(self._fd, _HEADER_BYTES, 0).partition(b"\n")
        if not newline:
            return False
        try:
            header = msgspec.json.decode(line, type=Header)
        except msgspec.DecodeError:
            return False
        self._seed, self._first = zlib.crc32(header.id.encode()), len(line) + 1
        return True

    @staticmethod
    def _first_size(data: bytes) -> int:
        if len(data) < _FRAME.size:
            return 0
        magic, size, *_ = _FRAME.unpack_from(data)
        return _FRAME.size + size if magic == _MAGIC and size <= MAX_ENTRY else 0

    def _parse(self, data: bytes, place: int, size: int, ended: bool) -> Found:
        entries: list[Entry] = []
        damage: list[Damage] = []
        at, end = 0, len(data)
        complete = place + end >= size
        while at < end:
            entry, length = self._entry(data, at, place)
            if entry is not None:
                entries.append(entry)
                at += length
                continue
            following = self._next_whole(data, at + 1, place)
            if following is None and not complete and (entries or damage):
                break  # the rest comes with the next reading
            if following is None and not ended:
                break  # an entry that is being written
            stop = end if following is None else following
            torn = following is None and complete
            kept = data[at : min(stop, at + _DAMAGE_KEPT)]
            damage.append(Damage(file=self.name, low=place + at, high=place + stop, torn=torn, kept=kept))
            at = stop
        return Found(entries=entries, damage=damage, through=place + at, ended=ended and place + at >= size)

    def _entry(self, data: bytes, at: int, place: int) -> tuple[Entry | None, int]:
        """The entry at ``at`` and its length; None when there is no whole one."""
        start = at + _FRAME.size
        if start > len(data):
            return None, 0
        magic, size, expected, received, meta_size = _FRAME.unpack_from(data, at)
        stop = start + size
        if magic != _MAGIC or meta_size > size or stop > len(data):
            return None, 0
        assert self._seed is not None
        summed = zlib.crc32(data[at + 12 : at + 24], self._seed ^ ((place + at) & 0xFFFFFFFF))
        if zlib.crc32(data[start:stop], summed) != expected:
            return None, 0
        return Entry(received, data[start : start + meta_size], data[start + meta_size : stop]), stop - at

    def _next_whole(self, data: bytes, at: int, place: int) -> int | None:
        while (at := data.find(_MAGIC, at)) >= 0:
            if self._entry(data, at, place)[0] is not None:
                return at
            at += 1
        return None


def lock_journals(folder: Path) -> int:
    """Become the one process that moves the journals in ``folder`` into the log; close the returned descriptor to give it
    up. Raises LedgerError when another process does."""
    return _take_lock(
        folder / "sequencer.lock", "Another process moves the journals into the log.",
        "Use the server that runs, or stop it first.",
    )  # fmt: skip


def _take_lock(path: Path, what: str, remedy: str) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _refused(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise LedgerError(what, where=str(path), remedy=remedy) from None
    return lock


def writer_of(path: Path) -> str:
    """The collector that wrote a file, by its name."""
    return path.name.split("-", 2)[1]


def journal_files(folder: Path) -> list[Path]:
    """The files of all collectors in ``folder``, those begun first first."""
    try:
        found = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    return [path for path in found if path.suffix == SUFFIX]


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _refused(path: Path, error: OSError) -> LedgerError:
    return LedgerError(
        f"The journal cannot be written: {error.strerror or error}.", where=str(path),
        remedy="Check free disk space, permissions and the disk; senders are told to send again.",
    )  # fmt: skip
