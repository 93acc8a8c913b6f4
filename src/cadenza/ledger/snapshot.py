"""One consistent copy of the ledger while everything runs, and putting it back.

Log and outbox are two databases that refer to each other, so both must be copied as of one instant: their write locks are
held together for as long as it takes to begin a reading transaction on each and to copy the collectors' journals (what is accepted and
not in the log yet). Then writers go on, and the copy is made of what those transactions see.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec

from cadenza.errors import LedgerError
from cadenza.faults import fault
from cadenza.ledger.archive import FOLDER, file_digest
from cadenza.ledger.archiving import sync
from cadenza.ledger.database import sqlite_errors

MANIFEST = "snapshot.json"
"""Written last: a folder without it is no snapshot."""
DATABASES = ("log.db", "outbox.db")
JOURNALS = "journal"
STORE = "store.duckdb"
_BUSY_S = 30.0


class File(msgspec.Struct, frozen=True):
    """A file of a snapshot: bytes, and BLAKE2b-160 in hex."""

    size: int
    digest: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot holds. ``taken_at`` in µs; ``head`` is the last offset of its log."""

    version: int = 1
    taken_at: int
    head: int
    files: dict[str, File]

    @property
    def with_store(self) -> bool:
        """Whether the store is in it; without, it is made anew from the log."""
        return STORE in self.files


def copy_ledger(state: Path, target: Path) -> None:
    """Copy log, outbox, journals and archive of ``state`` into the folder ``target``. Raises LedgerError."""
    with sqlite_errors(state), ExitStack() as opened:
        pinned = []
        with ExitStack() as locked:
            for name in DATABASES:
                _connect(locked, state / name).execute("BEGIN IMMEDIATE")
            for name in DATABASES:
                pinned.append(_connect(opened, state / name))
                pinned[-1].execute("BEGIN")
                pinned[-1].execute("SELECT count(*) FROM sqlite_master").fetchone()
            if (state / JOURNALS).is_dir():
                shutil.copytree(state / JOURNALS, target / JOURNALS)
        for name, source in zip(DATABASES, pinned, strict=True):
            with closing(sqlite3.connect(target / name, isolation_level=None)) as copy:
                source.backup(copy)
        (target / FOLDER).mkdir()
        for name, digest in pinned[0].execute("SELECT file, digest FROM archive ORDER BY first_offset"):
            _link(state / FOLDER / name, target / FOLDER / name)
            if file_digest(target / FOLDER / name) != digest:
                raise LedgerError(
                    "the archive file was changed or damaged; a snapshot of it would be worth nothing.",
                    where=f"{FOLDER}/{name}", remedy="Put it back from another copy, then take the snapshot again.",
                )  # fmt: skip


def seal(target: Path, taken_at: int) -> Snapshot:
    """Write down what the folder holds, once all of it is on the disk. Raises LedgerError."""
    with sqlite_errors(target):
        found: dict[str, File] = {}
        for path in sorted(target.rglob("*")):
            if path.is_file() and path.name != MANIFEST:
                sync(path)
                name = path.relative_to(target).as_posix()
                found[name] = File(path.stat().st_size, file_digest(path).hex())
        with closing(sqlite3.connect(target / DATABASES[0])) as log:
            head = log.execute("SELECT next_offset - 1 FROM head").fetchone()[0]
        snapshot = Snapshot(taken_at=taken_at, head=head, files=found)
        fault("snapshot.copied")
        part = target / f"{MANIFEST}.part"
        part.write_bytes(msgspec.json.format(msgspec.json.encode(snapshot)))
        sync(part)
        part.rename(target / MANIFEST)
        sync(target)
    return snapshot


def read_manifest(source: Path) -> Snapshot:
    """The list of a snapshot. Raises LedgerError when the folder is none."""
    try:
        return msgspec.json.decode((source / MANIFEST).read_bytes(), type=Snapshot)
    except (OSError, msgspec.DecodeError) as error:
        raise LedgerError(
            f"this is no whole snapshot: {MANIFEST} cannot be read ({type(error).__name__}).", where=str(source),
            remedy="Name the folder that 'cadenza snapshot' wrote to its end.",
        ) from error  # fmt: skip


def put_back(source: Path, state: Path, hold: bool) -> tuple[Snapshot, int]:
    """Copy a snapshot to ``state``, which must not exist, every file compared with its digest. ``hold``: messages that
    waited become ambiguous, as they may have been sent since. Returns how many did. Raises LedgerError; then ``state``
    does not exist."""
    snapshot = read_manifest(source)
    part = state.with_name(state.name + ".restoring")
    with sqlite_errors(source):
        if part.exists():
            shutil.rmtree(part)
        part.mkdir(parents=True)
        for name, listed in snapshot.files.items():
            target = part / name
            if not target.resolve().is_relative_to(part.resolve()):
                raise LedgerError(f"'{name}' lies outside the snapshot.", where=str(source), remedy="Do not trust it.")
            _copy_checked(source / name, target, listed)
        with closing(sqlite3.connect(part / DATABASES[1], isolation_level=None)) as outbox:
            held = _hold(outbox, snapshot.taken_at) if hold else 0
        for path in part.rglob("*"):
            sync(path)
        fault("restore.copied")
        part.rename(state)
        sync(state.parent)
    return snapshot, held


def _hold(outbox: sqlite3.Connection, at: int) -> int:
    sql = (
        "UPDATE message SET state = 'ambiguous', worker = NULL, reported = 0, changed_at = ?,"
        " detail = 'waited when the snapshot was taken; it may have been sent since'"
        " WHERE state IN ('ready', 'claimed', 'in_flight')"
    )
    return outbox.execute(sql, (at,)).rowcount


def _copy_checked(source: Path, target: Path, listed: File) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        raise _broken(source, "is missing") from None
    if target.stat().st_size != listed.size or file_digest(target).hex() != listed.digest:
        raise _broken(source, "was changed or damaged")


def _broken(path: Path, what: str) -> LedgerError:
    return LedgerError(
        f"the snapshot's file {what}.", where=str(path), remedy="Take another snapshot; nothing was restored."
    )


def _connect(stack: ExitStack, path: Path) -> sqlite3.Connection:
    return stack.enter_context(closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)))


def _link(source: Path, target: Path) -> None:
    """Archive files never change, so a second name will do; on another disk it is a copy."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise LedgerError(
            "the archive file is missing.", where=f"{FOLDER}/{source.name}", remedy="Put it back from another copy."
        ) from None
    except OSError:
        shutil.copyfile(source, target)
