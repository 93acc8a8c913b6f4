"""A plan as text a person reads."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from cadenza.workspace import Plan

_SIGNS = {"added": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red")}


def render_plan(plan: Plan, sql: bool) -> list[RenderableType]:
    """The plan as rich renderables: each definition that changes, part by part."""
    if not plan.changes:
        return [Text("Nothing changes: what is in the folder is in force.")]
    return [*_changes(plan), Text()]


def _changes(plan: Plan) -> Iterator[RenderableType]:
    for change in plan.changes:
        sign, style = _SIGNS[change.change]
        yield Text(f"{sign} {change.kind} {change.name}", style=style)
        for field in change.fields if change.change == "changed" else ():
            yield Text(f"    {field.path}: {field.old or '(nothing)'} -> {field.new or '(nothing)'}")
