"""Who took the room at a cap: only messages that the cap counts for the one who lost."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from typing import Any

import msgspec
import pytest

from cadenza.definitions.kinds import Cap, Policy, Template
from cadenza.runtime.trials.figures import side
from tests.simulation.tape import DAY, T0, at, journey, project, send
from tests.trials.filled import Filling, deployed

JOURNEYS = {name: journey(send(), name=name, arena=None) for name in ("a", "b", "c")}
TEXT = Template(name="text", channel="sms", purpose="marketing", body="b")
OTHER = Template(name="other", channel="email", purpose="marketing", topic="offers", body="b")


@dataclasses.dataclass(frozen=True)
class Case:
    """``sent``: (journey, template, hours before the loss); ``winners``: who of them had the room."""

    cap: Cap
    sent: tuple[tuple[str, str, float], ...]
    winners: tuple[str, ...]
    zone: str = "UTC"


def cap(**more: Any) -> Cap:
    settings: dict[str, Any] = {"per_s": 2 * DAY} | more
    return Cap(name="rule", limit=1, **settings)


CASES = {
    "rolling": Case(cap(), (("b", "hello", 40), ("c", "hello", 49)), ("b",)),
    "of a channel": Case(cap(channel="email"), (("b", "hello", 1), ("c", "text", 1)), ("b",)),
    "each channel": Case(cap(each="channel"), (("b", "hello", 1), ("c", "text", 1)), ("b",)),
    "of a topic": Case(cap(topic="marketing"), (("b", "hello", 1), ("c", "other", 1)), ("b",)),
    "each topic": Case(cap(each="topic"), (("b", "other", 1), ("c", "text", 1)), ("c",)),
    "of a journey": Case(cap(journey="a"), (("a", "hello", 1), ("c", "hello", 1)), ("a",)),
    "each journey": Case(cap(each="journey"), (("a", "hello", 1), ("c", "hello", 1)), ("a",)),
    # T0 is a Monday, 10:00 UTC: the day began ten hours ago, in Berlin twelve, in New York (06:00) six.
    "calendar day": Case(cap(per_s=0, calendar="day"), (("b", "hello", 9.9), ("c", "hello", 10.1)), ("b",)),
    "in Berlin": Case(cap(per_s=0, calendar="day"), (("b", "hello", 11.9), ("c", "hello", 12.1)), ("b",), "Europe/Berlin"),
    "in New York": Case(cap(per_s=0, calendar="day"), (("b", "hello", 5.9), ("c", "hello", 6.1)), ("b",), "America/New_York"),
    "calendar week": Case(cap(per_s=0, calendar="week"), (("b", "hello", 9), ("c", "hello", 11)), ("b",)),
    "calendar month": Case(cap(per_s=0, calendar="month"), (("b", "hello", 5 * 24 + 9), ("c", "hello", 5 * 24 + 11)), ("b",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def found() -> list[tuple[str, str, str]]:
    """(journey, winner, what): every case is a person, with a cap that bears the case's name."""
    caps = tuple(msgspec.structs.replace(case.cap, name=name) for name, case in CASES.items())
    whole = project(*JOURNEYS.values(), policy=Policy(caps=caps))
    whole = msgspec.structs.replace(whole, templates=(*whole.templates, TEXT, OTHER))
    jids = {"a": 1, "b": 2, "c": 3}
    with deployed(whole) as engine:
        filling = Filling()
        for person, (rule, case) in enumerate(CASES.items(), start=1):
            for number, (name, template, hours) in enumerate(case.sent):
                filling.add(
                    "message", message_id=f"m{person}-{number}", eid=100 * person + number, pid=person, origin_pid=person,
                    jid=jids[name], step=0, template=template, channel="sms" if template == "text" else "email",
                    destination="mail", message_class="marketing", purpose="marketing", planned_at=at(-hours),
                    deliverable=True, wave=1,
                )  # fmt: skip
            evidence = json.dumps({"channel": "email", "template": "hello", "zone": case.zone})
            filling.add("decision", eid=100 * person + 99, pid=person, jid=1, step=0, ts=T0, verdict="drop", reason="cap",
                        rule=rule, evidence=evidence)  # fmt: skip
        filling.write(engine)
        sides = side(engine, whole, datetime(2024, 5, 1), datetime(2024, 5, 8), outcomes=False)
    return [(c.journey, c.winner, c.what) for c in sides.contention]


@pytest.mark.parametrize("name", CASES)
def test_whose_messages_count(found: list[tuple[str, str, str]], name: str) -> None:
    assert [row for row in found if row[2] == f"cap {name}"] == [("a", w, f"cap {name}") for w in CASES[name].winners]
