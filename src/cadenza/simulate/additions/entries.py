"""Further kinds of entry, of re-entry, and lateness."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from cadenza.clock import iso
from cadenza.definitions.expression import FALSE, parse, parse_where
from cadenza.definitions.implied import REQUESTED
from cadenza.definitions.kinds import Absence, Entry, Journey, Trigger, Wait
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, chance, pick

_BECOMES = [
    "score > 10", "events('Order Completed', within => '1 day') >= 2", "orders >= 2", "vip and plan = 'gold'",
    "coalesce(sum_of('Order Completed', revenue, within => '2 days'), 0) > 100", "not consented('marketing', 'email')",
]  # fmt: skip
_CHANGES: list[tuple[str, Any, Any]] = [
    ("plan", "free", "gold"), ("plan", None, "gold"), ("plan", "trial", None), ("score", None, 12), ("vip", True, None),
    ("plan", "gold", "free"), ("credit", None, 30), ("vip", False, True),
]  # fmt: skip


def _project(c: Chooser, project: Project) -> Project:
    journeys = tuple(_entering(c, j) if i == 0 or chance(c, 60) else j for i, j in enumerate(project.journeys))
    return replace(project, journeys=journeys)


def _entering(c: Chooser, journey: Journey) -> Journey:
    on = _trigger(c, journey.entry.on)
    by_event = on.event is not None or on.api
    if chance(c, 60):
        journey = _open(journey)
    entry = journey.entry
    # What is not an event may come round at one instant (through updates): see made_projects.
    again = pick(c, ["replace", "unless_goal", "after_exit"] if by_event else ["replace", "after", "once"])
    key = parse_where("order_id") if on.api and chance(c, 40) else entry.key if on.event is not None else None
    late = pick(c, [None, 600, 7200]) if by_event else None
    changed = Entry(
        on=on, when=entry.when, unless=entry.unless, again=again, again_after_s=3600 * 6 if again == "after" else 0, key=key,  # type: ignore[arg-type]
        late_s=late,
    )  # fmt: skip
    goal = parse("event('Support Opened')") if again == "unless_goal" else journey.exit.goal
    return replace(journey, entry=changed, exit=replace(journey.exit, goal=goal))


def _open(journey: Journey) -> Journey:
    """The journey with nothing in the way of entries, and people in it for long, so that re-entry is asked for."""
    entry = replace(journey.entry, when=None, unless=None)
    exit_ = replace(journey.exit, disqualified=FALSE, time_limit_s=journey.exit.time_limit_s + 86400)
    steps = (Wait(duration_s=86400), *journey.steps)
    return replace(journey, entry=entry, exit=exit_, steps=steps, arena=None, holdout=None)


def _trigger(c: Chooser, before: Trigger) -> Trigger:
    match c.below(9):
        case 0 | 1:
            return Trigger(becomes=parse(pick(c, _BECOMES)))
        case 2:
            after = pick(c, [None, "Product Viewed"])
            return Trigger(absence=Absence(event="Order Completed", for_s=3600 * pick(c, [6, 30]), after=after))
        case 3:
            trait, from_, to = pick(c, _CHANGES)
            return Trigger(trait=trait, from_=from_, to=to)
        case 4:
            return _date(c)
        case 5:
            return Trigger(api=True, where=pick(c, [None, parse_where("quantity > 1")]))
    return before if before.event is not None else Trigger(event="Order Completed")


def _date(c: Chooser) -> Trigger:
    at = pick(c, ["09:00", None, "02:30", "00:00"])
    length = 86400 * pick(c, [0, 1, 3]) if at else pick(c, [0, 7200, 86400])
    sides = {"before_s": length} if chance(c, 60) else {"after_s": length}
    return Trigger(
        date="renews_at", at=at, past=pick(c, ["skip", "enter"]), zone=pick(c, [None, None, "America/Havana"]), **sides  # type: ignore[arg-type]
    )  # fmt: skip


def _call(c: Chooser, project: Project, at: int) -> dict[str, Any]:
    if chance(c, 50):
        traits = {
            "plan": pick(c, ["gold", "free", "trial"]),
            "score": pick(c, [5, 12, 15]),
            "vip": pick(c, [True, False]),
        }
        soon = datetime(1970, 1, 1) + timedelta(microseconds=at, hours=pick(c, [30, 100, -5, -50]))
        traits["renews_at"] = pick(c, [iso(soon), soon.date().isoformat()])
        return {"type": "identify", "traits": {k: v for k, v in traits.items() if chance(c, 60)}}
    properties = {
        "journey": pick(c, [*(j.name for j in project.journeys), "nobody"]), "order_id": pick(c, ["o1", "o2"]),
        "quantity": pick(c, [1, 2, 3]),
    }  # fmt: skip
    return {"type": "track", "event": REQUESTED, "properties": properties}


ADDITION = Addition(project=_project, call=_call, percent=25)
