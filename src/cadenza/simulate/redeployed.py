"""Deployments in the reference model: what a version that comes into force does with those inside another one."""

from __future__ import annotations

from datetime import datetime, timedelta

from cadenza.clock import to_micros
from cadenza.definitions.flags import flags_of
from cadenza.definitions.kinds import Journey, Send, Step, Wait, WaitFor
from cadenza.definitions.project import Project, version_of
from cadenza.ids import enrollment_id
from cadenza.simulate.controlled import Controlled
from cadenza.simulate.person import END, START, Enrollment, Person


class Redeployed(Controlled):
    """C4 of the specification."""

    def __init__(self, project: Project) -> None:
        super().__init__(project)
        self.seen_versions = {(j.name, version_of(j)) for j in self.project.journeys}

    def _migrate(self, project: Project, now: datetime) -> list[Person]:
        """Put the project in force; those who were mapped."""
        before = {j.name: version_of(j) for j in self.project.journeys}
        self._take(project)
        mapped: list[Person] = []
        left: list[Enrollment] = []
        for journey in self.project.journeys:
            version = version_of(journey)
            if before.get(journey.name) == version:
                continue
            known = (journey.name, version) in self.seen_versions
            self.seen_versions.add((journey.name, version))
            mode = self.paused.get(journey.name, "")
            self._go_on(journey.name, now)
            for person in self.persons.values():
                for e in person.live():
                    if e.journey.name != journey.name or version_of(e.journey) == version:
                        continue
                    left.append(e)
                    if self._leave(person, e, journey, known, now):
                        mapped.append(person)
            if mode in ("freeze", "run"):
                self._stand_still(journey.name, mode, now)
        self._wake_released(left, now)
        return mapped

    def _leave(self, person: Person, e: Enrollment, journey: Journey, known: bool, now: datetime) -> bool:
        """Whether the enrollment was mapped."""
        if e.leaving or e.journey.subject != journey.subject:
            return False
        fate, to = journey.in_flight, None
        old = self._layout(e.journey).get(e.step, (None, ""))[0]
        if fate == "map":
            to = None if known else self._target(e, old, journey)
            fate = "map" if to is not None else journey.unmapped
        if fate == "pin":
            return False
        e.held = None
        if to is not None:
            self._withdraw_task(e, "moved", now)
            self._stand_at(e, old, journey, to, now)
            return True
        reason = "restarted" if fate == "restart" else "replaced"
        self.rows["ends"].append((e.eid, now, reason))
        self._withdraw_task(e, reason, now)
        e.step, e.wake_at = END, None
        if fate == "restart":
            person.enrollments.append(Enrollment(
                eid=enrollment_id(f"{journey.name}:restarted", person.pid, str(e.eid), to_micros(now)), origin=e.origin,
                journey=journey, key=e.key, entered_at=now, wake_at=now, restarted=True, entered=e.entered,
                limit_at=now + timedelta(seconds=journey.exit.time_limit_s),
            ))  # fmt: skip
        return False

    def _target(self, e: Enrollment, old: Step | None, journey: Journey) -> str | None:
        to = journey.step_map.get(e.step)
        step = self._layout(journey)[to][0] if to is not None else None
        local = step.local if isinstance(step, Wait) else None
        return None if local is not None and not (isinstance(old, Wait) and old.local == local) else to

    def _stand_at(self, e: Enrollment, old: Step | None, journey: Journey, to: str, now: datetime) -> None:
        new = self._layout(journey)[to][0]
        e.limit_at += timedelta(seconds=journey.exit.time_limit_s - e.journey.exit.time_limit_s)
        wake_at = now + timedelta(seconds=_rest(new))
        if (isinstance(new, Wait) and new.local is not None) or (isinstance(old, Send) and isinstance(new, Send)):
            wake_at = e.wake_at or now
        elif type(old) is type(new) and isinstance(new, Wait | WaitFor) and not (isinstance(old, Wait) and old.local):
            wake_at = (e.wake_at or now) + timedelta(seconds=_rest(new) - _rest(old))
        if not (isinstance(old, Send) and isinstance(new, Send)):
            e.due_since = now
        e.wake_at = max(now, min(wake_at, e.limit_at))
        names = set(flags_of(journey.steps))
        e.journey, e.step, e.verdict, e.seen, e.jumps = journey, to, None, set(), {}
        e.flags = {name: value for name, value in e.flags.items() if name in names}
        self.rows["transitions"].append((e.eid, now, "mapped", START, to))
        e.moves += 1


def _rest(step: Step | None) -> int:
    return step.duration_s if isinstance(step, Wait) else step.until_s if isinstance(step, WaitFor) else 0
