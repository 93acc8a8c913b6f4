"""The archive port: files of records that are written once, read for years, and understood by other programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from cadenza.ports.ledger import Record


class ArchiveFiles(Protocol):
    """Writes and reads archive files. Safe to use from several threads."""

    def write(self, path: Path, pages: Iterable[Sequence[tuple[Record, int]]]) -> None:
        """Make a file of pages of (record, its checksum), in order. Raises StoreError when it cannot be written."""
        ...

    def read(self, path: Path, first: int, last: int) -> list[tuple[Record, int]]:
        """(record, stored checksum) with ``first <= offset <= last``, in order. Raises StoreError when the file
        cannot be read."""
        ...

    def close(self) -> None: ...
