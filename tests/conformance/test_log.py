"""What every log must do, whatever it is made of. A new implementation subclasses ``LogConformance``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cadenza.errors import LedgerError
from cadenza.ledger.log import SqliteLog
from cadenza.ports.ledger import Appended, Head, NewRecord, Refused

NOW = 1_800_000_000_000_000


def record(message_id: str, at: int | None = None, kind: Any = "call", source: str = "web", **fields: Any) -> NewRecord:
    body = json.dumps({"type": "track", "event": "E", "occurred_at": 1} | fields).encode()
    return NewRecord(kind=kind, source=source, message_id=message_id, body=body, at=at, imported=at is not None)


def refused(message_id: str | None = "bad", reason: str = "type", body: bytes = b"{}", source: str = "web") -> Refused:
    return Refused(source=source, reason=reason, detail="why", body=body, message_id=message_id)


class LogConformance:
    """The suite. ``open`` opens the same log again, as another process would."""

    def open(self, place: Path) -> Any:
        raise NotImplementedError

    @pytest.fixture
    def place(self, tmp_path):
        return tmp_path / "log.db"

    @pytest.fixture
    def log(self, place):
        log = self.open(place)
        yield log
        log.close()

    def test_an_empty_log(self, log):
        assert log.head() == Head(0, 0)
        assert log.read(0, 10) == []
        assert log.append([], NOW) == []

    def test_records_come_back_as_they_were_in_order(self, log):
        given_records = [
            record("a", x=1),
            record("b", kind="outcome", source="delivery"),
            record("c", text="é\n漢 \x00"),
        ]
        assert log.append(given_records, NOW) == [Appended("stored", n) for n in (1, 2, 3)]
        found = log.read(0, 10)
        assert [(r.offset, r.kind, r.source, r.message_id, r.imported, r.body) for r in found] == [
            (n, r.kind, r.source, r.message_id, False, r.body) for n, r in enumerate(given_records, 1)
        ]
        assert log.head() == Head(3, found[-1].recorded_at)

    def test_read_goes_on_where_it_is_told_to(self, log):
        for start in range(0, 30, 3):
            log.append([record(f"m{start + i}") for i in range(3)], NOW + start)
        assert [r.offset for r in log.read(4, 5)] == [5, 6, 7, 8, 9]
        assert [r.offset for r in log.read(28, 5)] == [29, 30]
        assert log.read(30, 5) == []

    def test_recorded_at_strictly_increases_though_the_clock_goes_back(self, log):
        log.append([record("a"), record("b")], NOW)
        log.append([record("c")], NOW - 5_000_000)
        times = [r.recorded_at for r in log.read(0, 10)]
        assert times[0] == NOW
        assert times == sorted(set(times))

    def test_imports_are_recorded_at_their_instant_raised_where_needed(self, log):
        log.append([record("a", at=1000), record("b", at=1000), record("c", at=500), record("d", at=9000)], NOW)
        assert [(r.recorded_at, r.imported) for r in log.read(0, 10)] == [
            (1000, True),
            (1001, True),
            (1002, True),
            (9000, True),
        ]

    def test_the_same_id_again_is_a_duplicate_of_the_first(self, log):
        log.append([record("a", x=1), record("b")], NOW)
        assert log.append([record("a", x=1)], NOW) == [Appended("duplicate", 1)]
        assert log.head().offset == 2

    def test_duplicates_within_one_append(self, log):
        answers = log.append([record("a"), record("b"), record("a"), record("c"), record("c")], NOW)
        assert answers == [
            Appended("stored", 1), Appended("stored", 2), Appended("duplicate", 1), Appended("stored", 3), Appended("duplicate", 3),
        ]  # fmt: skip
        assert [r.message_id for r in log.read(0, 10)] == ["a", "b", "c"]

    def test_a_retry_may_move_occurred_at_and_context(self, log):
        log.append([record("a", occurred_at=1, context={"try": 1}, x=1)], NOW)
        assert log.append([record("a", occurred_at=2, context={"try": 2}, x=1)], NOW)[0].status == "duplicate"

    @pytest.mark.parametrize("other", [{"x": 2}, {"x": 1.0}, {"x": True}, {"x": 1, "y": 1}, {}])
    def test_the_same_id_with_another_payload_is_a_conflict_kept_in_quarantine(self, log, other):
        log.append([record("a", x=1)], NOW)
        assert log.append([record("a", **other)], NOW) == [Appended("conflict", 1)]
        [kept] = log.quarantine_list(10)
        assert (kept.reason, kept.message_id, kept.body) == ("conflict", "a", record("a", **other).body)
        assert [r.body for r in log.read(0, 10)] == [record("a", x=1).body]

    def test_an_id_of_another_kind_is_a_conflict(self, log):
        log.append([record("a")], NOW)
        assert log.append([record("a", kind="outcome")], NOW)[0].status == "conflict"

    def test_ids_are_remembered_by_the_next_process(self, log, place):
        log.append([record(f"m{n}") for n in range(50)], NOW)
        again = self.open(place)
        assert {a.status for a in again.append([record(f"m{n}") for n in range(50)], NOW)} == {"duplicate"}
        again.close()

    def test_two_processes_share_order_and_ids(self, log, place):
        other = self.open(place)
        for n in range(10):
            assert (log if n % 2 else other).append([record(f"m{n}"), record("shared")], NOW - n)[0].status == "stored"
        assert log.append([record("m4")], NOW)[0] == Appended("duplicate", 6)
        found = other.read(0, 100)
        assert [r.offset for r in found] == list(range(1, 12))
        times = [r.recorded_at for r in found]
        assert times == sorted(set(times))
        other.close()

    def test_a_fence_is_a_promise_to_all_processes(self, log, place):
        other = self.open(place)
        log.append([record("a")], NOW)
        fence = log.fence(NOW + 1000)
        assert fence >= NOW + 1000
        other.append([record("b")], NOW)
        assert log.read(1, 1)[0].recorded_at > fence
        assert log.fence(NOW) >= log.head().recorded_at, "a fence never goes back"
        other.close()

    def test_a_fence_does_not_move_the_head(self, log):
        log.append([record("a")], NOW)
        head = log.head()
        log.fence(NOW + 1000)
        assert log.head() == head

    def test_refused_records_are_kept_with_their_reason_and_counted(self, log):
        log.quarantine(
            [refused("1"), refused("2", "size"), refused("3", source="app"), refused(None), refused(None)], NOW
        )
        assert log.quarantine_counts() == {("app", "type"): 1, ("web", "size"): 1, ("web", "type"): 3}
        assert [q.message_id for q in log.quarantine_list(10)] == [None, None, "3", "2", "1"]
        assert [q.message_id for q in log.quarantine_list(10, source="web", reason="size")] == ["2"]
        assert len(log.quarantine_list(2)) == 2
        assert log.quarantine_list(1, source="app")[0].at == NOW

    def test_a_refusal_sent_again_is_kept_once(self, log):
        log.quarantine([refused("1")], NOW)
        log.quarantine([refused("1"), refused("1", "other")], NOW)
        assert sum(log.quarantine_counts().values()) == 2
        assert log.stored_counts().duplicate == 1

    @pytest.mark.parametrize("message_id", ["", "x" * 101])
    def test_an_id_must_have_1_to_100_characters(self, log, message_id):
        with pytest.raises(LedgerError, match="1 to 100"):
            log.append([record("fine"), record(message_id)], NOW)
        assert log.head().offset == 0

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(
            st.tuples(
                st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1), st.booleans()), max_size=6),
                st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=3),
                st.booleans(),
            ),
            max_size=8,
        )
    )
    def test_what_came_in_is_what_is_accounted_for(self, tmp_path_factory, steps):
        """Received = stored + duplicate + quarantined + rejected, and it agrees with a plain dictionary."""
        place = tmp_path_factory.mktemp("log") / "log.db"
        log, model, received = self.open(place), {}, 0
        for records, bad, reopen in steps:
            new = [record(f"m{i}", x=x, source="a" if left else "b") for i, x, left in records]
            for item, answer in zip(new, log.append(new, NOW), strict=True):
                if item.message_id not in model:
                    model[item.message_id] = (item.body, len(model) + 1)
                    expected = "stored"
                else:
                    expected = "duplicate" if model[item.message_id][0] == item.body else "conflict"
                assert answer == Appended(expected, model[item.message_id][1])
            log.quarantine([refused(f"q{i}" if named else None) for i, named in bad], NOW)
            received += len(records) + len(bad)
            if reopen:
                log.close()
                log = self.open(place)
        counts = log.stored_counts()
        assert counts.received == received == counts.stored + counts.duplicate + counts.quarantined + counts.rejected
        assert counts.stored == len(model) == log.head().offset
        assert counts.quarantined == sum(log.quarantine_counts().values())
        assert [(r.message_id, r.body) for r in log.read(0, 1000)] == [(i, b) for i, (b, _) in model.items()]
        by_source = log.source_counts().values()
        assert sum(c.received for c in by_source) == received
        log.close()


class TestSqliteLog(LogConformance):
    def open(self, place):
        return SqliteLog.open(place)
