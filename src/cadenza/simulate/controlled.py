"""Pause, stop and kill in the reference model: what people command of journeys that run."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cadenza.definitions.kinds import Wait
from cadenza.definitions.project import Project
from cadenza.simulate.handing import Handing
from cadenza.simulate.person import END, Enrollment, Message, Person

FAR = datetime(9999, 12, 31)


class Controlled(Handing):
    """The commands of the specification, and what they mean for one person."""

    def __init__(self, project: Project) -> None:
        super().__init__(project)
        self.paused: dict[str, str] = {}
        """Journey -> freeze, run, drain or stop."""
        self.kills: dict[tuple[str | None, str | None], str] = {}
        """(Journey, channel) -> cancel or hold."""

    def _obey(self, said: dict[str, Any], now: datetime) -> None:
        journey, mode = said.get("journey", ""), said.get("mode", "")
        reach = (said.get("journey"), said.get("channel"))
        match said["command"]:
            case "kill":
                self.kills[reach] = mode
                if mode == "cancel":
                    self._withdraw_all(lambda m: self._covers(reach, m.journey, m.channel), "killed")
                    self._call_off_all(lambda a: self._covers(reach, a.journey, a.channel), "killed")
            case "release":
                self.kills.pop(reach, None)
            case "pause" | "resume" | "stop" as command:
                self._go_on(journey, now)
                self.paused.pop(journey, None)
                if command != "resume":
                    self.paused[journey] = "stop" if command == "stop" else mode
                if command == "stop":
                    self._stop(journey, now)
                elif command == "pause" and mode != "drain":
                    self._stand_still(journey, mode, now)

    def _call_off(self, person: Person, covered: Any, reason: str) -> None:
        """Calls that were not handed over are not made any more."""
        for asked in filter(covered, person.asked):
            if asked.deliverable and asked.call_id not in self.outcomes:
                self.cancelled.setdefault(asked.call_id, reason)

    def _call_off_all(self, covered: Any, reason: str) -> None:
        for person in self.persons.values():
            self._call_off(person, covered, reason)

    def _those_inside(self, journey: str) -> list[Enrollment]:
        return [e for p in self.persons.values() for e in p.live() if e.journey.name == journey]

    def _stand_still(self, journey: str, mode: str, now: datetime) -> None:
        for e in self._those_inside(journey):
            e.still, e.clocks = (mode, now), (e.wake_at, e.limit_at)
            if mode == "freeze":
                e.wake_at, e.limit_at = None, FAR
            else:
                e.wake_at = e.limit_at

    def _go_on(self, journey: str, now: datetime) -> None:
        for e in self._those_inside(journey):
            if e.still is None:
                continue
            (mode, since), (wake_at, limit_at) = e.still, e.clocks
            shift = now - since
            if mode == "freeze":
                e.wake_at, e.limit_at = wake_at and wake_at + shift, limit_at + shift
                e.due_since = e.due_since and e.due_since + shift
            else:
                e.wake_at = wake_at and max(wake_at, now)
            e.wake_at = (
                now if e.held is not None or _dated(self._layout(e.journey).get(e.step, (None, ""))[0]) else e.wake_at
            )
            e.still = None

    def _stop(self, journey: str, now: datetime) -> None:
        ended = self._those_inside(journey)
        for e in ended:
            e.step, e.wake_at = END, None
            self.reached.discard(e.eid)
            self.rows["ends"].append((e.eid, now, "stopped"))
            self._withdraw_task(e, "stopped", now)
        self._withdraw_all(lambda m: any(m.eid == e.eid for e in ended), "stopped")
        self._call_off_all(lambda a: any(a.eid == e.eid for e in ended), "stopped")
        self._wake_released(ended, now)

    def _withdraw_all(self, covered: Any, reason: str) -> None:
        for person in self.persons.values():
            for message in filter(covered, person.messages):
                self._take_back(person, message, reason)

    def _take_back(self, person: Person, message: Message, reason: str) -> None:
        if message.deliverable and message.message_id not in self.outcomes:
            self.cancelled.setdefault(message.message_id, reason)

    def _covers(self, reach: tuple[str | None, str | None], journey: str, channel: str) -> bool:
        return reach[0] in (None, journey) and reach[1] in (None, channel)

    def _killed(self, journey: str, channel: str) -> bool:
        return any(queued == "cancel" and self._covers(reach, journey, channel) for reach, queued in self.kills.items())


def _dated(step: object) -> bool:
    """Whether the step is a wait until a date."""
    return isinstance(step, Wait) and step.local is not None and step.local.until_date is not None
