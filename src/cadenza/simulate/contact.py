"""Governance in the reference model: what is sent, deferred and dropped of one person at one item."""

from __future__ import annotations

from cadenza.definitions.kinds import (
    Send,
    Template,
    topic_of,
)  # fmt: skip
from cadenza.definitions.project import version_of
from cadenza.ids import message_id
from cadenza.simulate import verdicts
from cadenza.simulate.choosing import best_of
from cadenza.simulate.evaluate import (
    View,
)  # fmt: skip
from cadenza.simulate.passages import Passages
from cadenza.simulate.person import Enrollment, Message, Person


class Contact(Passages):
    """11 and 12 of the specification."""

    def _withdraw(self, person: Person, view: View) -> None:
        """12: what consent or suppression forbids by now is not handed over any more."""
        for message in person.messages:
            if not message.deliverable or message.message_id in self.outcomes:
                continue
            template = self.project.template(message.template)
            reason = verdicts.withdrawn(self.project.policy, person, template, view)
            if reason is not None:
                self.cancelled.setdefault(message.message_id, reason)
        for asked in person.asked:
            reason = self._withdrawn_call(person, asked.step, view) if asked.step.purpose is not None else None
            if reason is not None:
                self._call_off(person, lambda a, asked=asked: a is asked, reason)

    def _govern(self, person: Person, view: View) -> list[Enrollment]:
        """Decide the person's candidates; those sent or dropped go on in this item."""
        now, left = view.now, []
        holders = self._holders(person)
        if self.released and not holders:
            for e in person.live():
                e.wake_at = now if self._waits_to_send(e) else e.wake_at
        for e in person.live():
            step = self._step(e)
            if isinstance(step, Send) and e.due(now):
                template = self._message_of(person, e, step, view, bool(holders))
                verdict = verdicts.held(self.project, e, template, bool(holders), now) or verdicts.judge(
                    self.project, person, e, template, view, lambda: self._arm(person, self.project.policy.holdout, now),
                    killed=self._killed(e.journey.name, template.channel),
                    step_arm=lambda held=step.holdout: self._arm(person, held, now),
                )  # fmt: skip
                if verdict is None:
                    worth = verdicts.worth(e, view)
                    left.append((-e.journey.priority, worth, verdicts.deadline(self.project, e), e.eid, e, template))
                else:
                    self._decide(person, e, verdict, view, template)
        for *_, e, template in sorted(left, key=lambda c: c[:4])[:1]:
            counted = [m for m in person.messages if m.marketing and self._counts(m.message_id)]
            self._decide(person, e, verdicts.capped(self.project, e, template, counted, view), view, template)
        return [e for e in person.live() if e.verdict is not None]

    def _message_of(self, person: Person, e: Enrollment, step: Send, view: View, holding: bool) -> Template:
        """The template that stands for the step in this item."""
        templates = [self.project.template(name) for name in step.candidates]
        if len(templates) == 1 or verdicts.held(self.project, e, templates[0], holding, view.now) is not None:
            return templates[0]
        holdouts = (self.project.policy.holdout, step.holdout)
        return best_of(
            self.project, person, e, templates, view, [m for m in person.messages if self._counts(m.message_id)],
            killed=lambda template: self._killed(e.journey.name, template.channel),
            held_out=lambda: any(self._arm(person, held, view.now) == "holdout" for held in holdouts),
        )  # fmt: skip

    def _counts(self, message: str) -> bool:
        return message not in self.cancelled and "Message Failed" not in self.outcomes.get(message, ())

    def _decide(self, person: Person, e: Enrollment, verdict: verdicts.Verdict, view: View, template: Template) -> None:
        now = view.now
        self.rows["decisions"].append((e.eid, e.step, now, verdict.verdict, verdict.reason, verdict.until))
        step = self._step(e)
        if isinstance(step, Send) and step.templates and verdict.reason != "hand_off":
            self.rows["choices"].append((e.eid, e.step, now, verdict.verdict, template.name))
        if verdict.until is not None:
            e.wake_at = min(verdict.until, e.limit_at)
            return
        e.verdict = "sent" if verdict == verdicts.SEND else "dropped"
        if verdict == verdicts.SEND:
            message = Message(
                message_id=message_id(e.eid, _said(e), self._round(e)), eid=e.eid, template=template.name, channel=template.channel,
                topic=topic_of(template), journey=e.journey.name,
                marketing=template.message_class == "marketing", planned_at=now, deliverable=self.deliverable,
                address=verdicts.address_of(self.project, template, view) or "",
            )  # fmt: skip
            person.messages.append(message)
            row = (message.message_id, person.pid, template.name, message.address, now, message.deliverable)
            self.rows["messages"].append(row)


def _said(e: Enrollment) -> str:
    """What tells a step's message from all others of the enrollment: its path, and the version where people are mapped."""
    return f"{version_of(e.journey)}:{e.step}" if e.journey.in_flight == "map" else e.step
