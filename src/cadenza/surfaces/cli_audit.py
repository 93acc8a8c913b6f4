"""The command ``audit``: were the promises to people kept?"""

from __future__ import annotations

from cyclopts import App

from cadenza.surfaces.on_project import HERE, OnProject, using
from cadenza.surfaces.problem import EXIT_OK, EXIT_OPERATING
from cadenza.surfaces.reading import ask
from cadenza.surfaces.terminal import Terminal
from cadenza.workspace import AuditReport

EXIT_UNSURE = 1
"""No promise was broken, but of some message the log does not say."""
MOST_SHOWN = 20


def audit(*, on: OnProject = HERE) -> int:
    """Check every message that was sent against the log, with code that shares nothing with what decided.

    For each message: the person's address, consent, suppression, holdouts, quiet hours and caps when it was planned, and
    what was accepted before it was handed over. Works beside the server and without one.

    Exit codes: 0 every promise was kept, 1 kept as far as the log says, 3 broken.
    """
    with using(on) as (workspace, terminal, _):
        report: AuditReport = ask(workspace, "audit")
        if on.json:
            terminal.answer(report)
        _show(terminal, report)
        if not report.clean:
            return EXIT_OPERATING
        return EXIT_UNSURE if report.unsure else EXIT_OK


def _show(terminal: Terminal, report: AuditReport) -> None:
    told = (
        f"{report.messages:,} messages, {report.handed_over:,} of them handed over, against {report.records:,} records"
    )
    rows = [(r.rule, r.checked, r.violations, r.not_derivable) for r in report.rules]
    terminal.table(told, ("rule", "checked", "broken", "not in the log"), rows)
    for v in report.violations[:MOST_SHOWN]:
        evidence = [f"record {', '.join(map(str, v.records))}"] if v.records else []
        evidence += [f"messages {', '.join(v.messages)}"] if v.messages else []
        more = f" ({'; '.join(evidence)})" if evidence else ""
        terminal.say(f"{v.rule}: {v.person} {v.journey} {v.message_id} planned {v.planned_at}: {v.what}{more}", "red")
    total = sum(r.violations for r in report.rules)
    if total > MOST_SHOWN:
        terminal.say(f"... and {total - MOST_SHOWN:,} more; --json lists the first {len(report.violations):,}.")
    terminal.say("Every promise was kept." if report.clean else f"{total:,} promises were broken.", "bold")


def add_to(app: App) -> None:
    """Give the command line this command."""
    app.command(audit)
