"""Journeys in the reference model: exits, entries and steps of one person at one item."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from cadenza.clock import EPOCH, to_micros
from cadenza.definitions.implied import former_of
from cadenza.definitions.kinds import (
    Branch,
    Call,
    Enter,
    ExitStep,
    HandOff,
    Holdout,
    Journey,
    Jump,
    LocalWait,
    Split,
    Step,
    Update,
    Wait,
    WaitFor,
)  # fmt: skip
from cadenza.ids import bucket, enrollment_id, message_id
from cadenza.simulate.calling import Calling
from cadenza.simulate.evaluate import (
    View,
    changes_at,
    evaluate,
    holds,
    text_of,
)  # fmt: skip
from cadenza.simulate.local_time import dated, rests_until
from cadenza.simulate.person import END, START, Enrollment, Person, inner_steps
from cadenza.simulate.state import read_at_entry

WITHOUT_LIMIT = datetime(9000, 1, 1)
"""The time limit of who has left and takes last steps."""


class Passages(Calling):
    """10 of the specification."""

    def _journeys(self, person: Person, view: View, changes: set[tuple[str, str]]) -> None:
        now, overdue = view.now, set()
        asking = [e for e in person.live() if e.leaving]
        for e in inside(person):  # 10.1
            if holds(e.journey.exit.goal, e.sees(view)):
                self._leave_by(e, "goal", now, person)
            elif holds(e.journey.exit.disqualified, e.sees(view)):
                self._leave_by(e, "disqualified", now, person)
            elif e.limit_at <= now:
                overdue.add(e.eid)
        asking += (e for e in inside(person) if e.eid not in overdue)
        asking = sorted((e for e in asking if e.due(now)), key=lambda e: e.eid)
        entrants: list[Enrollment] = []
        for journey in self.order:  # 10.2
            on = journey.entry.on
            named = view.item is not None and on.event is not None and view.item.name == on.event
            fires = (on.segment, on.change) in changes or (named and holds(on.where, view, view.item))
            if on.date and on.past == "skip" and view.item is not None:
                fires = False
            if on.from_ is not None and on.to is not None and (former_of(journey.name), "left") not in changes:
                fires = False
            if fires and person.is_a(journey.subject):
                entrants += self._candidate(person, journey, view, overdue)
            for e in asking:
                step = self._step(e)
                if isinstance(step, Enter) and step.journey == journey.name:
                    entrants += self._candidate(person, journey, view, overdue, e)
        for entrant in entrants:  # 10.3
            for e in inside(person):
                if entrant.journey.entry.again == "replace" and _same(e, entrant) and e.eid not in overdue:
                    self._end(e, "replaced", now, person)
                    continue
                lower = e.journey.priority < entrant.journey.priority
                if lower and _rivals(e, entrant.journey) and e.journey.exit.superseded:
                    self._leave_by(e, "superseded", now, person)
        for e in inside(person):
            if e.eid in overdue:
                self._leave_by(e, "time_limit", now, person)
        for e in person.live():  # 10.4
            self._progress(person, e, e.sees(view))

    def _candidate(
        self, person: Person, journey: Journey, view: View, overdue: set[int], asks: Enrollment | None = None
    ) -> list[Enrollment]:
        """The new enrollment, or none with its reason on record. ``asks``: the passage that enters the journey."""
        entry, now = journey.entry, view.now
        late = None if asks is not None else entry.late_s
        if late is not None and view.item is not None and view.item.occurred_at + timedelta(seconds=late) < now:
            self._unqualified(journey, now, "late")
            return []
        key = "" if entry.key is None else text_of(evaluate(entry.key, view, view.item))
        if asks is not None:
            key = "" if entry.key is None else asks.key or None
        refusal: tuple[str, str] | None = ("no_key", "key")
        if key is not None:
            qualified = True if entry.when is None else evaluate(entry.when, view)
            if qualified is not True:
                rule = "when" if qualified is False else "when_unknown"
                self._unqualified(journey, now, rule)
                return []
            refusal = self._refusal(person, journey, key, view, overdue)
        if refusal is not None:
            self.rows["refusals"].append((person.pid, journey.name, now, key or "", *refusal))
            return []
        entrant = Enrollment(
            eid=enrollment_id(journey.name, person.pid, key or "", to_micros(now)), origin=person.pid, journey=journey,
            key=key or "", entered_at=now, limit_at=now + timedelta(seconds=journey.exit.time_limit_s),
            entry=view.item,
            entered={name: view.trait(name) for name in read_at_entry(journey)},
        )  # fmt: skip
        person.enrollments.append(entrant)
        return [entrant]

    def _unqualified(self, journey: Journey, now: datetime, rule: str) -> None:
        self.nonqualified[journey.name, now.replace(minute=0, second=0, microsecond=0), rule] += 1

    def _refusal(
        self, person: Person, journey: Journey, key: str, view: View, overdue: set[int]
    ) -> tuple[str, str] | None:
        entry = journey.entry
        if journey.name in self.paused:
            return "paused", self.paused[journey.name]
        if entry.unless is not None and evaluate(entry.unless, view) is not False:
            return "suppressed", "unless"
        running = [e for e in inside(person) if e.eid not in overdue]
        same = [e for e in person.enrollments if (e.journey.name, e.key) == (journey.name, key)]
        entered_now = any(e.entered_at >= view.now for e in same)
        if any(e in running for e in same) and (entry.again != "replace" or entered_now):
            return "re_entry", "running"
        if entry.again == "unless_goal" and any(e.eid in self.reached for e in same):
            return "re_entry", "goal"
        if same and entry.again == "once":
            return "re_entry", "once"
        again_at = max((e.entered_at for e in same), default=EPOCH) + timedelta(seconds=entry.again_after_s)
        if same and entry.again == "after" and again_at > view.now:
            return "re_entry", "after"
        if entered_now:
            return "re_entry", "running"
        if any(_rivals(e, journey) and e.journey.priority >= journey.priority for e in running):
            return "priority", str(journey.arena)
        programme = next((p for p in self.project.policy.programmes if p.name == journey.programme), None)
        if programme is not None and self._arm(person, programme.holdout, view.now) == "holdout":
            return "holdout", programme.holdout.name
        if journey.holdout is not None and self._arm(person, journey.holdout, view.now) == "holdout":
            return "holdout", journey.holdout.name
        return None

    def _arm(self, person: Person, holdout: Holdout | None, now: datetime) -> str | None:
        if holdout is None:
            return None
        if person.arm(holdout.name) is None:
            arm = "holdout" if bucket(holdout.name, person.pid) < holdout.share_bp else "treated"
            person.assignments.append((holdout.name, now, person.pid, arm))
        return person.arm(holdout.name)

    # --- 10.4 steps ----------------------------------------------------------------------------------------

    def _step(self, enrollment: Enrollment) -> Step | None:
        return self._layout(enrollment.journey).get(enrollment.step, (None, ""))[0]

    def _progress(self, person: Person, e: Enrollment, view: View) -> None:
        if e.leaving and not e.step.startswith("exit."):
            self._go(person, e, view, e.leaving, f"exit.{e.leaving}.then[0]")
            return
        if e.step == START:
            if e.still is None:
                cause = "restarted" if e.restarted else "entered"
                self._go(person, e, view, cause, "steps[0]" if e.journey.steps else END)
            return
        step, follows = self._layout(e.journey)[e.step]
        due, cause, reason = e.due(view.now), None, "completed"
        match step:
            case Wait(local=LocalWait(until_date=str())) if e.still is not None:
                return
            case Wait(local=LocalWait(until_date=str()) as local):
                cause, until = dated(local, self.project.policy, view)
                e.wake_at = min(until, e.limit_at)
                if getattr(local, cause or "", "go_on") == "exit":
                    follows, reason = END, f"{cause}_date"
            case Wait() if due:
                cause = "timer"
            case Update() if due:
                cause = "updated"
            case Enter() if due:
                cause = "asked"
            case WaitFor():
                way = self._awaited(e, step, view)
                cause = "matched" if way is not None else "timeout" if due else None
                if cause and e.still is None and e.held is None:
                    follows = self._inside(e, way or "timeout", follows)
            case HandOff():
                cause, arm = self._task_way(e, step, view.now)
                inside = f"{e.step}.hand_off.{arm}.steps[0]"
                follows = inside if inside in self._layout(e.journey) else follows
            case Call():
                cause = self._call_way(person, e, view.now)
                inside = f"{e.step}.call.{cause}[0]"
                follows = inside if inside in self._layout(e.journey) else follows
        if e.still is not None:
            e.held = e.held or ((cause, follows, reason) if cause else None)
            return
        if e.held is not None:
            (cause, follows, reason), e.held = e.held, None
            if isinstance(step, WaitFor):
                follows = self._inside(e, self._awaited(e, step, view) or f"any[{len(step.any) - 1}].steps", follows)
        if cause and isinstance(step, WaitFor) and step.as_:
            e.flags[step.as_] = cause == "matched"
        if cause and isinstance(step, Call) and step.as_:
            e.flags[step.as_] = cause == "answered"
        if cause:
            self._go(person, e, view, cause, follows, reason)

    def _go(self, person: Person, e: Enrollment, view: View, cause: str, path: str, reason: str = "completed") -> None:
        """Walk to the next resting step, or the end."""
        now, steps, left = view.now, self._layout(e.journey), e.step
        without_event = msgspec.structs.replace(view, item=None)
        while path != END:
            step, follows = steps[path]
            match step:
                case Branch():
                    inside = self._taken(step, path, view)
                    path = f"{inside}[0]" if f"{inside}[0]" in steps else follows
                case Split():
                    inside = f"{path}.split.{_split_arm(step, person.pid)}.steps"
                    path = f"{inside}[0]" if f"{inside}[0]" in steps else follows
                case WaitFor(as_=flag):
                    e.step, e.seen = path, set()
                    way = self._awaited(e, step, without_event)
                    if way is None:
                        break
                    e.flags.update({flag: True} if flag else {})
                    path = self._inside(e, way, follows)
                case Jump(to=label, at_most=most):
                    times = e.jumps.get(path, 0)
                    if times < most:
                        e.jumps[path] = times + 1
                    path = self._labelled(e.journey, label) if times < most else follows
                case ExitStep(reason=reason):
                    path = END
                case _:
                    break
        reason = e.leaving or reason
        until = self._until(step, view) if path != END else None
        if path != END and until is None:
            path, reason = END, "no_time_zone"
        self.rows["transitions"].append((e.eid, now, cause, left, path))
        e.moves += 1
        if until is None:
            self._end(e, reason, now)
            return
        e.step, e.verdict, e.due_since = path, None, now
        e.wake_at = min(until, e.limit_at)
        if isinstance(step, HandOff):
            self._open(person, e, step, view)
        if isinstance(step, Call):
            self._ask(person, e, step, view, message_id(e.eid, e.step, self._round(e)))

    def _until(self, step: Step, view: View) -> datetime | None:
        """Until when one rests who comes to a step; None: one cannot rest there."""
        if isinstance(step, Wait) and step.local is not None:
            return rests_until(step.local, self.project.policy, view)
        rest = step.duration_s if isinstance(step, Wait) else step.until_s if isinstance(step, WaitFor) else 0
        rest = step.due_s if isinstance(step, HandOff) else step.timeout_s if isinstance(step, Call) else rest
        return view.now + timedelta(seconds=rest)

    def _labelled(self, journey: Journey, label: str) -> str:
        return next(path for path, (step, _) in self._layout(journey).items() if step.label == label)

    def _round(self, e: Enrollment) -> int:
        """How many jumps the passage has taken, of those that can still be come to from where it is."""
        steps, seen, left = self._layout(e.journey), set[str](), [e.step]
        while left:
            path = left.pop()
            if path == END or path in seen:
                continue
            seen.add(path)
            step, follows = steps[path]
            inner = [f"{prefix}[0]" for prefix, _ in inner_steps(step, path)]
            left += [first if first in steps else follows for first in inner] or [follows]
            left += [self._labelled(e.journey, step.to)] if isinstance(step, Jump) else []
            if isinstance(step, ExitStep):
                left.remove(follows)
        return sum(times for path, times in e.jumps.items() if path in seen)

    def _awaited(self, e: Enrollment, step: WaitFor, view: View) -> str | None:
        """The list of steps by which a wait goes on that has matched: of the first in order that is TRUE, or of all."""
        true = [i for i, c in enumerate(step.conditions) if holds(c, view)]
        if step.all:
            e.seen |= set(true)
            return "matched" if len(e.seen) == len(step.all) else None
        return f"any[{true[0]}].steps" if true else None

    def _inside(self, e: Enrollment, inner: str, follows: str) -> str:
        """The first step of a list inside the step at which the passage is; what follows when it is empty."""
        first = f"{e.step}.wait_for.{inner}[0]"
        return first if first in self._layout(e.journey) else follows

    def _taken(self, step: Branch, path: str, view: View) -> str:
        for i, arm in enumerate(step.arms):
            answer = evaluate(arm.when, view)
            if answer is not False:
                return f"{path}.branch.unknown" if answer is None else f"{path}.branch.arms[{i}].steps"
        return f"{path}.branch.otherwise"

    def _next_check(self, e: Enrollment, view: View) -> datetime | None:
        """13: the next instant at which time alone may change its exits or what it waits for."""
        step = self._step(e)
        awaited = step.conditions if isinstance(step, WaitFor) else ()
        conditions = (e.journey.exit.goal, e.journey.exit.disqualified, *awaited)
        return min((t for c in conditions for t in changes_at(c, e.sees(view), self._value)), default=None)

    def _end(self, e: Enrollment, reason: str, now: datetime, cancel: Person | None = None) -> None:
        e.step, e.wake_at = END, None
        self.reached |= {e.eid} if reason == "goal" else set()
        self.rows["ends"].append((e.eid, now, reason))
        self._withdraw_task(e, reason, now)
        self._cancel_queued(e, reason, cancel)

    def _leave_by(self, e: Enrollment, exit_: str, now: datetime, person: Person) -> None:
        """By an exit: to its last steps where it has some, except in a pause."""
        if exit_ not in e.journey.exit.last_steps or e.still is not None:
            self._end(e, exit_, now, person)
            return
        e.leaving, e.limit_at, e.held = exit_, WITHOUT_LIMIT, None
        self.reached |= {e.eid} if exit_ == "goal" else set()
        self._withdraw_task(e, exit_, now)
        self._cancel_queued(e, exit_, person)

    def _cancel_queued(self, e: Enrollment, reason: str, cancel: Person | None) -> None:
        if cancel is not None:
            self._call_off(cancel, lambda asked: asked.eid == e.eid, reason)
        for message in cancel.messages if cancel else ():  # 10.5
            if message.eid == e.eid and message.deliverable and message.message_id not in self.outcomes:
                self.cancelled.setdefault(message.message_id, reason)


def inside(person: Person) -> list[Enrollment]:
    """The live passages that have not left by an exit."""
    return [e for e in person.live() if not e.leaving]


def _same(e: Enrollment, entrant: Enrollment) -> bool:
    return e is not entrant and (e.journey.name, e.key) == (entrant.journey.name, entrant.key)


def _rivals(e: Enrollment, journey: Journey) -> bool:
    return journey.arena is not None and e.journey.arena == journey.arena and e.journey.name != journey.name


def _split_arm(step: Split, unit: int) -> str:
    number, reached = bucket(step.name, unit), 0
    for arm in step.arms:
        reached += arm.share_bp
        if number < reached:
            return arm.name
    return step.arms[-1].name
