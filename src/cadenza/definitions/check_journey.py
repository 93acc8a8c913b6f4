"""What is wrong with a journey: its entry, exits, and every way through its steps."""

from __future__ import annotations

import msgspec

from cadenza.definitions import kinds
from cadenza.definitions.check_best_channel import check_choice
from cadenza.definitions.check_call import check_call
from cadenza.definitions.check_enter import check_enters
from cadenza.definitions.check_entry import check_entry
from cadenza.definitions.check_exit import check_last_steps
from cadenza.definitions.check_experiment import check_experiment
from cadenza.definitions.check_hand_off import check_hand_off
from cadenza.definitions.check_holdout import check_holdouts
from cadenza.definitions.check_jump import check_jumps
from cadenza.definitions.check_wait import check_local_wait
from cadenza.definitions.findings import Findings
from cadenza.definitions.flags import flags_of
from cadenza.definitions.graph import JourneyTooLarge, flatten, resting_paths
from cadenza.definitions.project import Project
from cadenza.definitions.typecheck import Scope, fits
from cadenza.errors import near_miss

MAX_STEPS = 200
MOST_AWAITED = 16
"""Conditions of one ``wait_for`` with ``all``: each is one bit of an enrollment."""


def check_journeys(project: Project, scope: Scope, findings: Findings) -> None:
    """Check every journey of a project, and its holdouts."""
    check_enters(project, findings, scope.partial)
    for journey in project.journeys:
        _Check(project, scope, findings, journey).all()
    check_holdouts(project, scope, findings)


class _Way(msgspec.Struct, frozen=True):
    """How a position is reached: flags that may be set, and the least time since entry (seconds).
    None in place of a way: it is not reached."""

    flags: frozenset[str] = frozenset()
    since_s: int = 0


class _Check:
    """The check of one journey."""

    def __init__(self, project: Project, scope: Scope, findings: Findings, journey: kinds.Journey) -> None:
        self.project = project
        self.journey = journey
        self.findings = findings
        self.scope = scope
        self.flags = frozenset(flags_of(journey.steps))
        self._steps = 0
        self._too_late = False

    def problem(self, what: str, path: str, remedy: str | None = None) -> None:
        self.findings.problem(what, "journeys", self.journey.name, path, remedy)

    def all(self) -> None:
        """Check everything about the journey."""
        check_entry(self.project, self.scope, self.findings, self.journey)
        with_event = msgspec.structs.replace(self.scope, event_allowed=True, entry_allowed=True)
        for path in ("goal", "disqualified"):
            tree = getattr(self.journey.exit, path)
            self.findings.condition(with_event, tree, "journeys", self.journey.name, f"exit.{path}")
        self._value()
        if not self.scope.partial:
            metrics = [metric.name for metric in self.project.metrics]
            wanted = self.journey.outcome.metric
            self.findings.reference("metric", wanted, metrics, "journeys", self.journey.name, "outcome.metric")
        self._map()
        before = len(self.findings.problems)
        self._list(self.journey.steps, "steps", _Way())
        check_last_steps(self.journey, self.findings)
        for name, last in self.journey.exit.last_steps.items():
            for number, step in enumerate(last):
                if isinstance(step, kinds.Send | kinds.Update):
                    self._step(step, f"exit.{name}.then.{number}", _Way())
        check_jumps(self.journey, self.findings)
        if self._steps > MAX_STEPS:
            remedy = "Split it into two journeys."
            self.problem(f"The journey has {self._steps} steps; at most {MAX_STEPS} are allowed.", "steps", remedy)
        elif len(self.findings.problems) == before:
            self._size()

    def _value(self) -> None:
        if self.journey.value is None:
            return
        scope = msgspec.structs.replace(self.scope, journey_allowed=False)
        found = self.findings.expression(scope, self.journey.value, "journeys", self.journey.name, "value")
        if found not in ("integer", "decimal", None):
            self.problem(f"The value is of type {found}.", "value", "It ranks messages, so it must be a number.")

    def _map(self) -> None:
        """What a new version does with those inside another one."""
        journey, mapped = self.journey, self.journey.in_flight == "map"
        if mapped and not journey.step_map:
            self.problem(
                "'in_flight: map' needs a 'step_map'.",
                "in_flight",
                'Write for example step_map: { "steps[0]": "steps[1]" }.',
            )
        for key in ("step_map", "unmapped"):
            if not mapped and self.findings.said("journeys", journey.name, key):
                self.problem(f"'{key}' is for 'in_flight: map'.", key)
        known = resting_paths(journey)
        for path, to in journey.step_map.items():
            if to not in known:
                what = f"'{to}' is not a step of this journey at which people can stand."
                self.problem(what, f"step_map.{path}", near_miss(to, known))

    def _size(self) -> None:
        try:
            flatten(self.journey)
        except (JourneyTooLarge, RecursionError) as error:
            what = error.what if isinstance(error, JourneyTooLarge) else "The steps are nested too deeply."
            remedy = "Use fewer flags and branches, or split the journey in two."
            self.problem(what[:1].upper() + what[1:], "steps", remedy)

    # --- steps ---------------------------------------------------------------------------------

    def _list(self, steps: tuple[kinds.Step, ...], path: str, way: _Way | None) -> _Way | None:
        """Check a list of steps; how its end is reached, if it is."""
        told = way is None
        for number, step in enumerate(steps):
            at = f"{path}.{number}"
            self._steps += 1
            if way is None and not told:
                self.problem("This step is never reached: every way before it has ended.", at, "Remove it.")
                told = True
            after = self._step(step, at, way or _Way(self.flags))
            way = after if way is not None else None
        return way

    def _step(self, step: kinds.Step, path: str, way: _Way) -> _Way | None:
        match step:
            case kinds.ExitStep():
                return None
            case kinds.Send():
                self._send(step, path)
            case kinds.Wait(local=kinds.LocalWait() as local):
                least = check_local_wait(self.project, self.scope, self.findings, self.journey.name, local, path)
                return self._later(way, least, path) if least else way
            case kinds.Wait(duration_s=seconds):
                return self._later(way, seconds, path)
            case kinds.WaitFor():
                return self._wait_for(step, path, way)
            case kinds.Update(set=values):
                self._update(values, path)
            case kinds.HandOff():
                return self._hand_off(step, path, way)
            case kinds.Call():
                return self._call(step, path, way)
            case kinds.Branch():
                return self._branch(step, path, way)
            case kinds.Split():
                self._distinct([arm.name for arm in step.arms], path)
                check_experiment(self.project, self.scope, self.findings, self.journey, step, path)
                ends = [self._list(arm.steps, f"{path}.arms.{arm.name}.steps", way) for arm in step.arms]
                return _join(ends) if ends else way
        return way

    def _hand_off(self, step: kinds.HandOff, path: str, way: _Way) -> _Way | None:
        check_hand_off(self.journey, step, self.scope, self.findings, path)
        longest, limit = way.since_s + step.due_s, self.journey.exit.time_limit_s
        if step.escalate:
            longest += step.escalate.after_s + step.escalate.due_s
        if limit and step.due_s and longest > limit and not self._too_late:
            self._too_late = True
            what = "This hand-off may last longer than the journey's time limit."
            self.problem(what, f"{path}.due", f"It may end {_days(longest)} after entry; the limit is {_days(limit)}.")
        ends = [self._list(arm.steps, f"{path}.outcomes.{arm.name}.steps", way) for arm in step.outcomes]
        if step.breached:
            ends.append(self._list(step.breached.steps, f"{path}.breached.steps", _Way(way.flags, longest)))
        return _join(ends) if ends else way

    def _call(self, step: kinds.Call, path: str, way: _Way) -> _Way | None:
        check_call(self.project, self.journey, step, self.scope, self.findings, path)
        longest, limit = way.since_s + step.timeout_s, self.journey.exit.time_limit_s
        if limit and step.timeout_s and longest > limit and not self._too_late:
            self._too_late = True
            what = "This call may be waited for longer than the journey's time limit."
            self.problem(
                what, f"{path}.timeout", f"It may end {_days(longest)} after entry; the limit is {_days(limit)}."
            )
        known = self._named(step.as_, "call", path, way)
        ends = [
            self._list(step.answered, f"{path}.answered", _Way(known, way.since_s)),
            self._list(step.failed, f"{path}.failed", _Way(known, way.since_s)),
            self._list(step.unanswered, f"{path}.unanswered", _Way(known, longest)),
        ]
        return _join(ends)

    def _named(self, flag: str | None, kind: str, path: str, way: _Way) -> frozenset[str]:
        """The flags that are known behind a step that sets one."""
        if flag in self.scope.traits:
            self.problem(f"The flag '{flag}' has the name of a trait.", f"{path}.as", "Rename it.")
        if flag and flag in way.flags:
            self.problem(f"The flag '{flag}' is already set by an earlier {kind}.", f"{path}.as", "Rename it.")
        return way.flags | ({flag} if flag else set())

    def _distinct(self, names: list[str], path: str) -> None:
        for name in {n for n in names if names.count(n) > 1}:
            self.problem(f"The arm '{name}' is written twice.", path)

    def _send(self, step: kinds.Send, path: str) -> None:
        if step.templates:
            check_choice(self.project, self.journey, step, self.scope, self.findings, path)
        elif not self.scope.partial:
            known = [t.name for t in self.project.templates]
            self.findings.reference("template", step.template, known, "journeys", self.journey.name, path)

    def _later(self, way: _Way, seconds: int, path: str) -> _Way:
        """The way after a wait. What comes later than the time limit is never reached; told once."""
        limit = self.journey.exit.time_limit_s
        since = way.since_s + seconds
        if limit and since >= limit and not self._too_late:
            self._too_late = True
            what = "This wait ends no earlier than the journey's time limit, so what follows is never reached."
            self.problem(what, path, f"Waits before it and it add up to {_days(since)}; the limit is {_days(limit)}.")
        return _Way(way.flags, since)

    def _wait_for(self, step: kinds.WaitFor, path: str, way: _Way) -> _Way | None:
        scope = msgspec.structs.replace(self.scope, event_allowed=True, entry_allowed=True, flags=way.flags)
        for word, trees in (("any", step.any), ("all", step.all)):
            for number, tree in enumerate(trees):
                self.findings.condition(scope, tree, "journeys", self.journey.name, f"{path}.{word}.{number}")
        self._awaited(step, path)
        limit = self.journey.exit.time_limit_s
        if limit and step.until_s and way.since_s + step.until_s > limit and not self._too_late:
            self._too_late = True
            what = "This wait may last longer than the journey's time limit."
            total = _days(way.since_s + step.until_s)
            self.problem(what, f"{path}.until", f"It may end {total} after entry; the limit is {_days(limit)}.")
        known = self._named(step.as_, "wait_for", path, way)
        here = _Way(known, way.since_s)
        ends = [self._list(arm, f"{path}.any.{number}.steps", here) for number, arm in enumerate(step.arms)]
        ends.append(self._list(step.matched, f"{path}.matched", here) if step.all or not step.arms else None)
        ends.append(self._list(step.timeout, f"{path}.timeout", _Way(known, way.since_s + step.until_s)))
        return _join(ends)

    def _awaited(self, step: kinds.WaitFor, path: str) -> None:
        if bool(step.any) == bool(step.all):
            said = "neither 'any' nor 'all'" if not step.any else "both 'any' and 'all'"
            if step.any or not self.findings.said("journeys", self.journey.name, f"{path}.any"):
                self.problem(f"The wait_for has {said}.", path, "Write one of them.")
        if len(step.all) > MOST_AWAITED:
            what = f"The wait_for has {len(step.all)} conditions under 'all'; at most {MOST_AWAITED} are remembered."
            self.problem(what, f"{path}.all", "Join some with 'and', if they must hold together.")
        if step.matched and not step.all:
            remedy = "Give the conditions under 'any' steps of their own: '- { when: ..., steps: [...] }'."
            self.problem("'matched' belongs to 'all'.", f"{path}.matched", remedy)

    def _branch(self, step: kinds.Branch, path: str, way: _Way) -> _Way | None:
        scope = msgspec.structs.replace(self.scope, entry_allowed=True, flags=way.flags)
        ends: list[_Way | None] = []
        for number, arm in enumerate(step.arms):
            at = f"{path}.arms.{number}"
            if arm is not None:
                self.findings.condition(scope, arm.when, "journeys", self.journey.name, f"{at}.when")
                ends.append(self._list(arm.steps, f"{at}.steps", way))
        ends += [self._list(getattr(step, end), f"{path}.{end}", way) for end in ("unknown", "otherwise")]
        return _join(ends)

    def _update(self, values: dict[str, str | int | float | bool], path: str) -> None:
        traits = {trait.name: trait for trait in self.project.traits}
        for name, value in values.items():
            trait = traits.get(name)
            if trait is None:
                if name and not self.scope.partial:
                    self.problem(f"Unknown trait '{name}'.", f"{path}.{name}", near_miss(name, traits))
            elif trait.from_ is None:
                what = f"The trait '{name}' is computed and cannot be set."
                self.problem(what, f"{path}.{name}", "Only traits with 'from' can be updated.")
            elif trait.type and not fits(value, trait.type):
                what = f"The trait '{name}' is of type {trait.type}; '{value}' is not."
                self.problem(what, f"{path}.{name}")


def _join(ends: list[_Way | None]) -> _Way | None:
    """Where ways meet again: any flag may be set, the earliest arrival counts."""
    reached = [end for end in ends if end is not None]
    if not reached:
        return None
    return _Way(frozenset().union(*(end.flags for end in reached)), min(end.since_s for end in reached))


def _days(seconds: int) -> str:
    for name, unit in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds // unit} {name}{'' if seconds == unit else 's'}"
    return f"{seconds} seconds"
