"""Snapshots of a whole project's state, and restoring one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from cadenza.clock import Clock, to_micros
from cadenza.errors import LedgerError, OperatingError, StoreError
from cadenza.ledger.snapshot import STORE, Snapshot, copy_ledger, put_back, seal
from cadenza.runtime.rebuild import rebuild
from cadenza.runtime.tick import Progress
from cadenza.store.duckdb_engine import DuckEngine


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What was restored. ``held``: messages that are ambiguous now; ``rebuilt``: records the store was made anew from,
    None where it came with the snapshot."""

    snapshot: Snapshot
    held: int
    rebuilt: int | None


def take(state: Path, target: Path, clock: Clock) -> Snapshot:
    """Copy the state of a project into ``target``, which must be empty or not there. May run beside the server; the store
    is in it only when no process holds it. Raises LedgerError, OperatingError."""
    if not (state / "log.db").exists():
        raise LedgerError("there is nothing to take a snapshot of.", where=str(state), remedy="Name a project folder.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OperatingError("the target holds something already.", where=str(target), remedy="Name a new folder.")
    target.mkdir(parents=True, exist_ok=True)
    held = _copy_store(state / STORE, target / STORE)
    try:
        # The store first and nobody to change it meanwhile: what it has consumed is in the log that is copied.
        copy_ledger(state, target)
    finally:
        if held is not None:
            held.close()
    return seal(target, to_micros(clock.now()))


def _copy_store(path: Path, target: Path) -> DuckEngine | None:
    """Copy a store that nobody else holds, and hold it; None when it is in use or does not open: the log suffices."""
    if not path.exists():
        return None
    try:
        engine = DuckEngine.open(path)
        engine.execute("CHECKPOINT")
    except StoreError:
        return None
    shutil.copyfile(path, target)
    return engine


def restore(
    source: Path, folder: Path, send_waiting: bool, progress: Callable[[Progress], None] | None = None
) -> Restored:
    """Put a snapshot into ``folder``, which has no state yet; then the store is opened or made anew. Raises LedgerError,
    OperatingError, StoreError."""
    state = folder / ".cadenza"
    if state.exists() and any(state.iterdir()):
        raise OperatingError(
            "there is state already; restoring would overwrite it.", where=str(state),
            remedy="Move that folder away first, or restore into another project folder.",
        )  # fmt: skip
    if state.exists():
        state.rmdir()
    folder.mkdir(parents=True, exist_ok=True)
    snapshot, held = put_back(source, state, hold=not send_waiting)
    rebuilt = None if snapshot.with_store else rebuild(state, False, progress).records
    return Restored(snapshot=snapshot, held=held, rebuilt=rebuilt)
