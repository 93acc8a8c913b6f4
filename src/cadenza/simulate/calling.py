"""Calls of services in the reference model: what is asked, what the answers set, and when nobody waits for them any more."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cadenza.definitions.builtin import CALL_EVENTS
from cadenza.definitions.kinds import Call
from cadenza.simulate import verdicts
from cadenza.simulate.evaluate import View, convert, json_text, read_json, text_of
from cadenza.simulate.person import Asked, Enrollment, Person
from cadenza.simulate.redeployed import Redeployed


class Calling(Redeployed):
    """K1 to K4 of the specification."""

    def _ask(self, person: Person, e: Enrollment, step: Call, view: View, call_id: str) -> None:
        """The passage has come to a call."""
        refused = self._not_allowed(person, e, step, view)
        asked = Asked(call_id=call_id, eid=e.eid, journey=e.journey.name, channel=self._channel(step), step=step,
                      deliverable=self.deliverable and refused is None, refused=refused)  # fmt: skip
        e.asked = asked
        person.asked.append(asked)
        sent = tuple((name, self._sent(e, source, view)) for name, source in step.body.items())
        self.rows["calls"].append(
            (call_id, person.pid, step.destination, step.purpose, view.now, sent, refused, self.deliverable)
        )
        if refused is not None:
            e.wake_at = min(view.now, e.limit_at)

    def _channel(self, step: Call) -> str:
        return next(d.channel for d in self.project.destinations if d.name == step.destination)

    def _sent(self, e: Enrollment, source: str, view: View) -> str | None:
        if source.startswith("entry."):
            return json_text(e.entry.properties.get(source.removeprefix("entry."))) if e.entry is not None else None
        return text_of(view.trait(source))

    def _not_allowed(self, person: Person, e: Enrollment, step: Call, view: View) -> str | None:
        if self._killed(e.journey.name, self._channel(step)):
            return "killed"
        return None if step.purpose is None else self._withdrawn_call(person, step, view)

    def _withdrawn_call(self, person: Person, step: Call, view: View) -> str | None:
        """Why suppression or consent forbid a call with a purpose; None: they do not."""
        channel = self._channel(step)
        if any(
            s.channel in (channel, "*") and s.reason in verdicts.ALWAYS and (s.until is None or view.now < s.until)
            for s in person.suppressions
        ):
            return "suppressed"
        place = verdicts.jurisdiction_of(self.project.policy, view)
        said = any((p, c) == (step.purpose, channel) for p, c, _, _ in person.consents)
        if place is not None and place.consent == "opt_out" and not said:
            return None
        return None if person.consented(step.purpose or "", channel) else "no_consent"

    def _answered(self, person: Person, name: str, properties: Mapping[str, Any], now: datetime) -> None:
        """What a service answered, or that the call has failed: on the state before the item's journeys."""
        if name not in CALL_EVENTS:
            return
        told = json_text(properties.get("message_id")) or ""
        asked = next((a for a in person.asked if a.call_id == told and a.refused is None), None)
        e = next((e for e in person.live() if asked is not None and e.asked is asked and self.waits(e)), None)
        reason = trait = None
        if asked is None:
            result = "unknown"
        elif e is None or asked.result is not None:
            result = "late"
        else:
            result = CALL_EVENTS[name]
            values: dict[str, str] = {}
            if result == "failed":
                reason = "refused"
            else:
                values, trait, reason = self._read(asked.step, json_text(properties.get("answer")))
                result = "answered" if reason is None else "failed"
            asked.result = result
            for each, value in values.items() if reason is None else ():
                self._set(person, each, value, now)
        self.rows["answers"].append((told, person.pid, now, result, reason, trait))

    def waits(self, e: Enrollment) -> bool:
        """Whether the passage rests at a call."""
        return isinstance(self._layout(e.journey).get(e.step, (None, ""))[0], Call)

    def _read(self, step: Call, text: str | None) -> tuple[dict[str, str], str | None, str | None]:
        """The texts that an answer has for its traits; or the first trait that it has none for, and why."""
        try:
            answer = read_json((text or "").encode())
        except (json.JSONDecodeError, UnicodeError):
            answer = {}
        values: dict[str, str] = {}
        for trait, path in step.answer.items():
            value = json_text(_at(answer, path))
            if value is None:
                return {}, trait, "missing"
            if convert(value, self.traits[trait].type) is None:
                return {}, trait, "wrong_type"
            values[trait] = value
        return values, None, None

    def _call_way(self, person: Person, e: Enrollment, now: datetime) -> str | None:
        """By which way the passage goes on; None: it stays."""
        asked = e.asked
        assert asked is not None
        if asked.result is not None:
            return asked.result
        if not e.due(now):
            return None
        if asked.refused is not None:
            return "failed"
        self._call_off(person, lambda a: a.eid == e.eid, "unanswered")
        return "unanswered"


def _at(value: Any, path: str) -> Any:
    """The value at a path of names and indexes; None where there is none."""
    for name, index in re.findall(r"([A-Za-z_][A-Za-z0-9_-]*)|\[([0-9]+)\]", path):
        if name:
            value = value.get(name) if isinstance(value, dict) else None
        else:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
    return value
