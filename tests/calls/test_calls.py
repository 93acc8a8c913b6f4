"""Calls of services, from the journey through a real HTTP server and back: what is sent, what the answer sets, what is not
asked any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cadenza.clock import VirtualClock, to_micros
from cadenza.ports.ledger import NewRecord
from cadenza.runtime.deliver import Deliverer
from cadenza.workspace import Workspace
from tests.adapters.receivers import Answer, Posts, http_server

START = datetime(2024, 5, 6, 9)
TRAITS = """  risk: { type: decimal, from: traits.risk }
  tier: { type: string, from: traits.tier }
"""
JOURNEY = """
journey: scored
owner: retention@shop.example
outcome: { metric: revenue_28d }
arena: null
entry: { on: { event: Order Completed }, again: after_exit }
exit: { goal: event('Page Viewed'), disqualified: 'false', superseded: false, time_limit: 30 days }
steps:
  - call:
      destination: scoring
      body: { spent: lifetime_revenue, orders: orders, order: entry.order_id }
      answer: { risk: score.risk, tier: 'tiers[0]' }
      timeout: 2 hours
      as: scored
      PURPOSE
      answered: [ { branch: [ { when: risk > 0.5, steps: [ { exit: risky } ] }, { unknown: [] }, { otherwise: [] } ] } ]
      failed: [ { exit: failed } ]
      unanswered: [ { exit: unanswered } ]
  - branch:
      - { when: scored, steps: [ { exit: safe } ] }
      - unknown: []
      - otherwise: []
"""
GOOD = b'{"score": {"risk": 0.75}, "tiers": ["gold", "free"]}'


class Shop:
    """A workspace whose journey calls the server at a port, on a clock that stands still until it is moved."""

    def __init__(self, folder: Path, port: int, purpose: str = "") -> None:
        Workspace.create(folder)
        with (folder / "traits" / "traits.yaml").open("a") as file:
            file.write(TRAITS)
        (folder / "journeys" / "welcome.yaml").unlink()
        (folder / "tests" / "welcome.yaml").unlink()
        (folder / "journeys" / "scored.yaml").write_text(JOURNEY.replace("PURPOSE", purpose))
        (folder / "destinations" / "scoring.yaml").write_text(
            "destination: scoring\nchannel: scores\nadapter: webhook\nretry: { attempts: 3, backoff: 2 seconds }\n"
            f"settings: {{ url: 'http://127.0.0.1:{port}/score', allow_private: true }}\n"
        )
        self.clock = VirtualClock(START - timedelta(days=1))
        self.workspace = Workspace.open(folder, self.clock)
        self.workspace.apply()
        self.tick()
        self.clock.advance_to(START)
        self._n = 0

    def say(self, who: str, event: str, properties: dict[str, Any] | None = None) -> None:
        self._n += 1
        at = to_micros(self.clock.now())
        body = {"type": "track", "userId": who, "occurred_at": at, "event": event, "properties": properties or {}}
        record = NewRecord(kind="call", source="website", message_id=f"m{self._n}", body=msgspec.json.encode(body))
        self.workspace._log.append([record], at)
        self.later(seconds=1)

    def order(self, who: str = "anna") -> None:
        self.say(who, "Order Completed", {"order_id": "A-1", "revenue": 12.5})

    def later(self, **span: float) -> None:
        self.clock.advance_to(self.clock.now() + timedelta(**span))
        self.tick()

    def tick(self) -> None:
        while (report := self.workspace.tick()) is not None and report.more:
            pass

    def deliver(self) -> None:
        """Hand over what is due, and decide what came back."""

        async def drain(deliverer: Deliverer) -> None:
            await deliverer.drain()
            await deliverer.close()

        asyncio.run(drain(self.workspace.deliverer()))
        self.later(seconds=1)

    def ends(self) -> list[str]:
        return [row["reason"] for row in self.workspace.query("SELECT reason FROM enrollment_end ORDER BY ts, eid")]

    def answers(self) -> list[tuple[Any, ...]]:
        rows = self.workspace.query("SELECT result, reason, trait FROM service_answer ORDER BY offset_")
        return [tuple(row.values()) for row in rows]

    def cancelled(self) -> list[str]:
        return [row["reason"] for row in self.workspace.query("SELECT reason FROM cancellation ORDER BY ts")]


Made = Callable[..., tuple[Shop, Posts]]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    shops: list[Shop] = []
    with http_server() as (posts, port):

        def make(*answers: Answer, purpose: str = "") -> tuple[Shop, Posts]:
            posts.answers = list(answers) or [Answer(body=GOOD)]
            shops.append(Shop(tmp_path, port, purpose))
            return shops[-1], posts

        yield make
        for shop in shops:
            shop.workspace.close()


def test_an_answer_sets_traits_and_leads_on(made: Made) -> None:
    shop, posts = made()
    shop.order()
    assert shop.ends() == [] and posts.received == []
    shop.deliver()
    [(headers, body)] = posts.received
    assert msgspec.json.decode(body) == {"spent": "12.5000", "orders": 1, "order": "A-1"}
    [call] = shop.workspace.query("SELECT call_id FROM service_call")
    assert headers["idempotency-key"] == headers["webhook-id"] == call["call_id"]
    assert headers["content-type"] == "application/json" and headers["accept-encoding"] == "identity"
    assert shop.answers() == [("answered", None, None)]
    assert shop.ends() == ["risky"]
    assert [(way.name, way.n) for j in shop.workspace.report().journeys for way in j.calls] == [("answered", 1)]
    assert [tuple(r.values()) for r in shop.workspace.query("SELECT t_risk, t_tier FROM profile")] == [(0.75, "gold")]


@pytest.mark.parametrize(
    ("answer", "row"),
    [
        (Answer(body=b'{"score": {"risk": 0.1}}'), ("failed", "missing", "tier")),
        (Answer(body=b'{"score": {"risk": "high"}, "tiers": ["gold"]}'), ("failed", "wrong_type", "risk")),
        (Answer(body=b"so sorry"), ("failed", "missing", "risk")),
        (Answer(body=b""), ("failed", "missing", "risk")),
        (Answer(body=b'{"x": "' + b"y" * 17_000 + b'"}'), ("failed", "refused", None)),
        (Answer(body=b"\xff\xfe"), ("failed", "refused", None)),
        (Answer(body=GOOD, headers={"content-encoding": "gzip"}), ("failed", "refused", None)),
        (Answer(status=422, body=b"no such customer"), ("failed", "refused", None)),
    ],
    ids=["missing", "wrong type", "no JSON", "nothing", "too long", "no text", "packed", "4xx"],
)
def test_what_is_not_asked_for_fails_and_is_kept(made: Made, answer: Answer, row: tuple[Any, ...]) -> None:
    shop, _ = made(answer)
    shop.order()
    shop.deliver()
    assert shop.answers() == [row] and shop.ends() == ["failed"]
    assert shop.workspace.query("SELECT * FROM trait_value WHERE cause = 'journey'") == []
    [passage] = shop.workspace.explain("anna").passages
    [words] = [change.words for change in passage.calls[0].answers]
    assert words.startswith("failed")
    told = answer.body.decode("utf-8", "replace")[:20]
    assert told in words or answer.headers or b"\xff" in answer.body


def test_what_may_pass_is_tried_again_under_the_same_id(made: Made) -> None:
    shop, posts = made(Answer(status=503), Answer(action="drop"), Answer(body=GOOD))
    shop.order()
    for _ in range(3):
        shop.deliver()
        shop.later(minutes=1)
    assert len(posts.received) == 3 and len(set(posts.ids())) == 1
    assert shop.answers() == [("answered", None, None)] and shop.ends() == ["risky"]


def test_who_is_never_answered_goes_on_and_the_call_is_withdrawn(made: Made) -> None:
    shop, posts = made(Answer(status=503))
    shop.order()
    shop.deliver()
    shop.later(hours=2)
    assert shop.ends() == ["unanswered"] and shop.cancelled() == ["unanswered"]
    shop.deliver()
    assert len(posts.received) == 1


def test_an_answer_that_comes_too_late_is_on_record_and_changes_nothing(made: Made) -> None:
    shop, _ = made(Answer(body=GOOD))
    shop.order()

    async def reported_late(deliverer: Deliverer) -> None:
        await deliverer._step()
        await asyncio.gather(*[call for calls in deliverer._calls.values() for call in calls])
        shop.later(hours=3)
        assert shop.ends() == ["unanswered"]
        await deliverer._report()
        await deliverer.close()

    asyncio.run(reported_late(shop.workspace.deliverer()))
    shop.later(seconds=1)
    assert shop.answers() == [("late", None, None)]
    assert shop.workspace.query("SELECT * FROM trait_value WHERE cause = 'journey'") == []


def test_an_exit_withdraws_the_call(made: Made) -> None:
    shop, posts = made()
    shop.order()
    shop.workspace._log.append([_page(shop)], to_micros(shop.clock.now()))
    shop.later(seconds=1)
    shop.deliver()
    assert shop.ends() == ["goal"] and shop.cancelled() == ["goal"] and posts.received == []


def _page(shop: Shop) -> NewRecord:
    body = {"type": "page", "userId": "anna", "occurred_at": to_micros(shop.clock.now()), "properties": {}}
    return NewRecord(kind="call", source="website", message_id="page", body=msgspec.json.encode(body))


def test_a_kill_switch_holds_a_call_and_a_pause_its_way_on(made: Made) -> None:
    shop, posts = made()
    shop.order()
    controls = shop.workspace.controls
    controls.kill(channel="scores", queued="hold")
    shop.later(seconds=1)
    shop.deliver()
    assert posts.received == []
    controls.release(channel="scores")
    shop.later(seconds=1)
    controls.pause("scored", "freeze")
    shop.later(seconds=1)
    shop.deliver()
    assert len(posts.received) == 1 and shop.answers() == [("answered", None, None)] and shop.ends() == []
    controls.resume("scored")
    shop.later(seconds=1)
    assert shop.ends() == ["risky"]


def test_a_purpose_asks_for_consent(made: Made) -> None:
    shop, posts = made(purpose="purpose: profiling")
    shop.order("anna")
    assert shop.ends() == ["failed"]
    [passage] = shop.workspace.explain("anna").passages
    assert passage.calls[0].refused == "there is no consent in force for profiling/scores"
    granted = {"purpose": "profiling", "channel": "scores", "granted": True}
    shop.say("bob", "Consent Updated", granted)
    shop.order("bob")
    shop.say("bob", "Consent Updated", granted | {"granted": False})
    shop.deliver()
    assert shop.cancelled() == ["no_consent"] and posts.received == []
    shop.say("cem", "Consent Updated", granted)
    shop.order("cem")
    shop.deliver()
    assert len(posts.received) == 1 and shop.ends() == ["failed", "risky"]
