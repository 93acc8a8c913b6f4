"""What every outbox must do, whatever it is made of. A new implementation subclasses ``OutboxConformance``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cadenza.ledger.outbox import SqliteOutbox
from cadenza.ports.ledger import Cancellation, Gate, OutboxMessage

S = 1_000_000
NOW = 1_800_000_000 * S


def message(message_id: str, **fields: Any) -> OutboxMessage:
    base = OutboxMessage(
        message_id=message_id, person=1, journey="welcome", step="hello", channel="email", destination="mail",
        address="a@b.example", template="hello", template_version="1", message_class="marketing", purpose="marketing",
        context="{}", planned_at=NOW, deliverable=True,
    )  # fmt: skip
    return msgspec.structs.replace(base, **fields)


class OutboxConformance:
    """The suite. ``open`` opens the same outbox again, as another process would."""

    def open(self, place: Path) -> Any:
        raise NotImplementedError

    @pytest.fixture
    def place(self, tmp_path):
        return tmp_path / "outbox.db"

    @pytest.fixture
    def outbox(self, place):
        outbox = self.open(place)
        yield outbox
        outbox.close()

    def begun(self, outbox: Any, *ids: str, worker: str = "w", now: int = NOW, lease: int = 60 * S) -> None:
        outbox.claim(worker, now, lease, 100, 0)
        assert outbox.begin(list(ids), worker, now) == list(ids)

    def test_publishing_again_changes_nothing(self, outbox):
        outbox.publish([message("a"), message("b")], [], 7)
        outbox.publish([message("a", address="other@b.example"), message("c")], [], 5)
        assert outbox.counts() == {"ready": 3}
        assert outbox.get("a").message.address == "a@b.example"
        assert outbox.published_through() == 7, "it never goes back"

    @pytest.mark.parametrize("reach", [{}, {"journey": "welcome"}, {"channel": "email"}])
    def test_a_closed_gate_lets_nothing_out(self, outbox, reach):
        outbox.publish([message("a"), message("b"), message("c", planned_at=NOW + 9 * S)], [], 1)
        outbox.claim("w", NOW, S, 2, 0)
        assert outbox.begin(["a"], "w", NOW) == ["a"]
        [found] = outbox.gate([Gate(**reach, closed=True, offset=5)])
        assert (found.in_flight, found.claimed, found.ready) == (("a",), ("b",), 1)
        assert outbox.begin(["b"], "w", NOW) == []
        assert outbox.claim("w", NOW + 10 * S, S, 10, 0) == []
        outbox.gate([Gate(**reach, closed=False, offset=4)])
        assert outbox.claim("w", NOW + 10 * S, S, 10, 0) == [], "an earlier word opens nothing"
        outbox.gate([Gate(**reach, closed=False, offset=6)])
        assert [c.message.message_id for c in outbox.claim("w", NOW + 10 * S, S, 10, 0)] == ["c"]

    def test_a_gate_of_another_journey_or_channel_is_none(self, outbox):
        outbox.publish([message("a")], [], 1)
        outbox.gate([Gate(journey="other", closed=True, offset=2), Gate(channel="sms", closed=True, offset=3)])
        self.begun(outbox, "a")

    def test_replayed_messages_are_kept_and_never_handed_over(self, outbox):
        outbox.publish([message("a", deliverable=False)], [], 1)
        assert outbox.claim("w", NOW + 1000 * S, S, 10, 0) == []
        assert outbox.counts() == {"replayed": 1}
        assert outbox.unreported(10) == []

    def test_a_claim_is_exclusive_until_its_lease_runs_out(self, outbox, place):
        other = self.open(place)
        outbox.publish([message("a")], [], 1)
        [claimed] = outbox.claim("one", NOW, 10 * S, 10, 1)
        assert (claimed.message, claimed.attempt, claimed.lease_until, claimed.claim_head) == (
            message("a"),
            1,
            NOW + 10 * S,
            1,
        )
        assert other.claim("two", NOW, 10 * S, 10, 1) == []
        assert other.expire(NOW + 10 * S - 1) == 0
        assert other.expire(NOW + 10 * S) == 1
        [again] = other.claim("two", NOW + 10 * S, 10 * S, 10, 1)
        assert again.attempt == 1, "no call was made: that was no attempt"
        assert outbox.begin(["a"], "one", NOW + 10 * S) == [], "one lost its claim"
        assert other.begin(["a"], "two", NOW + 10 * S) == ["a"]
        other.close()

    def test_claims_come_transactional_first_then_oldest(self, outbox):
        outbox.publish(
            [message("late", planned_at=NOW), message("old", planned_at=NOW - 9), message("must", message_class="transactional"),
             message("future", planned_at=NOW + 1)], [], 1,
        )  # fmt: skip
        assert [c.message.message_id for c in outbox.claim("w", NOW, S, 2, 0)] == ["must", "old"]
        assert [c.message.message_id for c in outbox.claim("w", NOW, S, 9, 0)] == ["late"]

    def test_begin_waits_until_what_was_in_the_log_at_the_claim_is_decided(self, outbox):
        outbox.publish([message("a")], [], 4)
        outbox.claim("w", NOW, 60 * S, 10, 5)
        assert outbox.begin(["a"], "w", NOW) == []
        assert outbox.get("a").state == "claimed"
        outbox.publish([], [], 5)
        assert outbox.begin(["a"], "w", NOW) == ["a"]
        assert outbox.get("a").state == "in_flight"

    def test_begin_after_the_lease_is_refused(self, outbox):
        outbox.publish([message("a")], [], 1)
        outbox.claim("w", NOW, S, 10, 0)
        assert outbox.begin(["a"], "w", NOW + S) == []

    def test_begin_of_what_was_never_claimed_is_refused(self, outbox):
        outbox.publish([message("a")], [], 1)
        assert outbox.begin(["a", "nothing"], "w", NOW) == []

    @pytest.mark.parametrize("claimed", [False, True])
    def test_a_cancelled_message_is_never_begun(self, outbox, claimed):
        outbox.publish([message("a")], [], 1)
        if claimed:
            outbox.claim("w", NOW, 60 * S, 10, 0)
        outbox.publish([], [Cancellation("a", "goal"), Cancellation("unknown", "goal")], 2)
        assert outbox.begin(["a"], "w", NOW) == []
        assert outbox.claim("w", NOW, S, 10, 0) == []
        assert (outbox.get("a").state, outbox.get("a").detail) == ("cancelled", "goal")
        assert outbox.unreported(10) == []

    def test_publishing_and_cancelling_in_one_go(self, outbox):
        outbox.publish([message("a")], [Cancellation("a", "goal")], 1)
        assert outbox.counts() == {"cancelled": 1}

    def test_a_message_in_flight_cannot_be_called_back_but_is_not_tried_again(self, outbox):
        outbox.publish([message("a"), message("b")], [], 1)
        self.begun(outbox, "a", "b")
        outbox.publish([], [Cancellation("a", "goal"), Cancellation("b", "goal")], 2)
        outbox.finish("a", "w", "sent", NOW + 1, None, "250 ok")
        outbox.finish("b", "w", "ready", NOW + 1, NOW + S, "451 later")
        assert (outbox.get("a").state, outbox.get("a").detail) == ("sent", "250 ok")
        assert (outbox.get("b").state, outbox.get("b").detail) == ("cancelled", "goal")

    def test_a_retry_waits_and_counts(self, outbox):
        outbox.publish([message("a")], [], 1)
        self.begun(outbox, "a")
        outbox.finish("a", "w", "ready", NOW + 1, NOW + 5 * S, "451 later")
        assert outbox.claim("w", NOW + 5 * S - 1, S, 10, 0) == []
        assert outbox.claim("w", NOW + 5 * S, S, 10, 0)[0].attempt == 2

    def test_a_worker_that_died_in_the_call_leaves_ambiguous(self, outbox):
        outbox.publish([message("a"), message("b", destination="hook")], [], 1)
        self.begun(outbox, "a", "b", lease=S)
        assert outbox.expire(NOW + S, {"hook"}) == 2
        assert outbox.get("a").state == "ambiguous"
        assert [c.message.message_id for c in outbox.claim("x", NOW + S, S, 10, 0)] == ["b"], (
            "b's provider knows the id"
        )
        assert [(i, s) for i, s, _, _ in outbox.unreported(10)] == [("a", "ambiguous")]

    def test_a_late_answer_settles_what_was_ambiguous(self, outbox):
        outbox.publish([message("a")], [], 1)
        self.begun(outbox, "a", lease=S)
        outbox.expire(NOW + S)
        assert [row[1] for row in outbox.unreported(10)] == ["ambiguous"]
        outbox.finish("a", "w", "sent", NOW + 2 * S, None, "250 ok")
        outbox.reported(["a"])
        assert [row[1:] for row in outbox.unreported(10)] == [("sent", "250 ok", NOW + 2 * S)], (
            "only ambiguous was reported"
        )
        outbox.reported(["a"])
        assert outbox.unreported(10) == []

    def test_an_answer_of_another_worker_is_ignored(self, outbox):
        outbox.publish([message("a")], [], 1)
        self.begun(outbox, "a", worker="one")
        outbox.finish("a", "two", "failed", NOW, None, "no")
        assert outbox.get("a").state == "in_flight"

    def test_an_end_is_an_end(self, outbox):
        outbox.publish([message("a")], [], 1)
        self.begun(outbox, "a")
        outbox.finish("a", "w", "sent", NOW, None, "ok")
        outbox.finish("a", "w", "failed", NOW, None, "late")
        outbox.publish([message("a")], [Cancellation("a", "goal")], 2)
        assert outbox.expire(NOW + 999 * S) == 0
        assert (outbox.get("a").state, outbox.get("a").detail) == ("sent", "ok")

    def test_reports_are_given_until_they_are_confirmed(self, outbox, place):
        outbox.publish([message("a"), message("b")], [], 1)
        self.begun(outbox, "a", "b")
        outbox.finish("b", "w", "failed", NOW + 1, None, "550 no such user")
        outbox.finish("a", "w", "sent", NOW + 2, None, "ok")
        assert outbox.unreported(10) == [("b", "failed", "550 no such user", NOW + 1), ("a", "sent", "ok", NOW + 2)]
        assert len(outbox.unreported(1)) == 1
        outbox.reported(["b"])
        other = self.open(place)
        assert [row[0] for row in other.unreported(10)] == ["a"]
        other.close()

    def test_listing(self, outbox):
        outbox.publish(
            [message("a", planned_at=1), message("b", person=2, planned_at=2), message("c", journey="x", planned_at=3)],
            [],
            1,
        )
        assert [r.message.message_id for r in outbox.list()] == ["c", "b", "a"]
        assert [r.message.message_id for r in outbox.list(person=2)] == ["b"]
        assert [r.message.message_id for r in outbox.list(limit=1, journey="welcome", state="ready")] == ["b"]
        assert outbox.get("nothing") is None

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_no_message_is_called_twice_without_a_definite_answer_between(self, tmp_path_factory, data):
        """Random workers, crashes, cancellations: between two calls of one message there is always a ``ready`` that a
        worker reported, and every message ends in exactly one state."""
        outbox = self.open(tmp_path_factory.mktemp("outbox") / "outbox.db")
        ids = [f"m{i}" for i in range(4)]
        outbox.publish([message(i) for i in ids], [], 0)
        now, may_call, cancelled = NOW, dict.fromkeys(ids, True), set()
        steps = st.sampled_from(["claim", "begin", "sent", "failed", "ready", "expire", "cancel", "publish"])
        for step in data.draw(st.lists(steps, min_size=5, max_size=25)):
            now += data.draw(st.integers(0, 15)) * S
            worker, chosen = data.draw(st.sampled_from("xy")), data.draw(st.sampled_from(ids))
            if step == "claim":
                outbox.claim(worker, now, 10 * S, 2, 0)
            elif step == "begin":
                for begun in outbox.begin(ids, worker, now):
                    assert may_call[begun]
                    assert begun not in cancelled
                    may_call[begun] = False
            elif step in ("sent", "failed", "ready"):
                row = outbox.get(chosen)
                outbox.finish(chosen, worker, step, now, None, step)
                if step == "ready" and row.worker == worker and row.state in ("in_flight", "ambiguous"):
                    may_call[chosen] = True
            elif step == "expire":
                outbox.expire(now)
            elif step == "cancel":
                if outbox.get(chosen).state in ("ready", "claimed"):
                    cancelled.add(chosen)
                outbox.publish([], [Cancellation(chosen, "goal")], 0)
            else:
                outbox.publish([message(i) for i in ids], [], 0)
        assert sum(outbox.counts().values()) == len(ids)
        assert all(outbox.get(i).state == "cancelled" for i in cancelled)
        outbox.close()


class TestSqliteOutbox(OutboxConformance):
    def open(self, place):
        return SqliteOutbox.open(place)
