"""``cadenza quarantine``: what was refused and why; correct it, take it in again, or drop it."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import App, Parameter

from cadenza.clock import iso
from cadenza.errors import CadenzaError, OperatingError
from cadenza.surfaces.on_project import HERE, OnProject, using
from cadenza.surfaces.problem import EXIT_INPUT, EXIT_OK
from cadenza.surfaces.progress import Display
from cadenza.surfaces.quarantine_operations import Drop, Fix, FixAnswer, QuarantineEntry, QuarantineReason, Replay
from cadenza.surfaces.reading import ask
from cadenza.surfaces.terminal import Terminal
from cadenza.workspace import Readmitted, Replayed, find_server

quarantine_app = App(name="quarantine", help_format="plaintext")
States = Literal["resting", "dropped", "stored", "duplicate", "any"]
_SHOWN = 20
"""Records that stay in a replay are named up to so many."""


@quarantine_app.default
def counts(*, on: OnProject = HERE) -> int:
    """Count refused records by source and reason, the largest group first.

    ``quarantine list``, ``show``, ``fix``, ``replay`` and ``drop`` work on single records.
    """
    with using(on) as (workspace, terminal, _):
        found: list[QuarantineReason] = ask(workspace, "quarantine_counts")
        if on.json:
            terminal.answer(found)
        if not found:
            terminal.say("Nothing was refused.")
            return EXIT_OK
        done = any(c.dropped or c.replayed for c in found)
        rows = [
            (
                c.source,
                c.reason,
                c.resting,
                *((c.dropped, c.replayed) if done else ()),
                _day(c.first_at),
                _minute(c.last_at),
                c.example,
            )
            for c in found
        ]
        more = ("dropped", "replayed") if done else ()
        terminal.table("Quarantine", ("source", "reason", "resting", *more, "first", "last", "newest"), rows)
        terminal.say(f"'cadenza quarantine show {found[0].example}' shows one of them.")
    return EXIT_OK


@quarantine_app.command(name="list")
def list_(
    *, source: str | None = None, reason: str | None = None, state: States = "resting", before: int | None = None,
    limit: int = 20, on: OnProject = HERE,
) -> int:  # fmt: skip
    """List refused records, newest first, and why.

    Parameters
    ----------
    source
        Only records of this source.
    reason
        Only records refused for this reason.
    state
        Only records in this state; any for all.
    before
        Only records with a smaller id, to go on from a list.
    limit
        How many at most.
    """
    with using(on) as (workspace, terminal, _):
        found = ask(workspace, "quarantine", source=source, reason=reason, state=state, before=before, limit=limit)
        if on.json:
            terminal.answer(found)
        more = ("state",) if state == "any" else ()
        rows = [
            (
                f.id,
                iso(f.at),
                f.source,
                f.reason,
                f.detail,
                f.message_id,
                *((f.state,) if more else ()),
                (f.corrected or f.record)[:160],
            )
            for f in found
        ]
        columns = ("id", "came at", "source", "reason", "detail", "message id", *more, "record")
        terminal.table("Quarantine", columns, rows)
    return EXIT_OK


@quarantine_app.command
def show(id: int, /, *, on: OnProject = HERE) -> int:
    """Show one refused record: why, the record itself, its correction, and what was done about it.

    Parameters
    ----------
    id
        The id of the record, as the list shows it.
    """
    with using(on) as (workspace, terminal, _):
        found = ask(workspace, "quarantine_show", id=id)
        if on.json:
            terminal.answer(found)
        entry: QuarantineEntry = found.entry
        offset = "" if entry.log_offset is None else f", offset {entry.log_offset} in the log"
        rows = [
            ("came at", iso(entry.at)), ("source", entry.source), ("state", entry.state + offset), ("reason", entry.reason),
            ("detail", entry.detail), ("message id", entry.message_id), ("kept as", _FORMS[entry.form]),
        ]  # fmt: skip
        terminal.table(f"Record {entry.id}", ("what", "value"), rows)
        terminal.say("As it came:", style="bold")
        terminal.say(_pretty(entry.record))
        if entry.corrected is not None:
            terminal.say("\nCorrected:", style="bold")
            terminal.say(_pretty(entry.corrected))
        if found.history:
            terminal.say()
            acts = [(iso(act.at), act.action, act.who, act.note) for act in found.history]
            terminal.table("What was done", ("at", "what", "by", "note"), acts)
    return EXIT_OK


@quarantine_app.command
def fix(
    id: int, /, *, put: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    unset: Annotated[list[str] | None, Parameter(negative=())] = None, file: Path | None = None,
    editor: Annotated[bool, Parameter(negative=())] = False, note: str = "", on: OnProject = HERE,
) -> int:  # fmt: skip
    """Keep a correction beside a refused record; the original stays. A replay then takes the corrected one.

    Parameters
    ----------
    id
        The id of the record.
    put
        path=value: set a field, for example properties.revenue=12.50. The value is JSON, or a text if it is not.
    unset
        Take a field out, by its path.
    file
        The whole corrected record, a JSON file.
    editor
        Open the record in $EDITOR.
    note
        What to write down about it.
    """
    with using(on) as (workspace, terminal, _):
        record = None if file is None else _read(file)
        if editor:
            entry: QuarantineEntry = ask(workspace, "quarantine_show", id=id).entry
            record = _edited(_pretty(entry.corrected or entry.record), f"quarantine-{id}-")
        body = Fix(
            record=msgspec.Raw(record or b"null"), set=dict(_assignment(item) for item in put or ()), unset=unset or [],
            by=_who(), note=note,
        )  # fmt: skip
        found: FixAnswer = ask(workspace, "quarantine_fix", id=id, body=body)
        if on.json:
            terminal.answer(found)
        if found.reason is None:
            terminal.say(f"Corrected. It would be taken in now: cadenza quarantine replay {id}", style="green")
        else:
            terminal.say(f"Kept, but a replay would still refuse it: {found.reason}. {found.detail}", style="yellow")
    return EXIT_OK


@quarantine_app.command
def replay(
    *ids: int, source: str | None = None, reason: str | None = None,
    all: Annotated[bool, Parameter(negative=())] = False, on: OnProject = HERE,
) -> int:  # fmt: skip
    """Take refused records in as they are now, as if they had come right: read, checked against the contracts in force,
    deduplicated. Doing it twice does it once; what is still refused stays, with its present reason.

    Parameters
    ----------
    ids
        The ids of records; or one of the following.
    source
        All that rest of this source.
    reason
        All that rest for this reason.
    all
        All that rest.
    """
    with using(on) as (workspace, terminal, display):
        asked = Replay(ids=list(ids) or None, source=source, reason=reason, all=all, by=_who(), limit=1_000)
        if asked.ids is None and not (all or source or reason):
            raise CadenzaError("which records?", remedy="Give ids, --source, --reason or --all.")
        pages: list[Replayed] = []
        shown = display if asked.ids is None else Display(terminal.err, workspace.clock, quiet=True)
        with shown.task("Replaying", None, unit="records") as move:
            while not pages or pages[-1].more:
                after = pages[-1].last if pages else 0
                pages.append(ask(workspace, "quarantine_replay", body=msgspec.structs.replace(asked, after=after)))
                move(sum(len(page.results) for page in pages), "")
        found = _together(pages)
        if on.json:
            terminal.answer(found)
        _say_replayed(terminal, found, find_server(workspace.folder) is not None)
        return EXIT_INPUT if found.refused else EXIT_OK


@quarantine_app.command
def drop(*ids: int, because: str, on: OnProject = HERE) -> int:
    """Say that refused records are not wanted, and why. They stay, marked, and stay counted as quarantined.

    Parameters
    ----------
    ids
        The ids of records.
    because
        Why; it is kept with each of them.
    """
    with using(on) as (workspace, terminal, _):
        if not ids:
            raise CadenzaError("which records?", remedy="Give their ids.")
        found = ask(workspace, "quarantine_drop", body=Drop(ids=list(ids), because=because, by=_who()))
        if on.json:
            terminal.answer(found)
        terminal.say(f"Dropped {len(found.dropped):,} of {len(set(ids)):,}.")
    return EXIT_OK


# --- what is said, and what is asked ------------------------------------------------------------------

_FORMS = {
    "call": "the call as its sender wrote it",
    "record": "the normal form that the log keeps",
    "text": "text that is no JSON",
}


def _together(pages: Sequence[Replayed]) -> Replayed:
    refused: dict[str, int] = {}
    for page in pages:
        for reason, n in page.refused.items():
            refused[reason] = refused.get(reason, 0) + n
    return Replayed(
        stored=sum(p.stored for p in pages), duplicate=sum(p.duplicate for p in pages), refused=refused,
        passed_over=sum(p.passed_over for p in pages), results=tuple(r for p in pages for r in p.results),
        last=pages[-1].last, more=False,
    )  # fmt: skip


def _say_replayed(terminal: Terminal, found: Replayed, served: bool) -> None:
    parts = [
        f"{found.stored:,} stored",
        f"{found.duplicate:,} known already",
        f"{sum(found.refused.values()):,} still refused",
    ]
    if found.passed_over:
        parts.append(f"{found.passed_over:,} passed over (not in quarantine any more)")
    terminal.say(", ".join(parts) + ".", style="" if found.refused else "green")
    stays: list[Readmitted] = [r for r in found.results if r.status == "refused"]
    if stays:
        rows = [(r.id, r.reason, r.detail) for r in stays[:_SHOWN]]
        terminal.table(
            "Still refused" + (f", the first {_SHOWN}" if len(stays) > _SHOWN else ""), ("id", "reason", "detail"), rows
        )
    if found.stored and not served:
        terminal.say("They are in the log; 'cadenza tick' or 'cadenza run' decides them.")


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _pretty(record: str) -> str:
    """JSON with an indent, every number as it is; anything else as it is."""
    try:
        return msgspec.json.format(record.encode(), indent=2).decode()
    except msgspec.DecodeError:
        return record


def _who() -> str:
    """The name of the person at this terminal, for the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"


def _assignment(text: str) -> tuple[str, msgspec.Raw]:
    """The path and the value (JSON) of ``path=value``. Raises CadenzaError."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise CadenzaError(
            f"'{text}' is no assignment.",
            where="--set",
            remedy="Write path=value, for example properties.revenue=12.5.",
        )
    try:
        msgspec.json.decode(value.encode())
    except msgspec.DecodeError:
        return path, msgspec.Raw(msgspec.json.encode(value))
    return path, msgspec.Raw(value.encode())


def _read(file: Path) -> bytes:
    try:
        body = file.read_bytes()
    except OSError as error:
        raise OperatingError(
            f"{error.strerror}.", where=str(file), remedy="Name a file with the corrected record."
        ) from error
    return _checked(body, str(file))


def _edited(text: str, prefix: str) -> bytes:
    """The text as a person leaves it in $EDITOR. Raises OperatingError, CadenzaError."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not command:
        raise OperatingError(
            "no editor is set.", where="$EDITOR", remedy="Set it, for example EDITOR=vi; or use --set or --file."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{prefix}record.json"
        path.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run([*shlex.split(command), str(path)], check=False)
        except OSError as error:
            raise OperatingError(f"the editor does not start: {error.strerror}.", where="$EDITOR") from error
        if done.returncode:
            raise CadenzaError("the editor ended with an error; nothing was changed.", where="$EDITOR")
        return _checked(path.read_bytes(), "the edited record")


def _checked(body: bytes, where: str) -> bytes:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CadenzaError(f"this is no JSON: {error}.", where=where, remedy="Mend it, then try again.") from None
    return body
