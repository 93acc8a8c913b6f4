"""Delivery of calls of services: what is handed over, and what of the answer comes into the log."""

from __future__ import annotations

import asyncio
from typing import Any

from cadenza.ports.channel import ANSWER_LIMIT, Delivery
from cadenza.ports.ledger import OutboxMessage
from tests.deliver.outbox_kit import START, Made, Told, an_outbox_message


def a_call(**changes: Any) -> OutboxMessage:
    plain = {"message_class": "call", "template": "", "template_version": "", "address": "", "context": '{"spent":"1"}'}
    return an_outbox_message(destination="box", **{**plain, **changes})


def service(*answers: Delivery) -> Told:
    told = Told(*answers)
    told.takes_calls = True  # type: ignore[attr-defined]
    return told


def test_an_answer_comes_into_the_log_whole(kit: Made) -> None:
    answer = '{"risk": 0.5, "why": "' + "x" * (ANSWER_LIMIT - 40) + '"}'
    box = service(Delivery(status="accepted", detail="200", answer=answer))
    k = kit(box=box)
    k.publish(a_call())
    assert k.drain() == 1 and k.state() == "sent"
    [sent] = box.messages
    assert (sent.call, sent.text, sent.message_id) == (True, '{"spent":"1"}', "m-1")
    properties = {"message_id": "m-1", "journey": "welcome", "step": "1", "destination": "box", "answer": answer}
    assert k.outcomes() == [{
        "id": "m-1:Call Answered", "type": "track", "event": "Call Answered", "person": 7, "occurred_at": START,
        "properties": properties,
    }]  # fmt: skip


def test_an_answer_outlives_a_crash_before_it_is_reported(kit: Made) -> None:
    box = service(Delivery(status="accepted", answer='{"risk": 1}'))
    k = kit(box=box)
    k.publish(a_call())

    async def only_call() -> None:
        await k.deliverer._step()
        await asyncio.gather(*[call for calls in k.deliverer._calls.values() for call in calls])

    asyncio.run(only_call())
    assert k.outcomes() == [] and k.state() == "sent"
    asyncio.run(k._drained(k.another("w2")))
    assert [o["properties"]["answer"] for o in k.outcomes()] == ['{"risk": 1}'] and len(box.calls) == 1


def test_what_is_no_json_is_kept_beside_the_answer(kit: Made) -> None:
    k = kit(box=service(Delivery(status="accepted", answer="<p>so sorry</p>")))
    k.publish(a_call())
    k.drain()
    [outcome] = k.outcomes()
    assert outcome["event"] == "Call Answered" and outcome["properties"]["detail"] == "<p>so sorry</p>"
    assert "answer" not in outcome["properties"]


def test_a_refused_call_has_failed_and_one_without_an_answer_is_tried_again(kit: Made) -> None:
    retry = Delivery(status="retry", detail="503")
    k = kit(box=service(retry, Delivery(status="failed", detail="422 no such customer")))
    k.publish(a_call())
    k.drain()
    assert k.state() == "ready" and k.outcomes() == []
    k.advance(10)
    k.drain()
    assert [(o["event"], o["properties"]["detail"]) for o in k.outcomes()] == [("Call Failed", "422 no such customer")]


def test_a_channel_that_takes_no_calls_gets_none(kit: Made) -> None:
    box = Told()
    k = kit(box=box)
    k.publish(a_call())
    k.drain()
    assert box.calls == [] and [o["event"] for o in k.outcomes()] == ["Call Failed"]
    assert "brings no answers" in k.detail()
