"""The report as tables a marketer reads; plain text without a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cadenza.runtime.report import Report
from cadenza.runtime.report.figures import (
    ArmFigures,
    Comparison,
    Count,
    ExperimentArm,
    ExperimentFigures,
    JourneyFigures,
    MessageFigures,
)  # fmt: skip

WIDTH = 100
"""Columns of the plain text."""

_WORDS = {
    "when": "condition not met",
    "when_unknown": "condition unknown (data missing)",
    "late": "event too late",
    "re_entry: goal": "reached the goal before",
    "no_key": "no entry key",
    "suppressed": "suppressed",
    "re_entry: running": "already in it",
    "re_entry: once": "was in it before",
    "re_entry: after": "too soon after the last time",
    "priority": "a more important journey is running",
    "holdout": "held out for measurement",
    "unreachable": "no address",
    "policy": "contact policy",
    "no_consent": "no consent",
    "no_time_zone": "time zone unknown",
    "deadline": "would be too late",
    "cap": "contact limit reached",
    "quiet_hours": "quiet hours",
    "send_window": "outside send windows",
    "no_jurisdiction": "jurisdiction unknown",
    "goal": "goal reached",
    "disqualified": "no longer qualified",
    "superseded": "superseded by a more important journey",
    "time_limit": "time limit",
    "completed": "completed",
    "merged": "merged with another passage",
    "replayed": "replayed, never handed over",
    "no_identifier": "no usable identifier",
}


def words(name: str) -> str:
    """A reason in plain words; an unknown one (an author's own exit reason) as it is.

    >>> words("no_consent"), words("suppressed: unless"), words("bought")
    ('no consent', 'suppressed (unless)', 'bought')
    """
    if name in _WORDS:
        return _WORDS[name]
    reason, _, rule = name.partition(": ")
    if not rule:
        return name
    return _WORDS.get(reason, reason) if rule == reason else f"{_WORDS.get(reason, reason)} ({rule})"


def report_text(report: Report, width: int = WIDTH) -> str:
    """The report as plain text: no colour codes, lines at most ``width`` wide."""
    console = Console(file=io.StringIO(), width=width, no_color=True, force_terminal=False, highlight=False)
    console.print(*render_report(report), sep="\n")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def titled(title: str, table: Table) -> RenderableType:
    """A heading over its table; not the table's own title, which would be broken at the table's width."""
    return Group(Text(title, style="bold"), Padding(table, (0, 0, 1, 2)))


def render_report(report: Report) -> list[RenderableType]:
    """The report as rich renderables, in reading order."""
    parts: list[RenderableType] = [
        Text(f"{report.project}: what happened until {report.as_of:%Y-%m-%d %H:%M} UTC", style="bold"),
        Text(),
        _people(report),
        _counts("Events", "event", report.events),
    ]
    if report.unidentified:
        parts.append(_counts("Records that name nobody", "reason", report.unidentified))
    parts += [_quarantine(report), _segments(report)]
    if report.journeys:
        parts += [_journeys(report.journeys), *_reasons(report.journeys)]
    for journey in report.journeys:
        parts += [*_versions(journey), *_comparisons(journey.name, journey.comparisons), *_experiments(journey)]
    parts += [
        part for found in report.programmes for part in _comparisons(f"Programme, holdout {found.holdout}", [found])
    ]
    return [*parts, *_checks(report), *_hints(report)]


def figures_table(*columns: str, left: int = 1) -> Table:
    """A table whose first ``left`` columns are words and the others right-aligned numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", overflow="fold")
    return table


def _people(report: Report) -> RenderableType:
    people = report.people
    table = figures_table("", "persons")
    rows = (("identified", people.identified), ("anonymous", people.anonymous), ("together", people.living))
    for name, n in rows:
        table.add_row(name, number(n))
    if people.merged:
        table.add_row("merged into another", number(people.merged))
    return titled("Persons", table)


def _counts(title: str, heading: str, counts: Iterable[Count]) -> RenderableType:
    table = figures_table(heading, "number")
    for count in counts:
        table.add_row(words(count.name), number(count.n))
    if not table.row_count:
        table.add_row("none", "0")
    return titled(title, table)


def _quarantine(report: Report) -> RenderableType:
    log = report.log
    if not log.quarantined:
        return Text(f"Quarantine: empty. Duplicate records dropped: {number(log.duplicates)}.\n")
    table = figures_table("source", "reason", "records", left=2)
    for row in log.quarantined:
        table.add_row(row.source, words(row.reason), number(row.n))
    table.add_row("all", "duplicate records dropped", number(log.duplicates))
    return titled("Quarantine", table)


def _segments(report: Report) -> RenderableType:
    table = figures_table("segment", "members now", "ever members")
    for segment in report.segments:
        table.add_row(segment.name, number(segment.members), number(segment.ever))
    return titled("Segments", table) if report.segments else Text("Segments: none declared.\n")


def _journeys(journeys: Iterable[JourneyFigures]) -> RenderableType:
    columns = ("journey", "candidates", "not qualified", "refused", "entered", "live", "ended", "sent", "dropped")
    table = figures_table(*columns)
    for j in journeys:
        table.add_row(
            j.name, number(j.candidates), number(_sum(j.not_qualified)), number(_sum(j.refused)), number(j.entered),
            number(j.live), number(_sum(j.exits)), number(j.messages.sent), number(_sum(j.messages.dropped)),
        )  # fmt: skip
    return titled("Journeys", table)


def _reasons(journeys: Iterable[JourneyFigures]) -> Iterator[RenderableType]:
    for journey in journeys:
        rows = list(_reason_rows(journey))
        if not rows:
            continue
        table = figures_table("what", "reason", "number", left=2)
        before = ""
        for what, reason, n in rows:
            table.add_row(what if what != before else "", reason, number(n))
            before = what
        yield titled(f"Why, in {journey.name}", table)


def _reason_rows(journey: JourneyFigures) -> Iterator[tuple[str, str, int]]:
    messages: MessageFigures = journey.messages
    groups = (
        ("not qualified", journey.not_qualified), ("refused", journey.refused), ("ended", journey.exits),
        ("tasks", journey.tasks), ("calls of services", journey.calls),
        ("messages dropped", messages.dropped), ("messages put off for a while", messages.deferred),
    )  # fmt: skip
    for what, counts in groups:
        for count in counts:
            yield what, words(count.name), count.n
    if messages.withdrawn:
        yield "messages withdrawn", "the journey ended first", messages.withdrawn
    if messages.waiting:
        yield "messages waiting", "not decided yet", messages.waiting
    for count in messages.channels:
        yield "sent by channel", words(count.name), count.n
    for count in messages.delivery:
        yield "sent messages", words(count.name), count.n
    for count in messages.reactions:
        yield "receivers", words(count.name), count.n


def _versions(journey: JourneyFigures) -> Iterator[RenderableType]:
    """Where a journey has had several versions: what happened in each."""
    if not journey.versions:
        return
    columns = ("version", "deployed", "began", "came over", "ended", "goal", "sent", "persons", "per person")
    table = figures_table(*columns, left=2)
    for v in journey.versions:
        goal = sum(count.n for count in v.exits if count.name == "goal")
        mean = "-" if v.mean is None else amount(v.mean)
        table.add_row(v.version[:8], f"{v.deployed_at:%Y-%m-%d}", number(v.began), number(v.came_over), number(_sum(v.exits)),
                      number(goal), number(v.sent), number(v.persons), mean)  # fmt: skip
    metric = next((v.metric for v in journey.versions if v.metric), "the outcome")
    yield titled(
        f"Versions of {journey.name}, {metric} per person who began (other times and people: no measurement)", table
    )


def _comparisons(name: str, found: Iterable[Comparison]) -> Iterator[RenderableType]:
    """What was withheld against what was not, for each holdout."""
    for comparison in found:
        yield _arms(f"{name}, step holdout {comparison.holdout}" if comparison.level == "step" else name, comparison)
        for line in _verdict(comparison):
            yield Padding(Text(line), (0, 0, 0, 2))
        yield Text()


def _experiments(journey: JourneyFigures) -> Iterator[RenderableType]:
    for experiment in journey.experiments:
        days = experiment.within_s / 86400
        label = f" ({experiment.unit_label})" if experiment.unit_label else ""
        title = f"{journey.name}, experiment {experiment.name}, {experiment.metric}{label} within {days:g} days: {_ARMS[experiment.kind]}"
        table = figures_table(
            "arm", "share", "persons", "per person", "sum", "window not over", "more than the first", "interval"
        )
        for arm in experiment.arms:
            found = arm.lift
            table.add_row(
                arm.arm, f"{arm.share_bp / 100:g}%", number(arm.n), amount(arm.mean), amount(arm.total), number(arm.incomplete),
                amount(found.difference) if found else "", _interval(arm),
            )  # fmt: skip
        yield titled(title, table)
        for line in _said_of(experiment):
            yield Padding(Text(line), (0, 0, 0, 2))
        yield Text()


_ARMS = {
    "placebo": "PLACEBO, no message reached anyone",
    "measured": "arms compared",
    "mixed": "MIXED, some messages were replayed",
}


def _interval(arm: ExperimentArm) -> str:
    found = arm.lift
    if found is None:
        return ""
    return "-" if found.low is None else f"{amount(found.low)} to {amount(found.high)}"


def _said_of(experiment: ExperimentFigures) -> Iterator[str]:
    """What the arms say, in sentences; a placebo is never called an effect."""
    compared = [arm for arm in experiment.arms if arm.lift is not None and arm.lift.low is not None]
    if compared and compared[0].lift is not None:
        together = "" if len(compared) == 1 else "; all together miss the truth once in 20"
        yield f"Intervals: {compared[0].lift.level:.1%} ({compared[0].lift.method}){together}."
    if experiment.kind == "placebo":
        yield "Nothing was sent, so the differences are chance."
    elif compared:
        told = [arm.arm for arm in compared if arm.lift is not None and not arm.lift.covers_zero]
        which = f"in {', '.join(told)}" if told else "in any arm"
        yield f"Chance alone does {'not explain' if told else 'explain'} the difference {which}."
    for arm in experiment.arms:
        if arm.lift is not None and arm.lift.mde is not None:
            yield f"{arm.arm}: a true difference of {amount(arm.lift.mde)} or more would be found 8 times in 10 with this many persons."
        if arm.lift is not None and arm.lift.note:
            yield f"{arm.arm}: {arm.lift.note}"
    if (ratio := experiment.sample_ratio) is None:
        yield "The arms or their shares changed on the way, so the split is not checked."
    elif ratio.p_value is not None:
        said = "as declared" if ratio.ok else "NOT as declared: do not read the differences"
        yield f"The persons of the arms are {said} (p = {ratio.p_value:.3f})."
    if experiment.crossed:
        yield f"{number(experiment.crossed)} persons were in several arms before a merge; they count where they were first."


_KINDS = {
    "placebo": "PLACEBO, no message reached anyone",
    "measured": "treated against holdout",
    "mixed": "MIXED, some messages were replayed",
}


def _arms(journey: str, comparison: Comparison) -> RenderableType:
    days = comparison.within_s / 86400
    label = f" ({comparison.unit_label})" if comparison.unit_label else ""
    title = f"{journey}, {comparison.metric}{label} within {days:g} days: {_KINDS[comparison.kind]}"
    table = figures_table("arm", "persons", "per person", "sum", "window not over")
    for name, arm in (("treated", comparison.treated), ("held out", comparison.held_out)):
        table.add_row(name, number(arm.n), _mean(arm), amount(arm.total), number(arm.incomplete))
    return titled(title, table)


def _verdict(comparison: Comparison) -> Iterator[str]:
    """What the comparison says, in sentences; a placebo is never called an effect."""
    lift, ratio = comparison.lift, comparison.sample_ratio
    if lift.difference is not None:
        interval = (
            f", {lift.level:.0%} interval {amount(lift.low)} to {amount(lift.high)}" if lift.low is not None else ""
        )
        yield f"Difference per person: {amount(lift.difference)}{interval} ({lift.method})."
    if lift.low is not None:
        yield _reading(comparison)
    if lift.mde is not None:
        yield f"A true difference of {amount(lift.mde)} or more would be found 8 times in 10 with this many persons."
    if lift.note:
        yield lift.note
    if ratio is not None and ratio.observed_share is not None:
        said = "as declared" if ratio.ok else "NOT as declared: do not read the difference"
        yield f"Held out: {ratio.observed_share:.1%} of the persons, declared {ratio.expected_share:.1%}, {said} (p = {ratio.p_value:.3f})."
    elif ratio is None:
        yield "The declared share changed on the way, so the split is not checked."
    if comparison.crossed:
        yield f"{number(comparison.crossed)} persons were in both arms before a merge; they count where they were first."


def _reading(comparison: Comparison) -> str:
    zero = comparison.lift.covers_zero
    if comparison.kind == "placebo":
        fits = (
            "The interval covers zero, as chance has it 19 times in 20."
            if zero
            else "The interval misses zero, as chance has it once in 20."
        )
        return f"Nothing was sent, so the difference is chance. {fits}"
    if comparison.kind == "mixed":
        return "Part of the messages was replayed and reached nobody, so this measures less than the journey."
    return "Chance alone explains this difference." if zero else "Chance alone does not explain this difference."


def _mean(arm: ArmFigures) -> str:
    return amount(arm.mean)


def number(n: int) -> str:
    """A count with thousands separated."""
    return f"{n:,}"


def amount(value: float | None) -> str:
    """A metric's value: two decimals, thousands separated; never a negative zero."""
    if value is None:
        return "-"
    return f"{value:,.2f}" if abs(value) >= 0.005 else "0.00"


def _sum(counts: Iterable[Count]) -> int:
    return sum(count.n for count in counts)


def _checks(report: Report) -> Iterator[RenderableType]:
    if report.adds_up:
        yield Text(f"The figures add up: all {len(report.checks)} checks hold.")
    for check in report.checks:
        if not check.holds:
            parts = " + ".join(f"{part.name} {number(part.n)}" for part in check.parts)
            yield Text(
                f"DOES NOT ADD UP  {check.what}: {number(check.left)}, but {parts} = {number(check.right)}",
                style="bold red",
            )


def _hints(report: Report) -> Iterator[RenderableType]:
    if not report.hints:
        return
    yield Text()
    yield Text("What to do next", style="bold")
    for position, hint in enumerate(report.hints, start=1):
        yield Padding(Text(f"{position}. {hint.fact}"), (0, 0, 0, 2))
        yield Padding(Text(hint.todo), (0, 0, 0, 5))
