"""Suppression lists kept by people: in force from their record to their end, for whoever the person turns out to be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cadenza.clock import to_micros
from cadenza.errors import CadenzaError
from cadenza.workspace import SuppressionRow, SuppressionWanted
from tests.tasks.kit import START, Shop

JOURNEY = """
journey: {name}
owner: sales@shop.example
outcome: {{ metric: revenue_28d }}
arena: null
entry:
  on: {{ event: Order Completed }}
  again: after_exit
exit: {{ goal: event('Page Viewed'), disqualified: orders > 50, superseded: false, time_limit: 30 days }}
steps: [ {{ send: {template} }} ]
"""
RECEIPT = """
template: receipt
channel: email
purpose: orders
class: transactional
subject: Thank you
body: Thank you for your order.
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    Shop.create_files(tmp_path, {
        "journeys/big_order.yaml": JOURNEY.format(name="news", template="reminder_mail"),
        "journeys/receipts.yaml": JOURNEY.format(name="receipts", template="receipt"),
        "templates/receipt.yaml": RECEIPT, "journeys/welcome.yaml": None, "tests": None,
    })  # fmt: skip
    found = Shop(tmp_path, journey=None)
    yield found
    found.workspace.close()


def greet(shop: Shop, who: str = "ann") -> None:
    """Somebody who can be reached and consents."""
    shop.note(who, traits={"email": f"{who}@example.com", "time_zone": "Europe/London"})
    said = {"purpose": "marketing", "channel": "email", "granted": True}
    shop.note(who, "Consent Updated", said)
    shop.later(seconds=1)


def sent(shop: Shop) -> list[str]:
    """Templates of the messages that were not cancelled, in order."""
    rows = shop.workspace.query(
        "SELECT template FROM message ANTI JOIN cancellation USING (message_id) ORDER BY planned_at, template"
    )
    return [row["template"] for row in rows]


def at(shop: Shop, instant: datetime) -> None:
    shop.clock.advance_to(instant)
    shop.tick()


def entries(shop: Shop, **wanted: object) -> list[SuppressionRow]:
    return shop.workspace.suppressions.list(SuppressionWanted(**wanted))  # type: ignore[arg-type]


def test_it_ends_by_itself_to_the_instant(shop: Shop) -> None:
    """Also where the engine was started in between: that something ends by itself is known from the store."""
    greet(shop)
    until = START + timedelta(hours=2)
    said = shop.workspace.suppressions.add("ann", "open_claim", channel="email", until=until, by="eve", message_id="t7")
    again = shop.workspace.suppressions.add(
        "ann", "open_claim", channel="email", until=until, by="eve", message_id="t7"
    )
    assert (said.duplicate, again.duplicate, again.offset) == (False, True, said.offset)
    shop.tick()
    shop.workspace.close()
    shop.clock.advance_to(until - timedelta(microseconds=1))
    shop.order("ann")
    assert sent(shop) == ["receipt"], "no marketing; a claim does not concern transactional messages"
    [entry] = entries(shop, every=True)
    assert (entry.person, entry.offset, entry.until, entry.said_by) == (said.person, said.offset, until, "eve")
    assert not entry.in_force and not entries(shop)
    shop.order("ann")
    assert sent(shop) == ["receipt", "receipt", "reminder_mail"]
    words = [v.words for p in shop.workspace.explain("ann").passages for m in p.messages for v in m.verdicts]
    assert "not sent: the channel is suppressed for this person (open_claim until 2024-05-06 11:00:00)" in words
    for hours in (9, 5):
        shop.workspace.suppressions.add("ann", "legal", until=START + timedelta(hours=hours))
    at(shop, START + timedelta(hours=6))
    shop.order("ann")
    assert sent(shop) == [] and len(entries(shop)) == 1, "of two the longer counts"


@pytest.mark.parametrize("channel", ["email", None])
def test_legal_reasons_hold_transactional_messages_too(shop: Shop, channel: str | None) -> None:
    greet(shop)
    shop.workspace.suppressions.add("ann", "legal", channel=channel)
    shop.order("ann")
    shop.workspace.suppressions.remove("ann", reason="complaint")
    shop.order("ann")
    assert sent(shop) == []
    assert shop.workspace.suppressions.remove("ann", reason="legal").ends == 1
    shop.order("ann")
    assert sent(shop) == ["receipt", "reminder_mail"]
    [entry] = shop.workspace.explain("ann").suppressions
    assert entry.ended_at is not None and not entry.in_force


def test_whom_it_names(shop: Shop) -> None:
    """Nobody yet; somebody by an address that is theirs no more; and who merges into somebody."""
    assert shop.workspace.suppressions.add("bob@example.com", "legal").person == "email:bob@example.com"
    shop.tick()
    greet(shop, "bob")
    shop.order("bob")
    assert sent(shop) == []
    assert entries(shop, person="bob")[0].identifiers == ("email:bob@example.com", "user_id:bob")

    greet(shop)
    shop.say("ann", traits={"email": "new@example.com"})
    shop.workspace.suppressions.add("email:ann@example.com", "claim")
    shop.order("ann")
    assert shop.workspace.query("SELECT address FROM message") == [{"address": "new@example.com"}]

    greet(shop, "eve")
    shop.workspace.suppressions.add("anonymous_id:visitor", "legal")
    shop.order("eve")
    assert sent(shop) == ["receipt", "receipt", "reminder_mail"]
    shop.say("eve", anonymousId="visitor", traits={})
    assert sent(shop) == ["receipt"], "what was not handed over is cancelled by the merge"
    shop.workspace.suppressions.remove("eve")
    shop.order("eve")
    assert sent(shop) == ["receipt", "receipt", "reminder_mail"]


def test_it_holds_what_is_claimed_but_not_begun(shop: Shop) -> None:
    """Exit beats send: delivery waits for what was accepted before its claim."""
    greet(shop)
    shop.order("ann")
    said = shop.workspace.suppressions.add("ann", "legal", until=START + timedelta(days=9))
    now, outbox = to_micros(shop.clock.now()), shop.workspace._outbox
    claims = outbox.claim("w", now, 10**9, 10, said.offset)
    assert len(claims) == 2 and outbox.published_through() < said.offset
    shop.later(seconds=1)
    assert outbox.begin([claim.message.message_id for claim in claims], "w", now) == []
    assert {outbox.get(claim.message.message_id).state for claim in claims} == {"cancelled"}  # type: ignore[union-attr]
    assert shop.workspace.audit.run().clean
    what_cannot_be_said(shop)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("ann", {"channel": "emial"}, "no channel 'emial'"), ("ann", {"reason": " "}, "reason is empty"),
    ("ann", {"until": START - timedelta(days=2)}, "past"), ("p_999999", {}, "no person"), ("NULL", {}, "identifies nobody"),
    ("000", {}, "identifies nobody"), ("user_id:", {}, "identifies nobody"),
]  # fmt: skip


def what_cannot_be_said(shop: Shop) -> None:
    """Everything that is refused at once."""
    for person, more, what in WRONG:
        with pytest.raises(CadenzaError, match=what):
            shop.workspace.suppressions.add(person, **{"reason": "legal", **more})
    with pytest.raises(CadenzaError, match="no person 'carl'"):
        shop.workspace.suppressions.remove("carl")
