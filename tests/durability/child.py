"""The process that is killed: does one piece of care on the log of a folder. Arguments: folder, what."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from cadenza.clock import SystemClock
from cadenza.ledger.archiving import archive
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.retention import forget_records
from cadenza.ledger.snapshot import put_back
from cadenza.runtime.snapshots import take
from cadenza.store.parquet import ParquetFiles

NOW = 1_800_000_000_000_000
DAY = 86_400_000_000


def main(folder: Path, what: str) -> None:
    if what == "snapshot":
        shutil.rmtree(folder.parent / "snap", ignore_errors=True)
        take(folder, folder.parent / "snap", SystemClock())
        return
    if what == "restore":
        put_back(folder.parent / "snap", folder, hold=True)
        return
    files = ParquetFiles()
    log = SqliteLog.open(folder / "log.db", files=files)
    if what == "archive":
        archive(log, files, NOW + DAY, 10**9, NOW + DAY, most_records=100)
    if what == "forget":
        archive(log, files, NOW + DAY, 10**9, NOW + DAY, most_records=100)
        forget_records(log, files, NOW + 250, NOW + DAY, "test")
    log.close()
    files.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
