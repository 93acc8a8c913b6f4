"""Commands for those who run a project: ``tail`` and ``doctor``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from datetime import timedelta

import msgspec
from cyclopts import App
from rich.text import Text

from cadenza.clock import from_micros, iso, to_micros
from cadenza.errors import CadenzaError, DefinitionError
from cadenza.surfaces.encoding import plain, to_json
from cadenza.surfaces.on_project import HERE, Flag, OnProject, instant, using
from cadenza.surfaces.problem import EXIT_OK, EXIT_OPERATING
from cadenza.surfaces.progress import Display
from cadenza.surfaces.reading import ask
from cadenza.surfaces.terminal import Terminal
from cadenza.workspace import Counted, Finding, Outcome, Seen, Wanted, Workspace, find_server

LOOK_S = 0.2
"""Seconds between two looks at the log."""
EXIT_WARNINGS = 1
"""The doctor found something to look at, nothing broken."""
_TONES = {"stored": "green", "quarantined": "yellow", "duplicate": "dim", "rejected": "red"}
_SEVERITIES = {"ok": "green", "warning": "yellow", "error": "bold red"}
_BODY = 160


# --- tail --------------------------------------------------------------------------------------------------


def tail(
    *, source: str | None = None, type: str | None = None, event: str | None = None, person: str | None = None,
    outcome: Outcome | None = None, last: int = 20, since: str | None = None, follow: bool = True, redact: Flag = False,
    on: OnProject = HERE,
) -> int:  # fmt: skip
    """Show records as they come, each with what became of it. Works beside the server; ends with Ctrl-C.

    With --json, one JSON object a line. Duplicates and rejected requests are not kept one by one: they are counted.

    Parameters
    ----------
    source
        Only records of this source.
    type
        Only calls of this type, for example track.
    event
        Only this event.
    person
        Only records that hold this identifier or e-mail address.
    outcome
        Only what was stored, quarantined, duplicate or rejected.
    last
        First the last so many that came before.
    since
        First everything since this instant (UTC), or since so long ago, for example 10m, 2h or 1d.
    follow
        Go on showing what comes; --no-follow ends after what is there.
    redact
        Show no value that may be personal.
    """
    wanted = Wanted(source=source, type=type, event=event, person=person, outcome=outcome)
    with using(on) as (workspace, terminal, _):
        watched = workspace.operate.tail(wanted, redact)
        begun = watched.since(_beginning(workspace, since)) if since else watched.last(last)
        try:
            _show(terminal, begun)
            while follow:
                found = watched.poll()
                _show(terminal, found)
                if not found:
                    threading.Event().wait(LOOK_S)
        except KeyboardInterrupt:
            terminal.err.print("Stopped.")
    return EXIT_OK


def _beginning(workspace: Workspace, since: str) -> int:
    units = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    if since[:-1].isdigit() and since[-1:] in units:
        return to_micros(workspace.clock.now() - timedelta(seconds=int(since[:-1]) * units[since[-1]]))
    at = instant(since)
    assert at is not None
    return to_micros(at)


def _show(terminal: Terminal, found: Iterable[Seen | Counted]) -> None:
    for one in found:
        if terminal.json:
            value = msgspec.structs.asdict(one)
            if isinstance(one, Seen):
                value["at"] = from_micros(one.at)
            sys.stdout.write(to_json(value).decode() + "\n")
            sys.stdout.flush()
        else:
            terminal.out.print(_line(one), soft_wrap=True)
            terminal.out.file.flush()


def _line(one: Seen | Counted) -> Text:
    tone = _TONES[one.outcome]
    if isinstance(one, Counted):
        reason = f" ({one.reason})" if one.reason else ""
        return Text.assemble(
            ("             ", ""), f"{one.source or '-':<12} ", (f"{one.n:,} more {one.outcome}{reason}", tone)
        )
    place = f"stored #{one.offset}" if one.outcome == "stored" else f"quarantine {one.id}"
    at = iso(from_micros(one.at))[11:23]
    name = " ".join(part for part in (one.type or one.kind, one.event) if part)
    parts: list[str | tuple[str, str]] = [
        (f"{at} ", "dim"),
        f"{one.source or '-':<12} ",
        (f"{place:<16} ", tone),
        (f"{name}  ", "bold"),
    ]
    parts.append(" ".join(one.ids.values()))
    for flag in one.flags:
        parts.append((f"  flagged: {flag}", "yellow"))
    if one.outcome == "quarantined":
        parts.append((f"  {one.reason}. {one.detail}", "yellow"))
    body = one.body if isinstance(one.body, str) else msgspec.json.encode(plain(_told(one.body))).decode()
    parts.append((f"  {body[:_BODY]}", "dim"))
    return Text.assemble(*parts)


def _told(body: dict[str, object]) -> dict[str, object]:
    """What the line does not say already."""
    said = {
        "type",
        "event",
        "userId",
        "anonymousId",
        "previousId",
        "groupId",
        "flags",
        "occurred_at",
        "context",
        "messageId",
    }
    return {name: value for name, value in body.items() if name not in said}


# --- doctor -------------------------------------------------------------------------------------------------


def doctor(*, quick: Flag = False, on: OnProject = HERE) -> int:
    """Look for what is wrong: conservation, checksums, sequence, lag, disk, clock, definitions, server, silent journeys.
    Changes nothing.

    Exit codes: 0 nothing wrong, 1 warnings, 3 errors. Works beside the server and without one.

    Parameters
    ----------
    quick
        Do not read every record of the log.
    """
    with using(on) as (workspace, terminal, display):
        found = list(_findings(workspace, display, quick))
        if on.json:
            terminal.answer(found)
        for finding in found:
            _say(terminal, finding)
        grave = {finding.severity for finding in found}
        return EXIT_OPERATING if "error" in grave else EXIT_WARNINGS if "warning" in grave else EXIT_OK


def _findings(workspace: Workspace, display: Display, quick: bool) -> Iterator[Finding]:
    examined = workspace.operate.doctor()
    if quick:
        yield from examined.examine(True)
    else:
        with display.task("Reading the log", None, unit="records") as move:
            yield from examined.examine(False, lambda done, total: move(done, "", total))
    try:
        yield examined.lag(ask(workspace, "status").consumed)
    except CadenzaError as error:
        yield _failed("lag", error)
    yield from _journeys(workspace)
    yield _definitions(workspace)
    yield _server(workspace)


def _journeys(workspace: Workspace) -> Iterator[Finding]:
    """What journeys stopped doing, or do otherwise than they used to."""
    try:
        alerts = ask(workspace, "alerts")
    except CadenzaError as error:
        yield _failed("journeys", error)
        return
    for alert in alerts:
        told = f"{alert.journey}, {alert.code}, {alert.about}"
        yield Finding(check="journeys", severity="warning", what=alert.what, evidence=told, remedy=alert.remedy)
    if not alerts:
        yield Finding(check="journeys", severity="ok", what="no journey does otherwise than it used to.")


def _definitions(workspace: Workspace) -> Finding:
    try:
        changes = ask(workspace, "plan").changes
    except DefinitionError as error:
        told = f"the project folder has {len(error.problems)} problems; what is deployed goes on."
        return Finding(
            check="definitions",
            severity="warning",
            what=told,
            evidence=str(error.problems[0]),
            remedy="'cadenza validate' lists them.",
        )
    except CadenzaError as error:
        return _failed("definitions", error)
    if changes:
        told = f"the project folder differs from what is in force in {len(changes)} definitions."
        return Finding(
            check="definitions",
            severity="warning",
            what=told,
            remedy="'cadenza plan' shows how, 'cadenza apply' puts it in force.",
        )
    return Finding(check="definitions", severity="ok", what="the project folder is what is in force.")


def _server(workspace: Workspace) -> Finding:
    server = find_server(workspace.folder)
    if server is None:
        return Finding(check="server", severity="ok", what="no server runs; 'cadenza run' starts one.")
    try:
        server.get("/health/ready")
    except CadenzaError as error:
        return Finding(
            check="server",
            severity="error",
            what=error.what,
            evidence=f"process {server.info.pid}",
            remedy=error.remedy,
        )
    finally:
        server.close()
    return Finding(
        check="server",
        severity="ok",
        what=f"the server at {server.info.url} is ready.",
        evidence=f"process {server.info.pid}",
    )


def _failed(check: str, error: CadenzaError) -> Finding:
    return Finding(check=check, severity="error", what=error.what, evidence=error.where or "", remedy=error.remedy)


def _say(terminal: Terminal, finding: Finding) -> None:
    if terminal.json:
        return
    tone = _SEVERITIES[finding.severity]
    more = f" ({finding.evidence})" if finding.evidence else ""
    terminal.out.print(
        Text.assemble((f"{finding.severity:<8}", tone), f"{finding.check:<13} {finding.what}{more}"), soft_wrap=True
    )
    if finding.remedy and finding.severity != "ok":
        terminal.say(f"{'':<22}{finding.remedy}")


def add_to(app: App) -> None:
    """Give the command line these commands."""
    app.command(tail)
    app.command(doctor)
