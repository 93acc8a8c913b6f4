"""What tests and coverage call the places of a journey: its steps, the ways out of them, and its ends.

A step is called by its kind and what it is about (``send welcome_mail``, ``wait 3 days``, ``wait_for clicked``), or by
its kind alone, or by its path (``steps[2]``). A way is ``branch 1``, ``branch otherwise``, ``split offer free_shipping``.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from cadenza.definitions.expression_text import duration_text, write
from cadenza.definitions.graph import END, Graph, flatten
from cadenza.definitions.kinds import Journey, Split, Wait, WaitFor

_TOKEN = re.compile(r"([^\[\].]+)(?:\[([0-9]+)\])?")
_ABOUT = ("template", "as_", "name", "team", "journey", "destination")
_LAST = re.compile(r"exit\.([a-z_]+)\.then\[([0-9]+)\]")
_ARM = re.compile(r"(?:arms|any)\[([0-9]+)\]\.steps")
EXITS = ("goal", "disqualified", "superseded", "time_limit")


def step_at(journey: Journey, path: str) -> Any:
    """The step at a path of the graph, such as ``steps[0].split.a.steps[1]``; None where there is none."""
    at: Any = journey
    if last := _LAST.fullmatch(path):
        steps = journey.exit.last_steps.get(last[1], ())
        return steps[int(last[2])] if int(last[2]) < len(steps) else None
    for name, index in _TOKEN.findall(path):
        if isinstance(at, msgspec.Struct) and name in (
            at.__struct_config__.tag,
            "split" if isinstance(at, Split) else "",
        ):
            continue
        if isinstance(at, WaitFor) and name == "any":
            name = "arms"  # the steps of the condition
        if isinstance(at, tuple) and name == "steps":
            at = at[int(index)] if index and int(index) < len(at) else None
            continue
        if isinstance(at, dict):
            at = at.get(name)
        elif hasattr(at, name):
            at = getattr(at, name)
        else:
            arms = getattr(at, "arms", None) or getattr(at, "outcomes", None) or ()
            at = next((arm for arm in arms if getattr(arm, "name", None) == name), None)
        if index and isinstance(at, tuple):
            at = at[int(index)] if int(index) < len(at) else None
        if at is None:
            return None
    return at


def step_names(journey: Journey, kind: str, path: str) -> tuple[str, ...]:
    """What the step at a path may be called; the best name first."""
    found = step_at(journey, path)
    about = next((v for a in _ABOUT if isinstance(v := getattr(found, a, None), str)), "")
    if isinstance(found, Wait):
        about = _waited(found)
    others = [f"{kind} {name}" for name in getattr(found, "templates", ())]
    return tuple(dict.fromkeys([f"{kind} {about}".strip(), *others, kind, path]))


def _waited(wait: Wait) -> str:
    local = wait.local
    if local is None:
        return duration_text(wait.duration_s)
    if local.until_date is not None:
        return local.until_date
    if local.business_s:
        return f"{duration_text(local.business_s)} of business"
    days = f"{local.days} calendar day{'' if local.days == 1 else 's'}"
    return f"until {local.until}" if local.until else days


def way_names(journey: Journey, said: str) -> tuple[str, ...]:
    """What a decision of a hop (``steps[2]: unknown``) may be called; the best name first."""
    path, _, choice = said.partition(": ")
    found = step_at(journey, path)
    kind = found.__struct_config__.tag if isinstance(found, msgspec.Struct) else "step"
    name = getattr(found, "name", "")
    arm = _ARM.fullmatch(choice)
    if arm:
        number = int(arm[1])
        if isinstance(found, WaitFor):
            return f"{step_names(journey, 'wait_for', path)[0]} {number + 1}", f"{kind} {write(found.any[number])}"
        arms = getattr(found, "arms", ())
        when = getattr(arms[number], "when", None) if number < len(arms) else None
        return (f"{kind} {number + 1}", *([f"{kind} {write(when)}"] if when is not None else []))
    words = f"{kind} {name} {choice}" if name else f"{kind} {choice}"
    return (words, f"{kind} {choice}")


def place_names(journey: Journey, graph: Graph | None = None) -> frozenset[str]:
    """Everything that a test may call a place of the journey."""
    graph = graph or flatten(journey)
    found = {name for stop in graph.stops for name in step_names(journey, stop.kind, stop.path)}
    found |= {way for stop in graph.stops if len(stop.ways) > 1 for way in stop.ways}
    found |= {"sent", "dropped"} if any(stop.kind == "send" for stop in graph.stops) else set()
    found |= {name for hop in graph.hops for said in hop.taken for name in way_names(journey, said)}
    return frozenset(found | {f"exit {reason}" for reason in exit_reasons(journey, graph)})


def exit_reasons(journey: Journey, graph: Graph | None = None) -> frozenset[str]:
    """Every reason for which a passage can end."""
    graph = graph or flatten(journey)
    steps = {hop.reason or "completed" for hop in graph.hops if hop.to_step == END}
    return frozenset({*steps, *EXITS, "merged", "replaced"})


def written_at(path: str) -> str:
    """The path under which the loader keeps the place of what stands at a path of the graph.

    >>> written_at("steps[0].split.a.steps[1].branch.arms[2].steps[0]")
    'steps.0.arms.a.steps.1.arms.2.steps.0'
    """
    found = re.sub(r"\.split\.([^.\[]+)", r".arms.\1", re.sub(r"\.(branch|wait_for|call)\.", ".", path))
    found = re.sub(r"\.hand_off\.([^.\[]+)", r".outcomes.\1", found.replace(".hand_off.breached.", ".breached."))
    return re.sub(r"\[([0-9]+)\]", r".\1", found)
