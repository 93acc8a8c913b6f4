"""`cadenza demo`: a real year of a shop, decided under the rules of today, then the shop goes live.

Every step can be repeated: what is in the log is not imported again, what is decided is not decided again.
"""

from __future__ import annotations

import os
import shutil
import sys
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

import cadenza
from cadenza.clock import from_micros
from cadenza.errors import OperatingError
from cadenza.surfaces.encoding import from_json, to_json
from cadenza.surfaces.progress import Display, on_import, on_tick
from cadenza.surfaces.report_tables import render_report
from cadenza.surfaces.terminal import Terminal
from cadenza.workspace import STATE, ImportReport, Report, TickReport, Workspace, find_server

SOURCE = "online_retail"
WRITE_KEY = "retail-demo-key"
_IMPORT_FILE = "demo-import.json"


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `cadenza demo --json` prints. ``imported`` accounts for the file, ``report`` for what was decided until ``until``.
    ``reconciled``: every control total of the file, every count of the import and every check of the report agrees."""

    imported: ImportReport
    report: Report
    until: datetime
    reconciled: bool
    decided_in_s: float
    """Seconds of this run's ticks; near zero when everything was decided before."""


def example_folder() -> Path:
    """The example in the repository this package was installed from. Raises OperatingError when there is none."""
    folder = Path(cadenza.__file__).resolve().parents[2] / "examples" / "online-retail"
    if not folder.is_dir():
        raise OperatingError(
            "the example is not part of this installation.", where=str(folder),
            remedy="Run the demo from a clone of the repository ('make demo').",
        )  # fmt: skip
    return folder


def working_copy(folder: Path, fresh: bool) -> Path:
    """A copy of the example to work in; ``fresh`` starts over. Raises OperatingError while a server uses it."""
    server = find_server(folder) if folder.is_dir() else None
    if server is not None:
        raise OperatingError(
            f"the demo is running at {server.info.url}.", where=str(folder),
            remedy=f"Use it, or stop it first (process {server.info.pid}).",
        )  # fmt: skip
    if fresh and folder.exists():
        if not (folder / "cadenza.yaml").is_file():
            raise OperatingError("this is not a demo folder, so it is not deleted.", where=str(folder))
        shutil.rmtree(folder)
    if not (folder / "cadenza.yaml").is_file():
        shutil.copytree(example_folder(), folder, ignore=shutil.ignore_patterns(STATE), dirs_exist_ok=True)
    return folder


def replay(workspace: Workspace, display: Display) -> DemoReport:
    """Import the year, decide it, and say what happened until its end. Goes on where an earlier run stopped."""
    imported = _imported(workspace, display)
    until = _end_of(imported)
    began = workspace.clock.monotonic()
    _decide(workspace, display, until)
    seconds = workspace.clock.monotonic() - began
    report = workspace.report(until)
    reconciled = imported.reconciled and imported.conserved and report.adds_up
    return DemoReport(
        imported=imported, report=report, until=until, reconciled=reconciled, decided_in_s=round(seconds, 3)
    )


def _imported(workspace: Workspace, display: Display) -> ImportReport:
    """The account of the import: made now, or kept from the run that made it."""
    kept = workspace.folder / STATE / _IMPORT_FILE
    if kept.is_file():
        return from_json(kept.read_bytes(), ImportReport)
    if workspace.status().log_records == 0:
        workspace.apply(history_of=SOURCE)
    with display.task("Importing the year", None) as move:
        imported = workspace.import_source(SOURCE, on_import(move))
    kept.write_bytes(to_json(imported))
    return imported


def _end_of(imported: ImportReport) -> datetime:
    """The full hour after the last record of the file."""
    if imported.last_at is None:
        raise OperatingError("the file held no records.", where=imported.file, remedy="Start over with --fresh.")
    last = from_micros(imported.last_at)
    return last.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _decide(workspace: Workspace, display: Display, until: datetime) -> TickReport | None:
    status = workspace.status()
    if status.behind == 0 and status.horizon is not None and status.horizon >= until:
        return None
    with display.task("Deciding the year", status.log_records, status.consumed) as move:
        return workspace.run(until, on_tick(move))


def show(terminal: Terminal, demo: DemoReport) -> None:
    """The report for a person: the file reconciled, what happened, what to do next."""
    _show_import(terminal, demo.imported)
    terminal.show(*render_report(demo.report))
    if demo.reconciled:
        terminal.say("Everything reconciles: the file, the import and the decisions.", style="bold green")
    else:
        terminal.say("The figures do NOT reconcile; see the rows above.", style="bold red")
    terminal.say()


def _show_import(terminal: Terminal, imported: ImportReport) -> None:
    rows = [
        (c.name.replace("_", " "), c.found, c.expect or "-", "agrees" if c.ok else "DIFFERS") for c in imported.controls
    ]
    terminal.table("The file against what its publisher says", ("control total", "found", "expected", ""), rows)
    fates = [(c.label, c.made, c.stored, c.duplicate, c.conflict, c.quarantined) for c in imported.records]
    terminal.table("Records made of the file", ("record", "made", "stored", "known", "conflict", "quarantined"), fates)
    treated = "kept, as the source declares" if imported.duplicates == "keep" else "dropped, as the source declares"
    terminal.say(f"{imported.exact_duplicate_lines:,} lines are exact duplicates of another: {treated}.")
    terminal.say(
        f"{imported.unreadable_lines:,} lines could not be read; {imported.without_record:,} groups gave no record."
    )
    terminal.say()


def _command() -> str:
    """How the reader started us: ``cadenza`` where it is on the path, its file in a virtual environment otherwise."""
    started = Path(sys.argv[0])
    if started.name != "cadenza" or shutil.which("cadenza"):
        return "cadenza"
    return os.path.relpath(started) if started.is_absolute() else str(started)


def invitation(url: str, folder: Path, now: datetime) -> str:
    """What to try once the server runs: an order by a customer nobody knows yet."""
    customer = f"visitor-{now:%Y%m%d-%H%M%S}"
    batch = {"batch": [
        {"type": "identify", "userId": customer, "traits": {
            "email": f"{customer}@retail.example", "country": "United Kingdom", "time_zone": "Europe/London"}},
        {"type": "track", "event": "Consent Updated", "userId": customer,
         "properties": {"purpose": "marketing", "channel": "email", "granted": True}},
        {"type": "track", "event": "Order Completed", "userId": customer, "properties": {
            "order_id": f"W{now:%H%M%S}", "revenue": 42.50, "currency": "GBP", "quantity": 6,
            "products": [{"sku": "85123A", "name": "White hanging heart T-light holder", "quantity": 6, "price": 2.95}]}},
    ]}  # fmt: skip
    body = msgspec.json.encode(batch).decode()
    return (
        f"Place an order as a new customer:\n\n"
        f"curl -u {WRITE_KEY}: -H 'Content-Type: application/json' {url}/v1/batch -d '{body}'\n\n"
        f"Within a second the message is in the mailbox:   {url}/mailbox\n"
        f"Why it was sent:                                 {_command()} explain {customer} --project {folder}\n"
        f"                                                 {url}/api/persons/{customer}\n"
        f"Everything else the server answers:              {url}/docs\n"
    )
