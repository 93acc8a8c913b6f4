"""Worlds in which people are put on suppression lists, for a time or for good, and taken off again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from cadenza.clock import from_micros, iso
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.additions.caps import crowd
from cadenza.simulate.chooser import Chooser, chance, pick
from cadenza.simulate.model import Model

_REASONS = ["legal", "open_claim", "hard_bounce"]


def _project(c: Chooser, project: Project) -> Project:
    """Journeys that send again and again, some of it transactional; nothing but suppression holds much back."""
    policy = replace(
        project.policy, caps=project.policy.caps[:1] if chance(c, 30) else (), suppress=(), quiet_hours=None
    )
    templates = tuple(
        replace(t, message_class=pick(c, ["marketing", "transactional"])) if t.name == "text" else t  # type: ignore[arg-type]
        for t in project.templates
    )  # fmt: skip
    return replace(project, policy=policy, templates=templates, journeys=crowd(c, project.journeys))


def _call(c: Chooser, project: Project, at: int) -> dict[str, Any]:
    ends = iso(from_micros(at + 3600_000_000 * pick(c, [1, 6, 24, 72, 0, -5])))
    return _said(c, [None, ends, ends, ends, "for ever"])


def _record(c: Chooser, model: Model, at: int) -> dict[str, Any] | None:
    """What somebody says of a person by number; often until the very instant at which something is due."""
    if not model.persons:
        return None
    person, due = pick(c, sorted(model.persons)), model.next_due()
    ends: list[str | None] = [None]
    if due is not None:
        ends = [iso(due + timedelta(microseconds=pick(c, [0, 0, 1, -1]))), None, iso(due + timedelta(hours=30))]
    return _said(c, ends) | {"kind": "person", "person": person, "occurred_at": at - pick(c, [0, 0, 3600_000_000])}


def _said(c: Chooser, ends: list[str | None]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "channel": pick(c, ["email", "*", "email", "sms"]), "reason": pick(c, _REASONS), "by": "ann"
    }  # fmt: skip
    if chance(c, 35):
        left = {name: value for name, value in properties.items() if not chance(c, 40)}
        return {"type": "track", "event": "Unsuppressed", "properties": left}
    until = pick(c, ends)
    properties |= {"until": until} if until is not None else {}
    return {"type": "track", "event": "Suppressed", "properties": properties}


ADDITION = Addition(project=_project, call=_call, record=_record, percent=25)
