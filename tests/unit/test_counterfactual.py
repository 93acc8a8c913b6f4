"""What would have let it go: smallest sets for every reason, each seen to work on the model."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from cadenza.clock import to_micros
from cadenza.definitions.expression import FALSE, parse
from cadenza.definitions.kinds import Destination, Metric, Segment, Template, TraitDefinition
from cadenza.definitions.kinds_journey import Entry, Exit, Journey, Outcome, Send, Trigger, Wait
from cadenza.definitions.kinds_policy import Cap, Holdout, Jurisdiction, Policy, QuietHours, SendWindow, Suppress
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError
from cadenza.ids import bucket
from cadenza.ports.ledger import Record
from cadenza.simulate.counterfactual import Found, Target, search
from cadenza.simulate.worlds import deploy_record

NOON = datetime(2024, 5, 6, 12)
CONSENT = ("consent for marketing by email was granted",)


def journey(**changes: Any) -> Journey:
    plain = Journey(
        name="welcome", owner="o", outcome=Outcome(metric="orders"), arena=None,
        entry=Entry(on=Trigger(event="Order Completed"), again="after_exit"),
        exit=Exit(goal=FALSE, disqualified=FALSE, superseded=True, time_limit_s=864_000),
        steps=(Send(template="hello"), Wait(duration_s=3_600)),
    )  # fmt: skip
    return replace(plain, **changes)


def project(*journeys: Journey, **policy: Any) -> Project:
    sent = {"email": "string", "plan": "string", "time_zone": "string"}
    return Project(
        templates=(Template(name="hello", channel="email", purpose="marketing", body="b"),),
        destinations=(Destination(name="mail", channel="email", adapter="mailbox"),),
        metrics=(Metric(name="orders", kind="count", event="Order Completed", within_s=60),),
        traits=(
            *(TraitDefinition(name=n, type=t, from_=f"traits.{n}") for n, t in sent.items()),  # type: ignore[arg-type]
            TraitDefinition(name="orders", type="integer", value=parse("events('Order Completed')")),
        ),
        segments=(Segment(name="regulars", when=parse("orders >= 3")),),
        journeys=journeys or (journey(),), policy=Policy(deadline_s=3_600, **policy),
    )  # fmt: skip


def said(*calls: dict[str, Any], until: datetime = NOON) -> list[Record]:
    """A person's records, a minute apart; the last one comes at ``until``."""
    plain = deploy_record(Project(), 0)
    first = until - timedelta(minutes=len(calls) - 1)
    records = []
    for n, call in enumerate(calls):
        at = to_micros(first + timedelta(minutes=n))
        body = json.dumps({"userId": "u1", "occurred_at": at, **call}).encode()
        kind = "command" if "command" in call else "call"
        records.append(replace(plain, offset=n + 2, recorded_at=at, kind=kind, message_id=f"m{n}", body=body))
    return records


def track(event: str, **properties: Any) -> dict[str, Any]:
    return {"type": "track", "event": event, "properties": properties}


ADA = {"type": "identify", "traits": {"email": "ada@example.com"}}
YES = track("Consent Updated", purpose="marketing", channel="email", granted=True)
NO = track("Consent Updated", purpose="marketing", channel="email", granted=False)
BOUNCE = track("Email Bounced", bounce_type="hard")
ORDER = track("Order Completed")


def dropped(wanted: Project, *calls: dict[str, Any], at: datetime = NOON) -> Found:
    return search(wanted, said(*calls, until=at), Target(journey="welcome", at=at, dropped=True))


def refused(wanted: Project, *calls: dict[str, Any]) -> Found:
    return search(wanted, said(*calls), Target(journey="welcome", at=NOON, dropped=False))


@pytest.mark.parametrize(
    ("calls", "reason", "facts"),
    [
        ([ADA, ORDER], "no_consent", CONSENT),
        ([ADA, NO, ORDER], "no_consent", CONSENT),
        ([ADA, YES, BOUNCE, ORDER], "suppressed", ("email was not suppressed for 'hard_bounce'",)),
        ([ADA, BOUNCE, BOUNCE, track("Email Marked as Spam"), ORDER], "suppressed",
         ("email was not suppressed for 'complaint'", "email was not suppressed for 'hard_bounce'", *CONSENT)),
        ([YES, ORDER], "unreachable", ("email was somebody@example.com",)),
        ([ORDER], "unreachable", ("email was somebody@example.com", *CONSENT)),
    ],
)  # fmt: skip
def test_what_the_person_said(calls: list[dict[str, Any]], reason: str, facts: tuple[str, ...]) -> None:
    found = dropped(project(), *calls)
    assert (found.reason, found.facts, found.happens_at) == (reason, facts, NOON)


@pytest.mark.parametrize(
    ("when", "facts"),
    [
        ("plan = 'trial'", ("plan was -",)),
        ("in_segment('regulars') or plan = 'x'", ("plan was -",)),
        ("orders < 2", ("one more 'Order Completed' had come",)),
    ],
)
def test_conditions_of_the_policy(when: str, facts: tuple[str, ...]) -> None:
    """A null is as good as true there: the plan was never said."""
    found = dropped(project(suppress=(Suppress(name="s", when=parse(when)),)), ADA, YES, ORDER)
    assert found.reason == "policy" and found.facts is not None and len(found.facts) == 1
    if "orders" in when:
        assert found.facts[0].startswith("orders was ")
    else:
        assert found.facts == facts


def test_the_global_holdout() -> None:
    name = next(n for n in map(str, range(100)) if bucket(n, 2) < 5_000)
    found = dropped(project(holdout=Holdout(name=name, share_bp=5_000)), ADA, YES, ORDER)
    assert (found.reason, found.facts) == ("holdout", (f"the person was not in the holdout '{name}'",))


def command(name: str, **more: str) -> dict[str, Any]:
    return {"command": name, **more}


@pytest.mark.parametrize(
    ("said_before", "rule", "words"),
    [
        (command("pause", journey="welcome", mode="freeze"), "freeze", "'welcome' had not been paused"),
        (command("stop", journey="welcome"), "stop", "'welcome' had not been stopped"),
    ],
)
def test_what_people_did_to_the_journey(said_before: dict[str, Any], rule: str, words: str) -> None:
    found = refused(project(), ADA, YES, said_before, ORDER)
    assert (found.reason, found.facts) == (f"paused ({rule})", (words,))


@pytest.mark.parametrize(
    ("switches", "facts"),
    [
        ([{"channel": "email"}], ("no kill switch was closed over email",)),
        ([{"journey": "welcome"}, {"channel": "sms"}], ("no kill switch was closed over 'welcome'",)),
        ([{}, {"channel": "email"}],
         ("no kill switch was closed over email", "no kill switch was closed over everything")),
    ],
)  # fmt: skip
def test_kill_switches(switches: list[dict[str, str]], facts: tuple[str, ...]) -> None:
    found = dropped(project(), ADA, YES, *(command("kill", mode="cancel", **reach) for reach in switches), ORDER)
    assert found.reason == "killed" and found.facts is not None
    assert tuple(sorted(found.facts)) == facts


def test_an_unknown_jurisdiction() -> None:
    places = (Jurisdiction(name="DE"), Jurisdiction(name="US", consent="opt_out"))
    found = dropped(project(jurisdiction_trait="plan", jurisdictions=places), ADA, YES, ORDER)
    assert (found.reason, found.facts) == ("no_jurisdiction", ("plan was DE",))


def test_a_window_on_another_day() -> None:
    """No hour of that Monday would have done: the message would have had to wait for longer."""
    windows = (SendWindow(days=("fri",), from_="09:00", to="17:00"),)
    who = {"type": "identify", "traits": {"email": "ada@example.com", "time_zone": "Europe/London"}}
    found = dropped(project(send_windows=windows), who, YES, ORDER)
    assert (found.reason, found.facts) == ("deadline", ("messages were allowed to wait for 14 days",))
    assert found.happens_at == datetime(2024, 5, 10, 8)


def test_suppressions_for_a_time() -> None:
    until = "2024-05-07T00:00:00Z"
    listed = track("Suppressed", channel="*", reason="claim", until=until)
    over = track("Suppressed", channel="email", reason="legal", until="2024-05-06T12:00:00Z")
    found = dropped(project(), ADA, YES, over, listed, ORDER)
    assert (found.reason, found.facts) == ("suppressed", ("every channel was not suppressed for 'claim'",))


@pytest.mark.parametrize(("zone", "reason"), [(None, "no_time_zone"), ("Asia/Tokyo", "deadline")])
def test_quiet_hours(zone: str | None, reason: str) -> None:
    who = {"type": "identify", "traits": {"email": "ada@example.com"} | ({"time_zone": zone} if zone else {})}
    found = dropped(project(quiet_hours=QuietHours(from_="21:00", to="08:00")), who, YES, ORDER)
    assert found.reason == reason
    assert found.facts == ("it was 12 o'clock where the person is (it was 12:00 UTC)",)


@pytest.mark.parametrize(
    ("limit", "facts"),
    [(2, 1), (1, 1), (0, None), (3, "sent")],
)
def test_caps(limit: int, facts: int | str | None) -> None:
    """One earlier message less is enough; where the cap allows none, nothing helps."""
    others = [
        journey(name=name, entry=Entry(on=Trigger(event=event)))
        for name, event in (("second", "Product Viewed"), ("third", "Trial Started"))
    ]
    wanted = project(journey(), *others, caps=(Cap(name="c", limit=limit, per_s=86_400),))
    calls = (ADA, YES, track("Product Viewed"), track("Trial Started"), ORDER)
    if facts == "sent":
        with pytest.raises(CadenzaError, match="would not have refused"):
            dropped(wanted, *calls)
        return
    found = dropped(wanted, *calls)
    assert found.reason == "cap"
    assert (found.facts and len(found.facts)) == facts
    if found.facts:
        assert found.facts[0].startswith("'hello' of 2024-05-06 11:58 (") and found.facts[0].endswith("was not sent")


def test_an_entry_that_did_not_qualify() -> None:
    asking = journey(
        entry=Entry(on=Trigger(event="Order Completed"), when=parse("consented('marketing', 'email') and orders >= 3"))
    )
    found = refused(project(asking), ADA, ORDER)
    assert found.reason == "not_qualified (when)" and found.facts is not None
    assert set(CONSENT) < set(found.facts) and len(found.facts) == 2


def test_an_entry_refused_by_unless_and_by_re_entry() -> None:
    shy = journey(entry=Entry(on=Trigger(event="Order Completed"), unless=parse("coalesce(plan, 'no') = 'gold'")))
    gold = {"type": "identify", "traits": {"plan": "gold"}}
    found = refused(project(shy), ADA, gold, ORDER)
    assert (found.reason, found.facts) == ("suppressed (unless)", ("plan was -",))
    found = refused(project(journey()), ADA, YES, ORDER, ORDER)
    assert found.reason == "re_entry (running)"
    assert found.facts == ("the passage through 'welcome' of 2024-05-06 11:59 had not begun (record 4)",)


def test_a_holdout_of_the_journey_and_a_rival() -> None:
    name = next(n for n in map(str, range(100)) if bucket(n, 2) < 5_000)
    found = refused(project(journey(holdout=Holdout(name=name, share_bp=5_000))), ADA, ORDER)
    assert (found.reason, found.facts) == (f"holdout ({name})", (f"the person was not in the holdout '{name}'",))
    strong = journey(name="strong", arena="a", priority=90, entry=Entry(on=Trigger(event="Product Viewed")))
    found = refused(project(journey(arena="a"), strong), ADA, track("Product Viewed"), ORDER)
    assert (found.reason, found.facts) == (
        "priority (a)", ("the passage through 'strong' of 2024-05-06 11:59 had not begun (record 3)",),
    )  # fmt: skip


def test_what_cannot_be_turned_is_said() -> None:
    found = dropped(project(suppress=(Suppress(name="s", when=parse("true")),)), ADA, YES, ORDER)
    assert (found.reason, found.facts, found.happens_at) == ("policy", None, None)


def test_what_was_sent_was_not_refused() -> None:
    with pytest.raises(CadenzaError, match="would not have refused"):
        dropped(project(), ADA, YES, ORDER)
