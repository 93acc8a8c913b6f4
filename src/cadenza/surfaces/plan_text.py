"""A plan as text a person reads: what changes part by part, and whom it touches."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cadenza.workspace import JourneyPlan, Plan

_SIGNS = {"added": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red")}
_SINGULAR = {"policy": "policy", "identity": "identity", "project": "project"}
_MOST_REASONS = 10
_INSIDE = {"pin": "finish on the version they entered", "exit": "leave the journey", "restart": "begin again",
           "map": "go over, step by step"}  # fmt: skip
_STEP_FATE = {"pin": "finish on their version", "exit": "leave the journey", "restart": "begin again"}


def render_plan(plan: Plan, sql: bool) -> list[RenderableType]:
    """The plan as rich renderables; ``sql``: with what conditions compile to."""
    parts: list[RenderableType] = [*_changes(plan)]
    if plan.changes:
        parts += [*_contracts(plan), "", *_people(plan)]
    if sql:
        parts += [*_sql(plan)]
    return [*parts, ""]


def _changes(plan: Plan) -> Iterator[RenderableType]:
    if not plan.changes:
        yield Text("Nothing changes: what is in the folder is in force.")
        return
    counts = [f"{n} {word}" for word in _SIGNS if (n := sum(c.change == word for c in plan.changes))]
    yield Text(f"Plan: {', '.join(counts)}.", style="bold")
    for change in plan.changes:
        sign, style = _SIGNS[change.change]
        kind = _SINGULAR.get(change.kind, change.kind.removesuffix("s"))
        yield Text(f"  {sign} {kind}" + (f" {change.name}" if change.name != kind else ""), style=style)
        for part in change.fields:
            old, new = (value if value is not None else "(nothing)" for value in (part.old, part.new))
            yield Padding(Text(f"{part.path}: {old} -> {new}"), (0, 0, 0, 6))


def _contracts(plan: Plan) -> Iterator[RenderableType]:
    """For each contract that differs: its promise, who reads what changes, and what recent records say."""
    for contract in plan.contracts:
        found = contract.compatibility
        if found is None and not contract.fields and not contract.recent:
            continue
        versions = f" {found.old_version} -> {found.new_version}" if found and found.new_version else ""
        yield Text(f"\nContract {contract.name}{versions}", style="bold")
        if found is not None:
            yield Text(f"  promised: {found.promised}; holds: {found.holds}")
            yield from (Text(f"  BREAKS its promise: {broken}", style="red") for broken in found.breaks)
            if found.refused is not None:
                yield Text(f"  It will not be applied: {found.refused}", style="bold red")
        for field in contract.fields:
            names = ", ".join(f"{reader.kind} {reader.name}" for reader in field.readers)
            yield Text(f"  {field.field} is read by {names}")
        if contract.recent is not None and contract.recent.judged:
            yield Text(f"  {contract.recent.failing:,} of {contract.recent.judged:,} recent records would break it")
            yield from (Text(f"    {n:,} {reason}") for reason, n in [*contract.recent.reasons.items()][:_MOST_REASONS])


def _people(plan: Plan) -> Iterator[RenderableType]:
    if plan.deployed is None:
        yield Text("Nothing was in force before, so nobody is touched.")
        return
    if plan.segments:
        yield _table(
            "Segments", ("segment", "members", "after", "enter", "leave"),
            [(s.name, s.members, s.after, s.entering, s.leaving) for s in plan.segments],
        )  # fmt: skip
    if plan.journeys:
        yield _table(
            "People inside journeys that change", ("journey", "inside", "they"), [*map(_inside, plan.journeys)]
        )
        yield from _steps(plan)
    if not plan.segments and not any(j.inside for j in plan.journeys):
        yield Text(f"None of the {plan.persons:,} persons changes segment or journey by this.")


def _steps(plan: Plan) -> Iterator[RenderableType]:
    """Per journey: the steps that differ, and what happens to those at each step."""
    for journey in plan.journeys:
        if journey.step_changes:
            yield Text(f"\nSteps of {journey.name}", style="bold")
        for step in journey.step_changes:
            sign, style = _SIGNS[step.change]
            was = f" (was: {step.was})" if step.was is not None else ""
            yield Text(f"  {sign} {step.path}: {step.words}{was}", style=style)
        if journey.people:
            rows: list[tuple[object, ...]] = [
                (p.path, p.version[:8], p.people, f"stand at {p.to}" if p.to else _STEP_FATE.get(p.fate, p.fate))
                for p in journey.people
            ]
            yield _table(f"People in {journey.name}", ("step", "version", "people", "they"), rows)


def _inside(journey: JourneyPlan) -> tuple[str, int, str]:
    return journey.name, journey.inside, _INSIDE.get(journey.in_flight, journey.in_flight) if journey.inside else "-"


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    return Group(Text(title, style="bold"), table)


def _sql(plan: Plan) -> Iterator[RenderableType]:
    for compiled in plan.sql:
        yield Text(f"\n-- {compiled.kind} {compiled.name}", style="bold")
        yield Text(compiled.sql)
