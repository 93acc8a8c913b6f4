"""The auditor on a log of a handful of records and one message: what it says when one thing of it is otherwise."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from cadenza.audit.auditor import AuditReport, audit
from cadenza.audit.rules import Sent
from cadenza.definitions.expression import FALSE, parse
from cadenza.definitions.kinds import Destination, Template, TraitDefinition
from cadenza.definitions.kinds_journey import Entry, Exit, Journey, Outcome, Send, Trigger, Wait
from cadenza.definitions.kinds_policy import ChannelQuietHours, Jurisdiction, Policy, QuietHours, SendWindow
from cadenza.definitions.project import Project, version_of
from cadenza.ports.ledger import OutboxMessage, Record
from cadenza.simulate.worlds import deploy_record

NOON = 1_714_996_800_000_000
MINUTE = 60_000_000
HELLO = Template(name="hello", channel="email", purpose="marketing", body="b")
PROJECT = Project(
    templates=(HELLO,), destinations=(Destination(name="mail", channel="email", adapter="mailbox"),),
    traits=(TraitDefinition(name="email", type="string", from_="traits.email"),),
    journeys=(
        Journey(
            name="welcome", owner="o", outcome=Outcome(metric="m"), entry=Entry(on=Trigger(event="Order Completed")),
            exit=Exit(goal=parse("event('Trial Started')"), disqualified=FALSE, superseded=True, time_limit_s=864_000),
            steps=(Send(template="hello"), Wait(duration_s=86_400)),
        ),
    ),
)  # fmt: skip
ADA = {"type": "identify", "userId": "ada", "traits": {"email": "ada@example.com"}}


def track(event: str, **properties: Any) -> dict[str, Any]:
    return {"type": "track", "userId": "ada", "event": event, "properties": properties}


YES = track("Consent Updated", purpose="marketing", channel="email", granted=True)
LEAVES = track("Unsubscribed", channel="email")


def log(*later: dict[str, Any], project: Project = PROJECT, ada: dict[str, Any] = ADA) -> list[Record]:
    """Deployed, known, consented, ordered at noon (record 4), and a record a minute after that."""
    first = deploy_record(project, NOON - 3 * MINUTE)
    records = [first]
    for n, body in enumerate((ada, YES, track("Order Completed"), *later), start=2):
        kind = "command" if "command" in body else "outcome" if "person" in body else "call"
        source = "delivery" if kind == "outcome" else "website"
        at = NOON + (n - 4) * MINUTE
        said = msgspec.json.encode({"occurred_at": at, **body})
        records.append(
            replace(first, offset=n, recorded_at=at, kind=kind, source=source, message_id=f"m{n}", body=said)
        )
    return records


def sent(state: str = "sent", claim_head: int = 4, **changes: Any) -> Sent:
    plain = OutboxMessage(
        message_id="a-1", person=2, journey="welcome", step="steps[0]", channel="email", destination="mail",
        address="ada@example.com", template="hello", template_version=version_of(HELLO), message_class="marketing",
        purpose="marketing", context="", planned_at=NOON, deliverable=True,
    )  # fmt: skip
    return Sent(message=replace(plain, **changes), state=state, claim_head=claim_head, settled_at=NOON + 10 * MINUTE)


def said(records: list[Record], *messages: Sent) -> AuditReport:
    return audit(lambda: records, messages)


def broken(records: list[Record], *messages: Sent) -> dict[str, tuple[int, ...]]:
    """Rule -> the records that show that it is broken."""
    report = said(records, *messages)
    assert report.clean == (not report.violations)
    return {violation.rule: violation.records for violation in report.violations}


def test_what_is_right_is_clean() -> None:
    report = said(log(), sent())
    assert report.clean and report.messages == report.handed_over == 1 and report.records == 4
    assert not report.unsure


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"address": "eve@example.com"}, "address"),
        ({"address": ""}, "address"),
        ({"message_class": "transactional"}, "as defined"),
        ({"purpose": "news"}, "as defined"),
        ({"template_version": "other"}, "as defined"),
        ({"step": "steps[1]"}, "as defined"),
        ({"journey": "other"}, "as defined"),
        ({"person": 99}, "person"),
        ({"planned_at": NOON - 90_000_000}, "consent"),
        ({"deliverable": False}, "replay at hand-over"),
    ],
)
def test_a_message_that_is_otherwise(changes: dict[str, Any], rule: str) -> None:
    assert rule in broken(log(), sent(**changes))


_SUMMER = {"zone": "Europe/Berlin", "country": "DE"}
_OPEN = SendWindow(from_="09:00", to="13:00")


@pytest.mark.parametrize(
    ("policy", "traits", "found"),
    [
        ({"quiet_hours": QuietHours(from_="14:00", to="15:00")}, _SUMMER, {"quiet hours"}),
        ({"quiet_hours": QuietHours(from_="13:00", to="14:00")}, _SUMMER, set()),
        ({"channel_quiet_hours": (ChannelQuietHours(channel="email", from_="22:00", to="14:01"),)}, _SUMMER, {"quiet hours"}),
        ({"channel_quiet_hours": (ChannelQuietHours(channel="sms", from_="00:00", to="23:59"),)}, _SUMMER, set()),
        ({"jurisdictions": (Jurisdiction(name="DE", quiet_hours=QuietHours(from_="14:00", to="15:00")),)}, _SUMMER, {"quiet hours"}),
        ({"jurisdictions": (Jurisdiction(name="DE", send_windows=(_OPEN,)),)}, _SUMMER, {"send windows"}),
        ({"jurisdictions": (Jurisdiction(name="US", send_windows=(_OPEN,)), Jurisdiction(name="DE"))}, _SUMMER, set()),
        ({"jurisdictions": (Jurisdiction(name="DE"),)}, {"zone": "Europe/Berlin"}, {"consent"}),
        ({"send_windows": (_OPEN,)}, _SUMMER, {"send windows"}),
        ({"send_windows": (_OPEN, SendWindow(from_="14:00", to="24:00", days=("mon",)))}, _SUMMER, set()),
        ({"send_windows": (SendWindow(from_="14:00", to="24:00", days=("tue",)),)}, _SUMMER, {"send windows"}),
        ({"send_windows": (SendWindow(channel="sms", from_="09:00", to="10:00"),)}, _SUMMER, set()),
        ({"send_windows": (_OPEN,)}, {"country": "DE"}, {"quiet hours"}),
        ({"send_windows": (_OPEN,), "missing_time_zone": "Europe/London"}, {"country": "DE"}, {"send windows"}),
        ({"send_windows": (_OPEN,), "missing_time_zone": "UTC"}, {"country": "DE"}, set()),
    ],
)  # fmt: skip
def test_hours_of_the_channel_and_the_jurisdiction(
    policy: dict[str, Any], traits: dict[str, str], found: set[str]
) -> None:
    """It is noon on a Monday in summer: 14:00 in Berlin, 13:00 in London. Where the zone is unknown, hours cannot hold."""
    named = policy | ({"jurisdiction_trait": "country"} if "jurisdictions" in policy else {})
    told = tuple(TraitDefinition(name=n, type="string", from_=f"traits.{n}") for n in ("zone", "country"))
    project = replace(PROJECT, policy=Policy(time_zone_trait="zone", **named), traits=(*PROJECT.traits, *told))
    ada = {**ADA, "traits": {**ADA["traits"], **traits}}  # type: ignore[dict-item]
    assert set(broken(log(project=project, ada=ada), sent())) == found


def test_a_message_that_nobody_planned() -> None:
    report = {"type": "track", "event": "Message Sent", "person": 2, "properties": {"message_id": "b-2"}}
    assert broken(log(report), sent()) == {"planned": (5,)}
    assert "planned" in broken(log(), replace(sent(), decided=False))
    assert set(broken(log(), sent(), sent())) == {"unique"}


@pytest.mark.parametrize(
    ("later", "rule"),
    [
        (LEAVES, "consent at hand-over"),
        (track("Email Bounced", bounce_type="hard"), "suppression at hand-over"),
        (track("Trial Started"), "exit before hand-over"),
        ({"command": "stop", "journey": "welcome"}, "exit before hand-over"),
        ({"command": "kill", "journey": "welcome"}, "kill switch"),
        ({"command": "kill", "channel": "email"}, "kill switch"),
        ({"command": "kill"}, "kill switch"),
    ],
)
def test_what_was_accepted_before_the_claim(later: dict[str, Any], rule: str) -> None:
    """The record that forbids it counts from the claim on that knew it, and from no claim before."""
    assert broken(log(later), sent(claim_head=5)) == {rule: (5,)}
    assert broken(log(later), sent(claim_head=4)) == {}
    assert broken(log(later), sent("ready", claim_head=5)) == {}, "nobody has it"
    assert broken(log(later), sent("cancelled", claim_head=5)) == {}


def test_kill_switches_that_are_open() -> None:
    kill, release = {"command": "kill", "channel": "email"}, {"command": "release", "channel": "email"}
    elsewhere = {"command": "kill", "channel": "sms"}
    assert broken(log(elsewhere), sent(claim_head=5)) == {}
    assert broken(log(kill, release), sent(claim_head=6)) == {}
    # Opened again after the claim: before the call ended, nobody can tell; after it, it was closed.
    between = {r.rule: r for r in said(log(kill, release), sent(claim_head=5)).rules}["kill switch"]
    assert (between.violations, between.not_derivable) == (0, 1)
    assert broken(log(kill, *[ADA] * 10, release), sent(claim_head=5)) == {"kill switch": (5,)}


def test_a_later_deployment_may_ask_for_what_came_before() -> None:
    """The log is read again then: the trait was sent before anybody declared it."""
    more = replace(
        PROJECT, traits=(*PROJECT.traits, TraitDefinition(name="phone", type="string", from_="traits.phone"))
    )
    by_phone = replace(more, destinations=(replace(PROJECT.destinations[0], address_trait="phone"),))
    records = log({**ADA, "traits": {"phone": "+1"}})
    records.append(replace(deploy_record(by_phone, NOON + 5 * MINUTE, 6), message_id="m6"))
    read: list[int] = []

    def again() -> list[Record]:
        read.append(1)
        return records

    late = sent(planned_at=NOON + 6 * MINUTE, address="+1", claim_head=6)
    assert audit(again, [late]).clean and len(read) == 2
