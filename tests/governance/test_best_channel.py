"""`channel: best`: the channel is chosen for each person, told in the explanation and the report, and the auditor agrees."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cadenza.definitions.difference import difference
from cadenza.definitions.kinds import Cap, Destination, Holdout, Policy, Send, Template, TraitDefinition
from cadenza.definitions.kinds_policy import BestChannel, ChannelQuietHours, ChannelWorth
from cadenza.definitions.load import load
from cadenza.runtime.explain.views import ChannelView
from cadenza.simulate.model import Model
from cadenza.surfaces.report_tables import report_text
from tests.governance.test_suppressions import JOURNEY, RECEIPT
from tests.simulation import tape
from tests.simulation.tape import Tape, at, journey
from tests.tasks.kit import START, Shop

POLICY = """
missing_time_zone: Europe/London
channel_quiet_hours: [ { channel: sms, from: '20:00', to: '08:00' } ]
best_channel:
  worth: 2
  weight: 4
  within: 30 days
  channels:
    email: { cost: 0.01, usual: 10%, response: "events('Email Link Clicked', within => '30 days')" }
    sms: { cost: 0.05, usual: 15% }
"""
BEST = "{ channel: best, templates: [offer_mail, offer_text] }"
MARKETING = RECEIPT.replace("transactional", "marketing").replace("orders", "marketing")
TEXT = "template: offer_text\nchannel: sms\npurpose: marketing\nbody: Ten percent.\n"
FILES: dict[str, str | None] = {
    "journeys/offers.yaml": JOURNEY.format(name="offers", template=BEST),
    "journeys/welcome.yaml": None, "tests": None, "policies/contact.yaml": POLICY,
    "templates/offer_mail.yaml": MARKETING.replace("receipt", "offer_mail"), "templates/offer_text.yaml": TEXT,
    "destinations/texts.yaml": "destination: texts\nchannel: sms\nadapter: mailbox\naddress: phone\n",
    "traits/phone.yaml": "traits:\n  phone: { type: string, from: traits.phone, personal: true }\n",
}  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    Shop.create_files(tmp_path, FILES)
    found = Shop(tmp_path, journey=None)
    yield found
    found.workspace.close()


def greet(shop: Shop, *channels: str) -> None:
    shop.note("ann", traits={"email": "ann@example.com", "phone": "+44 20 7946 0000", "time_zone": "Europe/London"})
    for channel in channels:
        shop.note("ann", "Consent Updated", {"purpose": "marketing", "channel": channel, "granted": True})
    shop.later(seconds=1)


def sent(shop: Shop) -> list[str]:
    return [row["channel"] for row in shop.workspace.query("SELECT channel FROM message ORDER BY planned_at")]


def channels(shop: Shop, number: int = -1) -> tuple[ChannelView, ...]:
    """What the explanation says of the channels at the last verdict on a message."""
    messages = [m for p in shop.workspace.explain("ann").passages for m in p.messages]
    return messages[number].verdicts[-1].channels


def test_the_worthier_channel_is_chosen_and_the_explanation_says_why(shop: Shop) -> None:
    greet(shop, "email", "sms")
    shop.order("ann")
    assert sent(shop) == ["sms"]
    mail, text = channels(shop)
    assert (mail.chosen, mail.verdict, mail.worth) == (False, "send", pytest.approx(0.19))
    assert mail.words == "not chosen: open, worth 0.19 (0 responses to 0 messages)"
    assert text.words == "chosen: open, worth 0.25"
    shown = {m.template for p in shop.workspace.explain("ann").passages for m in p.messages}
    assert shown == {"offer_text"}, "the message that went out"


def test_what_is_not_allowed_or_not_open_comes_last(shop: Shop) -> None:
    greet(shop, "email")
    shop.order("ann")
    assert sent(shop) == ["email"]
    assert channels(shop)[1].words == "not chosen: no_consent"
    shop.note("ann", "Consent Updated", {"purpose": "marketing", "channel": "sms", "granted": True})
    shop.clock.advance_to(datetime(2024, 5, 6, 20))  # nine in the evening in London
    shop.order("ann")
    assert sent(shop) == ["email", "email"]
    assert channels(shop)[1].words.startswith("not chosen: not before 2024-05-07 07:00:00 (quiet_hours), worth 0.25")


def test_responses_of_the_person_change_the_choice(shop: Shop) -> None:
    greet(shop, "email")
    shop.order("ann")
    shop.say("ann", "Email Link Clicked", {"message_id": "x"})
    shop.note("ann", "Consent Updated", {"purpose": "marketing", "channel": "sms", "granted": True})
    shop.order("ann")
    assert sent(shop) == ["email", "email"], "one click of one message: 2 * (1 + 0.4) / 5 - 0.01 = 0.55"
    assert channels(shop)[0].words == "chosen: open, worth 0.55 (1 response to 1 message)"
    shop.later(days=31)
    shop.order("ann")
    assert sent(shop)[-1] == "sms", "what is longer ago does not count"


def test_the_report_counts_by_channel_and_the_auditor_agrees(shop: Shop) -> None:
    greet(shop, "email", "sms")
    shop.order("ann")
    report = shop.workspace.report()
    [offers] = [j for j in report.journeys if j.name == "offers"]
    assert [(c.name, c.n) for c in offers.messages.channels] == [("sms", 1)]
    assert "sent by channel" in report_text(report)
    assert shop.workspace.rebuild(verify=True) is not None
    assert shop.workspace.audit.run().clean


def test_the_plan_tells_a_changed_choice(tmp_path: Path) -> None:
    Shop.create_files(tmp_path, FILES)
    old = load(tmp_path).project
    (tmp_path / "policies/contact.yaml").write_text(POLICY.replace("cost: 0.05", "cost: 0.06"))
    (tmp_path / "journeys/offers.yaml").write_text(JOURNEY.format(name="offers", template="offer_mail"))
    told = {(f.path, f.old, f.new) for change in difference(old, load(tmp_path).project) for f in change.fields}
    assert ("best_channel.channels.sms.cost", "0.05", "0.06") in told
    assert ("steps.0.templates.1", "offer_text", None) in told


# --- the model, worked by hand ---------------------------------------------------------------------------


def playing(policy: Policy, step: Send | None = None, klass: str = "marketing", **more: Any) -> Tape:
    """Somebody with both channels and consent to both, who orders at hour 1 and every hour after."""
    found = Tape(journey(step or Send(template="hello", templates=("hello", "text")), key="order_id"))
    base = tape.project(
        journey(step or Send(template="hello", templates=("hello", "text")), key="order_id"), policy=policy
    )
    text = Template(name="text", channel="sms", purpose="marketing", body="b")
    both = (
        *(replace(t, message_class=klass) if t.name == "hello" else t for t in base.templates),
        replace(text, message_class=klass),
    )  # type: ignore[arg-type]
    found.model = Model(replace(
        base, templates=both, traits=(*base.traits, TraitDefinition(name="phone", type="string", from_="traits.phone")),
        destinations=(*base.destinations, Destination(name="phones", channel="sms", adapter="mailbox", address_trait="phone")),
    ))  # fmt: skip
    found.identify(0, email="u@x.example", time_zone="UTC", phone="1")
    for channel in more.get("consents", ("email", "sms")):
        found.track(0, "Consent Updated", purpose="marketing", channel=channel, granted=True)
    return found


def ordered(found: Tape, *hours: float) -> list[str]:
    for hour in hours:
        found.track(hour, "Order", order_id=f"o{hour}")
    return [template for template, _ in sorted(found.sent(), key=lambda s: s[1])]


def test_the_order_written_decides_where_nothing_else_does() -> None:
    assert ordered(playing(Policy()), 1, 2) == ["hello", "hello"]
    other = Send(template="text", templates=("text", "hello"))
    assert ordered(playing(Policy(), other), 1) == ["text"]


def test_a_full_cap_of_a_channel_leaves_the_other() -> None:
    caps = (Cap(name="mails", channel="email", limit=1, per_s=86400),)
    assert ordered(playing(Policy(caps=caps)), 1, 2, 3) == ["hello", "text", "text"]


def test_of_those_that_wait_the_one_that_opens_first() -> None:
    begin = at(1).hour
    quiet = tuple(
        ChannelQuietHours(channel=channel, from_=f"{begin:02}:00", to=f"{(begin + hours) % 24:02}:00")
        for channel, hours in (("email", 5), ("sms", 2))
    )
    found = playing(Policy(channel_quiet_hours=quiet))
    ordered(found, 1)
    [(when, verdict, reason, until)] = found.verdicts()
    assert (when, verdict, reason, until) == (at(1), "defer", "quiet_hours", at(3))
    found.until(4)
    assert found.sent() == [("text", at(3))]


def test_a_transactional_message_goes_by_the_cheaper_channel_without_consent() -> None:
    costs = (ChannelWorth(name="email", cost=0.02), ChannelWorth(name="sms", cost=0.01))
    policy = Policy(best_channel=BestChannel(channels=costs), caps=(Cap(name="none", limit=0, per_s=60),))
    assert ordered(playing(policy, klass="transactional", consents=()), 1) == ["text"]


def test_who_is_held_out_is_asked_once_and_only_where_a_channel_is_allowed() -> None:
    policy = Policy(holdout=Holdout(name="all", share_bp=9900))
    nobody = playing(policy, consents=())
    ordered(nobody, 1)
    assert not nobody.rows("assignments") and nobody.rows("choices")[0][4] == "hello"
    held = playing(policy, consents=("sms",))
    ordered(held, 1)
    [(name, _, arm)] = held.rows("assignments")
    assert (name, arm) == ("all", "holdout") and held.rows("choices")[0][3:] == ("drop", "text")


def test_the_instant_of_the_choice_stands_still(shop: Shop) -> None:
    """A message that waits is chosen anew, and goes once."""
    shop.note("ann", "Suppressed", {"channel": "email", "reason": "asked"})
    greet(shop, "email", "sms")
    shop.clock.advance_to(START.replace(hour=20))
    shop.order("ann")
    assert sent(shop) == [] and channels(shop)[0].words == "not chosen: suppressed"
    shop.note("ann", "Unsuppressed", {"channel": "email", "reason": "asked"})
    shop.later(hours=11)
    assert sent(shop) == ["sms"], "it was put off until the texts open; then both are open, and the text is worth more"
    shop.later(days=2)
    assert len(sent(shop)) == 1
    assert shop.clock.now() > START + timedelta(days=2)


def test_weights_that_nothing_asks_for_are_told(tmp_path: Path) -> None:
    Shop.create_files(tmp_path, {**FILES, "journeys/offers.yaml": JOURNEY.format(name="offers", template="offer_mail")})
    told = [str(warning) for warning in load(tmp_path).warnings]
    assert any("policies/contact.yaml:4: No send says 'channel: best'" in warning for warning in told), told
