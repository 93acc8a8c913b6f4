"""An explanation as text a person reads; plain without a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cadenza.runtime.explain import Explanation
from cadenza.runtime.explain.views import (
    CallView,
    MessageView,
    NotQualifiedView,
    PassageView,
    SourceView,
    SuppressionView,
    TaskView,
    TraitView,
)
from cadenza.workspace import WhyNot

WIDTH = 100
"""Columns of the plain text."""
_SHOWN = 3
"""Times without qualification that are written out; the JSON has more."""


def explanation_text(explanation: Explanation, width: int = WIDTH) -> str:
    """The explanation as plain text: no colour codes, lines at most ``width`` wide."""
    console = Console(file=io.StringIO(), width=width, no_color=True, force_terminal=False, highlight=False)
    console.print(*render_explanation(explanation), sep="\n")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def render_explanation(explanation: Explanation) -> list[RenderableType]:
    """The explanation as rich renderables, in reading order: who, what is known, what happened and why."""
    x = explanation
    records = "1 record" if x.records == 1 else f"{x.records:,} records"
    head = f"{x.person}, known since {_at(x.created_at)}, {records}, as of {_at(x.as_of)} UTC"
    parts: list[RenderableType] = [Text(head, style="bold")]
    if x.asked.strip() in x.absorbed:
        parts.append(Text(f"{x.asked} was merged into {x.person}."))
    parts += [Text(), _identity(x), *_profile(x)]
    parts.append(Text("Journeys" if x.journey is None else f"Journey {x.journey}", style="bold"))
    told = [*(_passage(p) for p in x.passages), *_refusals(x), *_unanswered(x), *_assignments(x)]
    return [*parts, *(told or [_line("Nothing triggered a journey for this person.")])]


def render_why_not(refused: WhyNot) -> Iterator[str]:
    """What would have let the last refused message or entry go, line by line."""
    yield f"{refused.person} in {refused.journey}: the {refused.what} of {_at(refused.at)} UTC was refused: {refused.reason}."
    if refused.facts is None:
        yield f"No set of facts was found whose change lets it go ({refused.runs:,} runs of the reference model)."
        return
    yield f"It would have gone at {_at(refused.happens_at)} UTC if:"
    yield from (f"  - {fact}" for fact in refused.facts)
    yield f"Seen to work on the reference model, run {refused.runs:,} times."


def _at(instant: datetime | None) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S}" if instant is not None else "-"


def _record(offset: int | None) -> str:
    return f"record {offset}" if offset is not None else "time"


def _line(text: str, indent: int = 2, style: str = "") -> RenderableType:
    return Padding(Text(text, style=style), (0, 0, 0, indent))


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _titled(title: str, table: Table) -> RenderableType:
    return Group(Text(title, style="bold"), Padding(table, (0, 0, 1, 2)))


def _identity(x: Explanation) -> RenderableType:
    table = _table("identifier", "value", "brought by", "at")
    for i in x.identifiers:
        table.add_row(i.type, i.value, f"{_record(i.offset)} ({i.rule or 'no link'})", _at(i.at))
    for m in x.merges:
        table.add_row("merge", f"{m.absorbed} into {m.survivor}", f"{_record(m.offset)}, by {m.identifier}", _at(m.at))
    return _titled("Identity", table)


def _profile(x: Explanation) -> Iterator[RenderableType]:
    if x.traits:
        table = _table("trait", "value", "from")
        for trait in x.traits:
            table.add_row(trait.name, trait.value if trait.value is not None else "unknown", "\n".join(_origin(trait)))
        yield _titled("Traits", table)
    if x.consents:
        table = _table("purpose", "channel", "says", "in force", "proof", "at")
        for c in x.consents:
            proof = ", ".join(part for part in (_record(c.offset), c.source, c.text_version) if part)
            table.add_row(
                c.purpose, c.channel, "yes" if c.granted else "no", "yes" if c.in_force else "-", proof, _at(c.at)
            )
        yield _titled("Consent", table)
    else:
        yield Group(Text("Consent", style="bold"), _line("No statement: every purpose and channel is denied.\n"))
    if x.suppressions:
        table = _table("channel", "reason", "in force", "proof", "at", "until")
        for s in x.suppressions:
            channel = "every channel" if s.channel == "*" else s.channel
            proof = ", ".join(part for part in (_record(s.offset), s.said_by) if part)
            table.add_row(channel, s.reason, "yes" if s.in_force else "-", proof, _at(s.at), _ended(s))
        yield _titled("Suppressed", table)
    if x.memberships:
        table = _table("segment", "since", "because of", "until", "because of")
        for m in x.memberships:
            table.add_row(m.segment, _at(m.since), m.cause, _at(m.until) if m.until else "still in", m.left_by or "")
        yield _titled("Segments", table)


def _ended(s: SuppressionView) -> str:
    if s.ended_at is not None and (s.until is None or s.ended_at < s.until):
        return f"{_at(s.ended_at)}, ended" + (f" by {s.ended_by}" if s.ended_by else "")
    return _at(s.until) if s.until is not None else "for good"


def _origin(trait: TraitView) -> Iterator[str]:
    if not trait.counted:
        yield from (f"before: {s.value}, {_source(s)}" if n else _source(s) for n, s in enumerate(trait.sent))
        if not trait.sent:
            yield f"nothing sent yet ({trait.definition})"
    for counted in trait.counted:
        yield f"{counted.text}: {counted.events:,} event{'' if counted.events == 1 else 's'}"
        ends = counted.shown if len(counted.shown) <= 2 else (counted.shown[0], counted.shown[-1])
        for word, source in zip(("first", "last") if len(ends) == 2 else ("one",), ends, strict=False):
            value = f"{source.value}, " if source.value is not None else ""
            yield f"  {word}: {value}record {source.offset}, {_at(source.at)}"


def _source(source: SourceView) -> str:
    """The record or step that a value came with."""
    by = f"{source.what} record {source.offset}" if source.offset is not None else source.what
    return f"{by}, {_at(source.at)}"


def _passage(p: PassageView) -> RenderableType:
    key = f" (key {p.key})" if p.key else ""
    lines: list[RenderableType] = [_line(f"{p.journey}{key}: entered {_at(p.entered_at)} by {p.trigger}", style="bold")]
    if p.at_entry:
        was = ", ".join(f"{name} {'unknown' if value is None else value}" for name, value in p.at_entry.items())
        lines.append(_line(f"at entry: {was}", 4))
    lines += [_line(f"{_at(m.at)}  {m.words}", 4) for m in p.moves]
    for message in p.messages:
        lines += _message(message)
    for task in p.tasks:
        lines += _task(task)
    for call in p.calls:
        lines += _call(call)
    if p.ended_at is not None:
        by = f" by '{p.ended_by}'" if p.ended_by else ""
        lines.append(_line(f"{_at(p.ended_at)}  ended: {(p.reason or '').replace('_', ' ')}{by}", 4))
    else:
        still = f"; paused since {_at(p.paused_since)}" if p.paused_since else ""
        lines.append(_line(f"rests at: {p.position}; wakes {_at(p.wakes_at)}{still}", 4))
    return Group(*lines, Text())


def _task(task: TaskView) -> Iterator[RenderableType]:
    replayed = ", replayed: nobody works on it" if task.replayed else ""
    yield _line(f"task {task.task}, team {task.team}: {task.title}; due {_at(task.due_at)}{replayed}", 6)
    for change in task.changes:
        yield _line(f"{_at(change.at)}  {change.words}", 8)


def _call(call: CallView) -> Iterator[RenderableType]:
    replayed = ", replayed: never put" if call.replayed else ""
    yield _line(f"call {call.call} of {call.destination} with {call.sent}{replayed}", 6)
    if call.refused is not None:
        yield _line(f"{_at(call.planned_at)}  not allowed: {call.refused}", 8)
    for answer in call.answers:
        yield _line(f"{_at(answer.at)}  {answer.words}", 8)


def _message(message: MessageView) -> Iterator[RenderableType]:
    replayed = ", replayed: handed to nobody" if message.replayed else ""
    named = f" {message.message_id}" if message.message_id else ""
    yield _line(f"message {message.template or message.step}{named}: {message.outcome}{replayed}", 6)
    for verdict in message.verdicts:
        evidence = ", ".join(f"{name} {value}" for name, value in verdict.evidence.items())
        yield _line(f"{_at(verdict.at)}  {verdict.words}" + (f" [{evidence}]" if evidence else ""), 8)
        yield from (_line(f"{c.channel} ({c.template}) {c.words}", 10) for c in verdict.channels)
    if message.outcome == "withdrawn":
        yield _line("the journey ended before a verdict", 8)
    for delivery in message.deliveries:
        yield _line(f"{_at(delivery.at)}  {delivery.name}" + (f": {delivery.detail}" if delivery.detail else ""), 8)


def _refusals(x: Explanation) -> Iterator[RenderableType]:
    for r in x.refusals:
        yield Group(
            _line(f"{r.journey}: refused {_at(r.at)} after {r.trigger}", style="bold"),
            _line(r.words, 4), Text(),
        )  # fmt: skip


def _unanswered(x: Explanation) -> Iterator[RenderableType]:
    latest = x.not_qualified[-_SHOWN:]
    if x.not_qualified_n > len(latest):
        yield Group(_line(f"Not qualified {x.not_qualified_n:,} times; the latest {len(latest)}:"), Text())
    yield from (_not_qualified(n) for n in latest)


def _not_qualified(n: NotQualifiedView) -> RenderableType:
    lines: list[RenderableType] = [
        _line(f"{n.journey}: not qualified {_at(n.at)} after {n.trigger}", style="bold"),
        _line(f"when {n.condition or 'true'}: {n.answer}", 4),
    ]
    for part in n.parts:
        values = ", ".join(
            f"{name} = {value if value is not None else 'unknown'}" for name, value in part.values.items()
        )
        lines.append(_line(f"{part.answer:<8} {part.text}" + (f"  ({values})" if values else ""), 6))
    if n.answer == "true":
        lines.append(_line("The history as it is known now qualifies: a merge or a late record changed it since.", 6))
    return Group(*lines, Text())


def _assignments(x: Explanation) -> Iterator[RenderableType]:
    for a in x.assignments:
        against = f" of 10,000, held out below {a.share_bp:,}" if a.share_bp is not None else ""
        superseded = "" if a.in_force else " (not in force: an earlier assignment of a merged person counts)"
        yield _line(f"holdout {a.holdout}: {a.arm}, bucket {a.bucket:,}{against}, since {_at(a.at)}{superseded}")
