"""A short way to write a project and a log by hand, for scenarios of the reference model."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from cadenza.clock import to_micros
from cadenza.definitions.expression import FALSE, parse, parse_where
from cadenza.definitions.flags import with_flags
from cadenza.definitions.kinds import (
    Arm,
    Branch,
    Contract,
    Destination,
    Entry,
    Exit,
    ExitStep,
    Journey,
    Outcome,
    Policy,
    Property,
    Segment,
    Send,
    Split,
    SplitArm,
    Step,
    Template,
    TraitDefinition,
    Trigger,
    Update,
    Wait,
    WaitFor,
)  # fmt: skip
from cadenza.definitions.project import Project
from cadenza.ports.ledger import Record
from cadenza.simulate.model import Model

T0 = datetime(2024, 5, 6, 10)
"""Hour 0 of every tape: a Monday, 12:00 in Berlin."""
HOUR, DAY = 3600, 86400

TRAITS = {
    "email": ("string", None), "time_zone": ("string", None), "plan": ("string", None), "score": ("integer", None),
    "vip": ("boolean", None), "credit": ("decimal", None), "renews_at": ("timestamp", None),
    "orders": ("integer", "events('Order')"), "revenue": ("decimal", "sum_of('Order', total)"),
    "last_order_at": ("timestamp", "last_at('Order')"), "recent": ("integer", "events('Order', within => '2 days')"),
}  # fmt: skip
PROPERTIES = {
    "total": "decimal", "quantity": "integer", "order_id": "string", "gift": "boolean", "ends_at": "timestamp",
}  # fmt: skip


def at(hours: float) -> datetime:
    return T0 + timedelta(hours=hours)


def send(template: str = "hello") -> Step:
    return Send(template=template)


def wait(hours: float) -> Step:
    return Wait(duration_s=int(hours * HOUR))


def wait_for(*conditions: str, until: float = 24, flag: str | None = None) -> Step:
    return WaitFor(any=tuple(parse(c) for c in conditions), until_s=int(until * HOUR), as_=flag)


def branch(*arms: tuple[str, Step], unknown: tuple[Step, ...] = (), otherwise: tuple[Step, ...] = ()) -> Step:
    return Branch(
        arms=tuple(Arm(when=parse(w), steps=(s,)) for w, s in arms), unknown=unknown, otherwise=otherwise
    )  # fmt: skip


def split(name: str, **arms: tuple[int, Step]) -> Step:
    return Split(name=name, arms=tuple(SplitArm(name=n, share_bp=s, steps=(step,)) for n, (s, step) in arms.items()))


def update(**values: Any) -> Step:
    return Update(set=values)


def leave(reason: str = "completed") -> Step:
    return ExitStep(reason=reason)


def journey(
    *steps: Step, name: str = "j", on: str = "Order", segment: str | None = None, change: str = "entered", where: str | None = None,
    when: str | None = None, unless: str | None = None, key: str | None = None, again: str = "after_exit", after: float = 0,
    goal: str | None = None, disqualified: str | None = None, superseded: bool = True, limit: float = 24 * 365, **more: Any,
) -> Journey:  # fmt: skip
    trigger = Trigger(event=on, where=parse_where(where) if where else None)
    if segment:
        trigger = Trigger(segment=segment, change=change)  # type: ignore[arg-type]
    entry = Entry(
        on=trigger, when=parse(when) if when else None, unless=parse(unless) if unless else None, again=again,  # type: ignore[arg-type]
        again_after_s=int(after * HOUR), key=parse_where(key) if key else None,
    )  # fmt: skip
    exit_ = Exit(
        goal=parse(goal) if goal else FALSE, disqualified=parse(disqualified) if disqualified else FALSE,
        superseded=superseded, time_limit_s=int(limit * HOUR),
    )  # fmt: skip
    whole = Journey(name=name, owner="o", outcome=Outcome(metric="m"), entry=entry, exit=exit_, steps=steps, **more)
    return with_flags(whole)


def project(*journeys: Journey, segments: dict[str, str] | None = None, policy: Policy | None = None) -> Project:
    return Project(
        traits=tuple(
            TraitDefinition(name=n, type=t, from_=None if v else f"traits.{n}", value=parse(v) if v else None)  # type: ignore[arg-type]
            for n, (t, v) in sorted(TRAITS.items())
        ),
        contracts=(Contract(name="Order", properties={n: Property(type=t) for n, t in PROPERTIES.items()}),),  # type: ignore[arg-type]
        segments=tuple(Segment(name=n, when=parse(w)) for n, w in sorted((segments or {}).items())),
        journeys=tuple(sorted(journeys, key=lambda j: j.name)), policy=policy or Policy(),
        templates=(
            Template(name="hello", channel="email", purpose="marketing", body="b"),
            Template(name="news", channel="email", purpose="news", body="b"),
            Template(name="receipt", channel="email", purpose="service", message_class="transactional", body="b"),
        ),
        destinations=(Destination(name="mail", channel="email", adapter="mailbox"),),
    )  # fmt: skip


class Tape:
    """Records played into a model; hours count from ``T0``, a record of the same hour comes a microsecond later."""

    def __init__(self, *journeys: Journey, **more: Any) -> None:
        self.model = Model(project(*journeys, **more))
        self._offset, self._last = 0, 0

    def add(self, hours: float, kind: str, **body: Any) -> int:
        """Append and apply one record; returns its offset."""
        self._offset += 1
        self._last = max(to_micros(at(hours)), self._last + 1)
        body.setdefault("occurred_at", self._last)
        if isinstance(body["occurred_at"], float | int) and body["occurred_at"] < 10**9:
            body["occurred_at"] = to_micros(at(body["occurred_at"]))
        self.model.apply(
            Record(
                offset=self._offset, recorded_at=self._last, writer="main", kind=kind, source="tape",
                message_id=str(self._offset), imported=False, body=msgspec.json.encode(body),
            )
        )  # fmt: skip
        return self._offset

    def track(self, hours: float, event: str, user: str = "u", late: float | None = None, **properties: Any) -> int:
        """``late``: the hour at which it occurred."""
        more = {} if late is None else {"occurred_at": late}
        return self.add(hours, "call", type="track", event=event, userId=user, properties=properties, **more)

    def identify(
        self,
        hours: float,
        user: str | None = "u",
        anonymous: str | None = None,
        late: float | None = None,
        **traits: Any,
    ) -> int:
        who = {k: v for k, v in (("userId", user), ("anonymousId", anonymous)) if v is not None}
        more = {} if late is None else {"occurred_at": late}
        return self.add(hours, "call", type="identify", traits=traits, **who, **more)

    def consent(
        self, hours: float, user: str = "u", granted: Any = True, late: float | None = None, purpose: str = "marketing"
    ) -> int:
        return self.track(hours, "Consent Updated", user, late, purpose=purpose, channel="email", granted=granted)

    def reachable(self, hours: float = 0, user: str = "u", zone: str = "UTC") -> int:
        """A person with an address, a zone and consent to marketing."""
        pid = self.identify(hours, user, email=f"{user}@x.example", time_zone=zone)
        self.consent(hours, user)
        return pid

    def until(self, hours: float) -> None:
        self.model.run_timers(at(hours))

    def rows(self, name: str) -> list[tuple[Any, ...]]:
        return self.model.observations()[name]

    def ends(self) -> list[tuple[datetime, str]]:
        return sorted(row[1:] for row in self.rows("ends"))

    def verdicts(self) -> list[tuple[datetime, str, str | None, datetime | None]]:
        return sorted((row[2:] for row in self.rows("decisions")), key=repr)

    def sent(self) -> list[tuple[str, datetime]]:
        return sorted((row[2], row[4]) for row in self.rows("messages"))

    def moves(self) -> list[tuple[Any, ...]]:
        """Transitions without the enrollment's id, in order of time."""
        rows = [row[1:] for row in self.model.rows["transitions"]]
        return sorted(rows, key=lambda row: row[0])

    def refused(self) -> list[tuple[str, str]]:
        return [row[4:] for row in sorted(self.rows("refusals"), key=lambda r: r[2])]
