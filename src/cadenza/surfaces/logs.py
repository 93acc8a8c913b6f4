"""The operational log: one line for each event of operation, on standard error, without personal data.

The text of an error may quote what somebody sent, so it is never written here: of an error the log says its class, its
code and where in the program it was raised. The whole text stays on this machine, in the file ``trouble.txt`` of the
project's state folder, for its owner's eyes.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

from cadenza.clock import from_micros, iso

Format = Literal["text", "json"]
_FRAMES = 8
_FIRST_LINE = 120


def set_up(form: Format) -> None:
    """Write this process's log to standard error. ``text`` says only what somebody should look at; ``json`` every event."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter(form))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("cadenza").setLevel(logging.INFO if form == "json" else logging.WARNING)
    logging.captureWarnings(True)
    threading.excepthook = _of_thread


def event(logger: logging.Logger, level: int, name: str, error: BaseException | None = None, **fields: Any) -> None:
    """Write one event. ``fields`` must hold nothing of a person."""
    if error is not None:
        fields |= described(error)
    logger.log(level, name, extra={"fields": fields})


def described(error: BaseException) -> dict[str, Any]:
    """What may be said of an error: its class, its code where the system gave one, and the places it passed."""
    fields: dict[str, Any] = {"error": type(error).__name__}
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, sqlite3.Error) and (code := getattr(cause, "sqlite_errorname", None)):
            fields["code"] = code
        elif isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
            fields["code"] = errno.errorcode[cause.errno]
        cause = cause.__cause__
    fields["places"] = _places(error.__traceback__)
    return fields


class Formatter(logging.Formatter):
    """One line for a record, as text or as JSON."""

    def __init__(self, form: Format) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """The line. Of what other libraries say, arguments and further lines are left out: they may quote anything."""
        fields: dict[str, Any] = dict(getattr(record, "fields", {}))
        name = str(record.msg).partition("\n")[0][:_FIRST_LINE]
        if record.name.split(".")[0] != "cadenza":
            name, fields = ("said" if record.name == "py.warnings" else name.split(":")[0]), {}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= described(record.exc_info[1])
        at, level = iso(from_micros(int(record.created * 1e6))), record.levelname.lower()
        if self._form == "json":
            line = {"at": at, "level": level, "logger": record.name, "event": name, **fields}
            return msgspec.json.encode(line).decode()
        told = " ".join(
            f"{key}={' < '.join(value) if isinstance(value, list) else value}" for key, value in fields.items()
        )
        return f"{at} {level} {record.name}: {name} {told}".rstrip()


class Trouble:
    """The present trouble of each loop: said once in the log, kept whole in a file, taken back when it is over."""

    def __init__(self, logger: logging.Logger, file: Path) -> None:
        self._logger, self.file = logger, file
        self._lock = threading.Lock()
        self._held: dict[str, str] = {}

    def begins(self, loop: str, error: BaseException) -> None:
        """A loop failed; the same failure again says nothing."""
        with self._lock:
            text = "".join(traceback.format_exception(error))
            told = f"{type(error).__name__}: {error}"
            if self._held.get(loop) == told:
                return
            self._held[loop] = told
            event(self._logger, logging.ERROR, f"{loop} failed", error, more=str(self.file))
            self._write(text)

    def ends(self, loop: str) -> None:
        """A loop works; cheap when it did before."""
        if loop in self._held:
            with self._lock:
                self._held.pop(loop, None)
            event(self._logger, logging.WARNING, f"{loop} works again")

    def says(self) -> str | None:
        """What is wrong at present, without what anybody sent; None when nothing is."""
        with self._lock:
            if not self._held:
                return None
            told = ", ".join(f"{loop} ({text.partition(':')[0]})" for loop, text in self._held.items())
        return f"These loops fail: {told}. {self.file.name} in the state folder says more."

    def _write(self, text: str) -> None:
        try:
            with os.fdopen(
                os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
            ) as file:
                file.write(text)
        except OSError as error:
            event(self._logger, logging.ERROR, "trouble cannot be written", error)


def _places(found: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(found)[-_FRAMES:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]


def _of_thread(given: threading.ExceptHookArgs) -> None:
    if given.exc_value is not None:
        event(logging.getLogger("cadenza.thread"), logging.ERROR, "a thread ended", given.exc_value)
