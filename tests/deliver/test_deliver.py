"""Delivery: claim, gate, call, confirm, report; what each answer leads to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from cadenza.adapters.mailbox import Mailbox
from cadenza.definitions.kinds import Template
from cadenza.definitions.project import version_of
from cadenza.ports.channel import Delivery
from cadenza.runtime.deliver import Deliverer, Pace, backoff_us
from tests.deliver.outbox_kit import PROJECT, START, TEMPLATE, Made, Told, an_outbox_message

RETRY = Delivery(status="retry", detail="451 later")
OK = Delivery(status="accepted", detail="250 taken", provider_id="p-9")


def test_a_message_is_handed_over_and_the_log_told(kit: Made) -> None:
    box = Told(OK)
    k = kit(box=box)
    k.publish(an_outbox_message())
    assert k.drain() == 1
    assert box.ids == ["m-1"] and k.state() == "sent"
    message = box.messages[0]
    assert (message.subject, message.text, message.address) == ("Hi Anna", "Hello Anna", "anna@shop.example")
    assert k.outcomes() == [{
        "id": "m-1:Message Sent", "type": "track", "event": "Message Sent", "person": 7, "occurred_at": START,
        "properties": {
            "message_id": "m-1", "journey": "welcome", "step": "1", "template": "hello", "channel": "email",
            "destination": "box", "detail": "250 taken (p-9)",
        },
    }]  # fmt: skip
    assert k.drain() == 0 and len(box.calls) == 1


def test_replayed_messages_are_never_handed_over(kit: Made) -> None:
    box = Told()
    k = kit(box=box)
    k.publish(an_outbox_message(deliverable=False))
    k.drain()
    assert box.calls == [] and k.state() == "replayed"


# --- the gate ----------------------------------------------------------------------------------------


def test_nothing_is_called_before_every_record_accepted_before_the_claim_is_consumed(kit: Made) -> None:
    box = Told()
    k = kit(box=box)
    k.publish(an_outbox_message())
    k.accept()
    k.drain()
    assert box.calls == [] and k.state() == "claimed"
    k.tick()
    k.drain()
    assert box.ids == ["m-1"]


def test_exit_beats_send(kit: Made) -> None:
    """The order that ends the journey was accepted before the claim: the message is not sent."""
    box = Told()
    k = kit(box=box)
    k.publish(an_outbox_message("m-1"), an_outbox_message("m-2"))
    k.accept()
    k.drain()
    k.publish(cancel=("m-1",))
    k.drain()
    assert box.ids == ["m-2"]
    assert k.state("m-1") == "cancelled" and k.state("m-2") == "sent"
    assert [outcome["properties"]["message_id"] for outcome in k.outcomes()] == ["m-2"]


def test_one_closed_gate_does_not_hold_what_was_claimed_before(kit: Made) -> None:
    box = Told()
    k = kit(box=box)
    k.publish(an_outbox_message("m-1"))
    k.drain()
    k.accept()
    k.publish(an_outbox_message("m-2"), through=0)
    k.drain()
    assert box.ids == ["m-1"] and k.state("m-2") == "claimed"


def test_pause_is_a_kill_switch(kit: Made) -> None:
    box = Told()
    k = kit(box=box)
    k.publish(an_outbox_message())
    k.deliverer.pause()
    k.drain()
    assert k.deliverer.paused and box.calls == [] and k.state() == "ready"
    k.deliverer.resume()
    k.drain()
    assert box.ids == ["m-1"]


# --- answers -----------------------------------------------------------------------------------------


def test_retry_waits_backs_off_and_then_succeeds(kit: Made) -> None:
    box = Told(RETRY, RETRY, OK)
    k = kit(box=box)
    k.publish(an_outbox_message())
    k.drain()
    assert k.state() == "ready" and len(box.calls) == 1
    k.advance(0.99)
    k.drain()
    assert len(box.calls) == 1, "full jitter 0.5 under a ceiling of 2 s is 1 s"
    k.advance(0.02)
    k.drain()
    assert len(box.calls) == 2
    k.advance(1.9)
    k.drain()
    assert len(box.calls) == 2, "the second ceiling is 4 s"
    k.advance(0.2)
    k.drain()
    assert len(box.calls) == 3 and k.state() == "sent"
    assert [outcome["event"] for outcome in k.outcomes()] == ["Message Sent"]


def test_retry_after_is_honoured(kit: Made) -> None:
    box = Told(Delivery(status="retry", detail="429", retry_after_s=60), OK)
    k = kit(box=box)
    k.publish(an_outbox_message())
    k.drain()
    k.advance(59)
    k.drain()
    assert len(box.calls) == 1
    k.advance(1.1)
    k.drain()
    assert len(box.calls) == 2 and k.state() == "sent"


def test_attempts_end(kit: Made) -> None:
    box = Told(RETRY)
    k = kit(box=box)
    k.publish(an_outbox_message())
    for _ in range(6):
        k.drain()
        k.advance(3600)
    assert len(box.calls) == 3 and k.state() == "failed"
    assert k.detail() == "given up after 3 attempt(s): 451 later"
    assert [outcome["event"] for outcome in k.outcomes()] == ["Message Failed"]


@pytest.mark.parametrize(
    ("idempotent", "answer", "state"),
    [
        (True, Delivery(status="failed", detail="550"), "failed"),
        (False, Delivery(status="ambiguous", detail="lost"), "ambiguous"),
        (True, RuntimeError("bug"), "ready"),
        (False, RuntimeError("bug"), "ambiguous"),
        (False, ConnectionResetError("gone"), "ambiguous"),
    ],
)
def test_other_ends(kit: Made, idempotent: bool, answer: Any, state: str) -> None:
    box = Told(answer, idempotent=idempotent)
    k = kit(box=box)
    k.publish(an_outbox_message())
    k.drain()
    assert k.state() == state and len(box.calls) == 1
    events = {"failed": ["Message Failed"], "ambiguous": ["Message Ambiguous"], "ready": []}
    assert [outcome["event"] for outcome in k.outcomes()] == events[state]
    k.advance(600)
    k.drain()
    assert len(box.calls) == (2 if state == "ready" else 1)


@pytest.mark.parametrize(("idempotent", "state"), [(True, "ready"), (False, "ambiguous")])
def test_a_call_without_end_is_cut_off(kit: Made, idempotent: bool, state: str) -> None:
    async def go() -> None:
        box = Told(idempotent=idempotent, held=asyncio.Event())
        k.channels["box"] = box
        deliverer = k.another("w1", pace=Pace(call_s=0))
        await deliverer.drain()
        await deliverer.close()

    k = kit()
    k.jitter = 0.99
    k.publish(an_outbox_message())
    asyncio.run(go())
    assert k.state() == state and "no answer within" in k.detail()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"context": "{}"}, "'first_name' is undefined"),
        ({"context": "["}, "not a JSON object"),
        ({"template": "gone"}, "no template 'gone' any more"),
        ({"destination": "boxx"}, "Did you mean 'box'?"),
        ({"address": "a@x.example\r\nBcc: b@x.example"}, "line break"),
    ],
)
def test_what_cannot_be_rendered_fails_alone_and_visibly(kit: Made, change: dict, says: str) -> None:
    box = Told()
    k = kit(box=box)
    k.publish(an_outbox_message("bad", **change), an_outbox_message("good"))
    k.drain()
    assert box.ids == ["good"]
    assert k.state("bad") == "failed" and says in k.detail("bad")
    failed = [outcome for outcome in k.outcomes() if outcome["event"] == "Message Failed"]
    assert len(failed) == 1 and says in failed[0]["properties"]["detail"]


def test_the_version_that_was_decided_is_rendered(kit: Made) -> None:
    newer = msgspec.structs.replace(TEMPLATE, body="New {{ first_name }}")
    box = Told()
    k = kit(box=box)
    k.publish(an_outbox_message("m-1"))
    k.drain()
    k.project = msgspec.structs.replace(PROJECT, templates=(newer,))
    k.publish(an_outbox_message("m-2"), an_outbox_message("m-3", template_version=version_of(newer)))
    k.drain()
    assert {m.message_id: m.text for m in box.messages} == {"m-1": "Hello Anna", "m-2": "Hello Anna", "m-3": "New Anna"}


# --- leases ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("idempotent", "state"), [(True, "sent"), (False, "ambiguous")])
def test_what_an_earlier_life_left_in_flight(kit: Made, idempotent: bool, state: str) -> None:
    box = Told(idempotent=idempotent)
    k = kit(box=box)
    k.publish(an_outbox_message("flying"), an_outbox_message("claimed"))
    now = START
    k.outbox.claim("w1", now, 60_000_000, 10, 0)
    k.outbox.begin(["flying"], "w1", now)
    k.drain()
    assert k.state("flying") == state and k.state("claimed") == "sent"
    assert box.ids.count("flying") == (1 if idempotent else 0)


def test_another_workers_living_lease_is_left_alone(kit: Made) -> None:
    box = Told()
    k = kit(box=box)
    k.publish(an_outbox_message())
    k.outbox.claim("w2", START, 60_000_000, 10, 0)
    k.drain()
    assert box.calls == []
    k.advance(61)
    k.drain()
    assert box.ids == ["m-1"]


def test_a_claim_held_for_too_long_is_not_used(kit: Made) -> None:
    """Its lease could run out during the call, and another worker send the message a second time."""
    box = Told()
    k = kit(box=box)
    k.publish(an_outbox_message())
    k.accept()
    k.drain()
    k.advance(50)
    k.tick()
    k.drain()
    assert box.calls == [] and k.state() == "claimed"
    k.advance(140)
    k.drain()
    assert box.ids == ["m-1"]


def test_two_workers_share_the_work_without_sharing_a_message(kit: Made) -> None:
    async def go() -> None:
        other = k.another("w2")
        await asyncio.gather(k.deliverer.drain(), other.drain())
        await other.close()

    box = Told(idempotent=False)
    k = kit(box=box)
    k.publish(*(an_outbox_message(f"m-{n}") for n in range(60)))
    asyncio.run(go())
    assert sorted(box.ids) == sorted(f"m-{n}" for n in range(60))


# --- the loop ----------------------------------------------------------------------------------------


async def _until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds; the test's own time limit ends it otherwise."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def _running(deliverer: Deliverer, during: Callable[[], Any]) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(deliverer.run(stop))
    try:
        await during()
    finally:
        stop.set()
        await running


def test_one_slow_destination_holds_up_only_itself(kit: Made) -> None:
    """Its backlog is longer than every queue, and its messages come first."""

    async def go() -> None:
        slow.held = asyncio.Event()
        deliverer = k.another("w1", pace=Pace(queue_limit=20, claim_limit=10, calls=2, batch=5))

        async def during() -> None:
            try:
                # no call to the slow one ends before all of the quick one's messages are there
                await _until(lambda: len(quick.ids) == 5 and len(slow.calls) == 2)
                assert k.outbox.counts()["claimed"] <= 20 + 10, "its backlog stays where other workers can take it"
            finally:
                slow.held.set()  # type: ignore[union-attr]
            # outcomes are records too: the gate opens again when the tick has consumed them
            await _until(lambda: k.tick() or len(slow.ids) == 100)

        await _running(deliverer, during)
        await deliverer.close()

    slow, quick = Told(idempotent=False), Told()
    k = kit(mail=slow, box=quick)
    k.publish(*(an_outbox_message(f"a-{n:03}", destination="mail") for n in range(100)))
    k.publish(*(an_outbox_message(f"q-{n}", planned_at=START) for n in range(5)))
    asyncio.run(go())
    assert sorted(slow.ids) == [f"a-{n:03}" for n in range(100)]
    assert len(k.outcomes()) == 105


def test_wake_from_another_thread_is_enough(kit: Made) -> None:
    """With polls an hour apart, only waking can have done it: at the publication and again when the gate opens."""

    async def go() -> None:
        deliverer = k.another("w1", pace=Pace(idle_poll_s=3600, gate_poll_s=3600))

        async def during() -> None:
            def tick(*messages: Any) -> None:
                k.publish(*messages, through=0 if messages else None)
                deliverer.wake()

            k.accept()
            await asyncio.to_thread(tick, an_outbox_message())
            await _until(lambda: k.state() == "claimed")
            assert box.calls == []
            await asyncio.to_thread(tick)
            await _until(lambda: len(k.outcomes()) == 1)

        await _running(deliverer, during)
        await deliverer.close()

    box = Told()
    k = kit(box=box)
    asyncio.run(go())
    assert box.ids == ["m-1"]


def test_stopping_ends_the_calls_under_way_and_gives_the_rest_back(kit: Made) -> None:
    async def go() -> None:
        box.held = asyncio.Event()
        deliverer = k.another("w1", pace=Pace(calls=1))
        stop = asyncio.Event()
        running = asyncio.create_task(deliverer.run(stop))
        await _until(lambda: len(box.calls) == 1)
        stop.set()
        box.held.set()
        await running
        await deliverer.close()

    box = Told(idempotent=False)
    k = kit(box=box)
    k.publish(*(an_outbox_message(f"m-{n}") for n in range(5)))
    asyncio.run(go())
    states = sorted(k.state(f"m-{n}") for n in range(5))
    assert states == ["ready"] * 4 + ["sent"]
    assert len(k.outcomes()) == 1


def test_a_ledger_that_fails_is_said_and_tried_again(kit: Made) -> None:
    async def go() -> None:
        deliverer = k.another("w1", pace=Pace(idle_poll_s=0.001))

        async def during() -> None:
            await _until(lambda: deliverer.trouble is not None)
            k.outbox = whole
            deliverer._outbox = whole
            await _until(lambda: k.state() == "sent")
            await _until(lambda: deliverer.trouble is None)

        await _running(deliverer, during)
        await deliverer.close()

    class Broken:
        def __getattr__(self, name: str) -> Any:
            from cadenza.errors import LedgerError

            raise LedgerError("The disk is full.")

    k = kit(box=Told())
    whole = k.outbox
    k.publish(an_outbox_message())
    k.outbox = Broken()  # type: ignore[assignment]
    asyncio.run(go())


def test_end_to_end_into_the_mailbox(kit: Made, tmp_path: Path) -> None:
    box = Mailbox.open(tmp_path / "mailbox.db")
    k = kit(box=box)
    html = Template(
        name="hello", channel="email", purpose="news", subject="Hi", body="<p>{{ first_name }}</p>", format="html"
    )
    k.project = msgspec.structs.replace(PROJECT, templates=(html,))
    k.publish(*(an_outbox_message(f"m-{n}", context='{"first_name": "<Bo>"}') for n in range(120)))
    assert k.drain() == 120
    assert box.count() == 120
    mail = box.get("m-7")
    assert mail is not None and mail.html == "<p>&lt;Bo&gt;</p>" and mail.text == "<Bo>"


@given(
    st.integers(1, 60), st.integers(1, 600), st.integers(1, 7200), st.floats(0, 1, exclude_max=True),
    st.none() | st.integers(0, 90_000),
)  # fmt: skip
def test_backoff_stays_in_its_bounds(
    attempt: int, backoff: int, longest: int, jitter: float, after: int | None
) -> None:
    wait = backoff_us(attempt, backoff, longest, jitter, after)
    assert wait >= (after or 0) * 1_000_000
    assert wait <= max(min(longest, backoff * 2 ** (attempt - 1)), after or 0) * 1_000_000
