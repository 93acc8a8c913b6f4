"""The command line. Every command answers for a person, or with ``--json`` as one JSON value on standard output.

Exit codes: 0 done, 1 a problem in what was given, 2 wrong use, 3 the surroundings refused.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from rich.prompt import Confirm

from cadenza import __version__
from cadenza.clock import SystemClock, from_micros, iso
from cadenza.definitions.library import BLUEPRINTS
from cadenza.definitions.schema import schemas
from cadenza.errors import CadenzaError, DefinitionError
from cadenza.ids import random_id
from cadenza.surfaces import (
    cli_audit,
    cli_care,
    cli_collect,
    cli_contracts,
    cli_enter,
    cli_journeys,
    cli_lint,
    cli_operate,
    cli_suppress,
    cli_tasks,
    cli_testing,
    cli_trials,
    cli_webhooks,
    demo as demo_project,
)
from cadenza.surfaces.cli_quarantine import quarantine_app
from cadenza.surfaces.collect_asked import declared_script
from cadenza.surfaces.explain_text import render_explanation, render_why_not
from cadenza.surfaces.logs import Format, set_up
from cadenza.surfaces.on_project import HERE, OnProject, alone, instant, using
from cadenza.surfaces.operations import Apply
from cadenza.surfaces.plan_text import render_plan
from cadenza.surfaces.problem import EXIT_INPUT, EXIT_OK, EXIT_USAGE, exit_code
from cadenza.surfaces.progress import Display, on_import, on_tick
from cadenza.surfaces.reading import ask
from cadenza.surfaces.report_tables import render_report
from cadenza.surfaces.server import Server, Settings
from cadenza.surfaces.terminal import Terminal
from cadenza.workspace import OutboxState, Plan, RebuildReport, TickReport, WhyNot, Workspace, find_server

TOKEN_VARIABLE = "CADENZA_API_TOKEN"
PORT = 8400

app = App(
    name="cadenza", version=__version__, help_format="plaintext",
    help="A customer data platform and journey orchestrator in one process.",
)  # fmt: skip


# --- definitions -----------------------------------------------------------------------------------


@app.command
def init(
    folder: Path = Path(), /, *, template: str | None = None,
    list_templates: Annotated[bool, Parameter(negative=())] = False, json: Annotated[bool, Parameter(negative=())] = False,
) -> int:  # fmt: skip
    """Write a small project that runs: a shop that welcomes people, or a template. Nothing is ever overwritten.

    Parameters
    ----------
    folder
        Where; made when missing.
    template
        A journey of the library, with all that it needs and tests, for example abandoned_cart.
    list_templates
        List the templates and write nothing.
    json
        Answer with one JSON value on standard output.
    """
    terminal = Terminal(json)
    if list_templates:
        if json:
            terminal.answer([{"name": b.name, "summary": b.summary} for b in BLUEPRINTS])
        terminal.table("Templates", ("template", "what it is for"), [(b.name, b.summary) for b in BLUEPRINTS])
        return EXIT_OK
    written = Workspace.create(folder, template)
    if json:
        terminal.answer({"folder": str(folder), "files": [str(p) for p in written]})
    terminal.say(f"Wrote {len(written)} files to {folder}/.")
    at = "" if folder == Path() else f" --project {folder}"
    terminal.say(f"Next: cadenza validate{at}, then cadenza apply{at}, then cadenza run{at}.")
    return EXIT_OK


@app.command
def validate(*, strict: Annotated[bool, Parameter(negative=())] = False, on: OnProject = HERE) -> int:
    """Check every definition; all problems are listed at once, each with its place and what to do.

    Parameters
    ----------
    strict
        Warnings are failures, too: end with 1.
    """
    with using(on) as (workspace, terminal, _):
        loaded = workspace.validate()
        if loaded.test_problems:
            raise DefinitionError(loaded.test_problems)
        kinds: dict[str, int] = {}
        for kind, _name, _definition in loaded.project.named():
            kinds[kind] = kinds.get(kind, 0) + 1
        if loaded.tests:
            kinds["tests"] = len(loaded.tests)
        if on.json:
            terminal.answer({"project": loaded.project.name, "definitions": kinds, "warnings": loaded.warnings})
        for warning in loaded.warnings:
            terminal.say(f"warning: {warning}", style="yellow")
        terminal.say(f"{loaded.project.name} is valid: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()) + ".")
        return EXIT_INPUT if strict and loaded.warnings else EXIT_OK


@app.command
def plan(
    *, sql: Annotated[bool, Parameter(negative=())] = False, version: str | None = None, on: OnProject = HERE
) -> int:
    """Show what applying the project would change, and how many people it touches.

    Parameters
    ----------
    sql
        Show the SQL that conditions compile to.
    version
        Not the folder but what was deployed under this fingerprint.
    """
    with using(on) as (workspace, terminal, _):
        found: Plan = ask(workspace, "plan", version=version)
        if on.json:
            terminal.answer(found)
        terminal.show(*render_plan(found, sql))
    return EXIT_OK


@app.command
def apply(
    *, yes: Annotated[bool, Parameter(negative=())] = False, version: str | None = None, on: OnProject = HERE
) -> int:
    """Put the project in force. Shows the plan first, and asks when a person is there to answer.

    Parameters
    ----------
    yes
        Do not ask.
    version
        Not the folder but what was deployed under this fingerprint: to go back.
    """
    with using(on) as (workspace, terminal, display):
        found: Plan = ask(workspace, "plan", version=version)
        terminal.show(*render_plan(found, sql=False))
        if not found.changes:
            if on.json:
                terminal.answer({"plan": found, "deployed": None})
            return EXIT_OK
        if not (yes or on.json) and sys.stdin.isatty() and not Confirm.ask("Apply this?", console=terminal.out):
            return EXIT_INPUT
        deployed = ask(workspace, "apply", body=Apply(version=version))
        if find_server(workspace.folder) is None:
            _run(workspace, display, "Applying", None)
        if on.json:
            terminal.answer({"plan": found, "deployed": deployed})
        terminal.say(f"Applied. The project is now {deployed.fingerprint}.", style="green")
    return EXIT_OK


@app.command
def schema(kind: str | None = None, /) -> int:
    """Print the JSON Schema of a kind of definition, or of all of them.

    Parameters
    ----------
    kind
        For example journey. All kinds when left out.
    """
    terminal = Terminal(json=True)
    if kind is None:
        terminal.answer(schemas())
    else:
        terminal.answer(Workspace(Path(), SystemClock()).schema(kind))
    return EXIT_OK


# --- data in, decisions, the server --------------------------------------------------------------------


@app.command(name="import")
def import_(
    source: str, /, *, stay_in_replay: Annotated[bool, Parameter(negative=())] = False, on: OnProject = HERE
) -> int:
    """Import a declared file source. Importing it again stores nothing twice.

    On an empty project this also applies the definitions, in force from the file's first record on. Messages that fall
    into the replayed time reach nobody.

    Parameters
    ----------
    source
        The name of a source of kind file.
    stay_in_replay
        Do not go live after the import: messages stay undeliverable, for example until the next file is in.
    """
    with using(on) as (workspace, terminal, display):
        served = find_server(workspace.folder) is not None
        if not served and workspace.status().log_records == 0:
            workspace.apply(history_of=source)
        with display.task(f"Importing {source}", None) as move:
            imported = workspace.import_source(source, on_import(move))
        if not served:
            _run(workspace, display, "Deciding", None)
            if not stay_in_replay:
                workspace.go_live()
        if on.json:
            terminal.answer(imported)
        rows = [(c.label, c.made, c.stored, c.duplicate, c.conflict, c.quarantined) for c in imported.records]
        terminal.table(
            f"{imported.file}: {imported.lines:,} lines",
            ("record", "made", "stored", "known", "conflict", "quarantined"),
            rows,
        )
        for control in imported.controls:
            terminal.say(
                f"{control.name}: {control.found} " + ("agrees" if control.ok else f"but {control.expect} was expected")
            )
        return EXIT_OK if imported.reconciled and imported.conserved else EXIT_INPUT


@app.command
def tick(*, until: str | None = None, on: OnProject = HERE) -> int:
    """Decide what waits in the log, and timers until now.

    Parameters
    ----------
    until
        Handle timers until this instant (UTC) instead of now.
    """
    with using(on) as (workspace, terminal, display):
        alone(workspace)
        done = _run(workspace, display, "Deciding", instant(until) or workspace.clock.now())
        if on.json:
            terminal.answer(done)
        terminal.say(
            f"{done.records:,} records in {done.waves:,} waves; {done.messages:,} messages for delivery. Decided until {iso(done.horizon)}."
        )
    return EXIT_OK


def _run(workspace: Workspace, display: Display, what: str, until: datetime | None) -> TickReport:
    status = workspace.status()
    with display.task(what, status.log_records, status.consumed) as move:
        return workspace.run(until, on_tick(move))


@app.command(alias="serve")
def run(*, host: str = "127.0.0.1", port: int = PORT, log: Format = "text", on: OnProject = HERE) -> int:
    """Serve the project: collect events, decide live, deliver messages, answer the API. Ends with Ctrl-C.

    The read API is open on loopback. With CADENZA_API_TOKEN set it wants that bearer token, and may listen elsewhere.

    Parameters
    ----------
    host
        The address to listen on.
    port
        The port to listen on; 0 takes any free one.
    log
        The operational log on standard error: text says what somebody should look at, json one object for each event.
    """
    set_up(log)
    with using(on) as (workspace, terminal, _):
        _serve(workspace, terminal, host, port, lambda url: terminal.say(_welcome(url, workspace)))
    return EXIT_OK


def _serve(workspace: Workspace, terminal: Terminal, host: str, port: int, ready: Callable[[str], None]) -> None:
    token = os.environ.get(TOKEN_VARIABLE) or None
    server = Server(workspace, Settings(host=host, port=port, token=token, script=declared_script(os.environ)))
    server.run(ready)
    terminal.say("Stopped; everything accepted is in the log.")


def _welcome(url: str, workspace: Workspace) -> str:
    keys = workspace.write_keys()
    guarded = "with the bearer token" if os.environ.get(TOKEN_VARIABLE) else "open to this machine only"
    return (
        f"{workspace.deployed().name} is live at {url} (Ctrl-C stops it).\n"
        f"  collect   POST {url}/v1/batch, write key {' or '.join(keys) or 'none declared'}\n"
        f"  API       {url}/docs, {guarded}\n"
        f"  mailbox   {url}/mailbox"
    )


@app.command
def demo(
    *, fresh: Annotated[bool, Parameter(negative=())] = False, serve: bool = True, folder: Path = Path("demo/online-retail"),
    host: str = "127.0.0.1", port: int = PORT, json: Annotated[bool, Parameter(negative=())] = False,
) -> int:  # fmt: skip
    """Replay a real year of a shop under three journeys, say what happened, then go live.

    Parameters
    ----------
    fresh
        Start over; the demo folder is deleted first.
    serve
        Start the server at the end; --no-serve ends after the report.
    folder
        Where the demo works.
    host
        The address to listen on.
    port
        The port to listen on; 0 takes any free one.
    json
        Print the report as one JSON value and end.
    """
    terminal = Terminal(json)
    copy = demo_project.working_copy(folder, fresh)
    with Workspace.open(copy) as workspace:
        display = Display(terminal.err, workspace.clock, quiet=json)
        done = demo_project.replay(workspace, display)
        if json:
            terminal.answer(done)
        demo_project.show(terminal, done)
        if serve and not json:
            workspace.go_live()
            _run(workspace, display, "Going live", None)
            set_up("text")
            _serve(workspace, terminal, host, port, lambda url: terminal.say(
                demo_project.invitation(url, copy, workspace.clock.now()) + "\n" + _welcome(url, workspace)
            ))  # fmt: skip
    return EXIT_OK if done.reconciled else EXIT_INPUT


# --- reading -------------------------------------------------------------------------------------------


@app.command
def status(*, on: OnProject = HERE) -> int:
    """How far the log is decided, how many people there are, what waits to be sent."""
    with using(on) as (workspace, terminal, _):
        found = ask(workspace, "status")
        if on.json:
            terminal.answer(found)
        rows = [
            ("project", found.project), ("mode", found.mode), ("deployed", found.fingerprint), ("records in the log", found.log_records),
            ("not decided yet", found.behind), ("decided until", found.horizon and iso(found.horizon)), ("persons", found.persons),
            ("inside a journey", found.live_enrollments), ("next timer", found.next_timer and iso(found.next_timer)),
        ]  # fmt: skip
        rows += [(f"records {outcome}", n) for outcome, n in found.received.items()]
        rows += [(f"messages {state}", n) for state, n in found.outbox.items()]
        terminal.table("Status", ("what", "value"), rows)
    return EXIT_OK


@app.command
def report(*, as_of: str | None = None, on: OnProject = HERE) -> int:
    """What happened: people, segments, journeys, messages, outcomes; and whether it adds up.

    Parameters
    ----------
    as_of
        The instant to look at (UTC), for example 2011-12-09; without it, the present.
    """
    with using(on) as (workspace, terminal, _):
        found = ask(workspace, "report", as_of=instant(as_of))
        if on.json:
            terminal.answer(found)
        terminal.show(*render_report(found))
    return EXIT_OK


@app.command
def explain(
    person: str,
    journey: str | None = None,
    /,
    *,
    why_not: Annotated[bool, Parameter(negative=())] = False,
    on: OnProject = HERE,
) -> int:
    """Why one person is where they are: identity, traits, segments, journeys, messages, each with its evidence.

    Parameters
    ----------
    person
        A person id, or any identifier of the person such as an e-mail address.
    journey
        Only this journey, with the times it was not entered and why.
    why_not
        Instead: the smallest set of facts whose change would have let the last refused message or entry of the journey go.
    """
    with using(on) as (workspace, terminal, _):
        if why_not:
            if journey is None:
                raise CadenzaError("--why-not is about one journey.", remedy="Name it after the person.")
            refused: WhyNot = ask(workspace, "why_not", person=person, journey=journey)
            if on.json:
                terminal.answer(refused)
            for line in render_why_not(refused):
                terminal.say(line)
            return EXIT_OK
        name = "explain_person" if journey is None else "explain_journey"
        found = ask(workspace, name, person=person, journey=journey)
        if on.json:
            terminal.answer(found)
        terminal.show(*render_explanation(found))
    return EXIT_OK


app.command(quarantine_app)


@app.command
def messages(
    *, state: OutboxState | None = None, journey: str | None = None, person: int | None = None, limit: int = 20,
    on: OnProject = HERE,
) -> int:  # fmt: skip
    """List messages decided to be sent, newest first, and where each stands.

    Parameters
    ----------
    state
        Only messages in this state.
    journey
        Only messages of this journey.
    person
        Only messages of this person id.
    limit
        How many at most.
    """
    with using(on) as (workspace, terminal, _):
        found = ask(workspace, "messages", state=state, journey=journey, person=person, limit=limit)
        if on.json:
            terminal.answer(found)
        rows = [
            (
                iso(from_micros(f.message.planned_at)),
                f.message.address,
                f.message.template,
                f.message.journey,
                f.state,
                f.detail,
            )
            for f in found
        ]
        terminal.table("Messages", ("planned at", "address", "template", "journey", "state", "detail"), rows)
    return EXIT_OK


@app.command
def query(sql: str, /, *, limit: int = 1_000, on: OnProject = HERE) -> int:
    """Answer one SELECT over the tables of the catalogue (docs/reference/tables.md).

    Parameters
    ----------
    sql
        One SELECT, for example "SELECT count(*) FROM person".
    limit
        How many rows at most.
    """
    with using(on) as (workspace, terminal, _):
        rows = ask(workspace, "query", sql=sql, limit=limit).rows
        if on.json:
            terminal.answer(rows)
        elif rows:
            terminal.table("", list(rows[0]), [list(row.values()) for row in rows])
        terminal.say(f"{len(rows):,} row{'s' if len(rows) != 1 else ''}.")
    return EXIT_OK


# --- care ------------------------------------------------------------------------------------------------


@app.command
def rebuild(
    *, verify: Annotated[bool, Parameter(negative=())] = False,
    without_deleted: Annotated[bool, Parameter(negative=())] = False, on: OnProject = HERE,
) -> int:  # fmt: skip
    """Make the store anew from the log and its archive. Interrupted, it goes on where it was when it is asked again.

    Parameters
    ----------
    verify
        Only make a second store and compare the two, table by table.
    without_deleted
        Go on where retention deleted records: the new store knows nothing of them.
    """
    with using(on) as (workspace, terminal, display):
        alone(workspace)
        with display.task("Rebuilding", None) as move:
            found = workspace.rebuild(verify, on_tick(move), without_deleted)
        return _rebuilt(terminal, found, on.json)


def _rebuilt(terminal: Terminal, found: RebuildReport, json: bool) -> int:
    if json:
        terminal.answer(found)
    if found.resumed_from:
        terminal.say(f"It went on from record {found.resumed_from:,}, where it was interrupted.")
    if found.verified is None:
        terminal.say(f"The store was made anew from {found.records:,} records in {found.waves:,} waves.", style="green")
        return EXIT_OK
    rows = [(t.table, t.rows, t.rebuilt_rows, "same" if t.same else "DIFFERS") for t in found.tables]
    terminal.table("The store against one made anew from the log", ("table", "rows", "made anew", ""), rows)
    if found.verified:
        terminal.say(f"Every table is the same after {found.records:,} records.", style="green")
        return EXIT_OK
    if found.deleted:
        gone = sum(f.n for f in found.deleted)
        terminal.say(
            f"{gone:,} records up to offset {found.deleted[-1].last_offset:,} were deleted by retention: what they told is in"
            " the store and in no log, so the two cannot be the same.", style="yellow",
        )  # fmt: skip
        return EXIT_INPUT
    terminal.say("The store differs from its log; 'cadenza rebuild' replaces it.", style="bold red")
    return EXIT_INPUT


@app.command
def export(target: Path, /, *, on: OnProject = HERE) -> int:
    """Write every table of the store as a Parquet file.

    Parameters
    ----------
    target
        A new or empty folder.
    """
    with using(on) as (workspace, terminal, _):
        alone(workspace)
        found = workspace.export(target)
        if on.json:
            terminal.answer(found)
        rows = [(f.table, f.rows, f.personal) for f in found]
        terminal.table(f"Written to {target}/", ("table", "rows", "personal data"), rows)
    return EXIT_OK


cli_audit.add_to(app)
cli_care.add_to(app)
cli_testing.add_to(app)
cli_collect.add_to(app)
cli_contracts.add_to(app)
cli_enter.add_to(app)
cli_journeys.add_to(app)
cli_lint.add_to(app)
cli_operate.add_to(app)
cli_suppress.add_to(app)
cli_trials.add_to(app)
cli_tasks.add_to(app)
cli_webhooks.add_to(app)


@app.command
def token() -> int:
    """Print a new random token, for CADENZA_API_TOKEN."""
    print(random_id())
    return EXIT_OK


def main(arguments: list[str] | None = None) -> int:
    """Run one command and give its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    terminal = Terminal(json="--json" in given)
    try:
        return int(app(given, exit_on_error=False, print_error=True, result_action="return_value") or EXIT_OK)
    except CycloptsError:
        return EXIT_USAGE
    except CadenzaError as error:
        terminal.error(error)
        return exit_code(error)
    except KeyboardInterrupt:
        terminal.err.print("Stopped.")
        return 130
    except BrokenPipeError:
        # Whoever read our output went away; keep the interpreter from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK


def console() -> None:
    """The entry point of the ``cadenza`` script."""
    sys.exit(main())


if __name__ == "__main__":
    console()
