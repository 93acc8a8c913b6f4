"""Records, duplicates, corrections, replays, drops and new contracts in any order: everything stays accounted for."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cadenza.errors import StateError
from tests.operate.orders import Shop, order

IDS = st.sampled_from(["a", "b", "c", "d", None])
REVENUES = st.sampled_from([-50, -5, 1, 2, "much"])


class QuarantineMachine(RuleBasedStateMachine):
    """The quarantine of a shop; what a plain model knows is checked after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.shop = Shop(self.folder / "log.db")
        self.received = 0
        self.originals: dict[int, bytes] = {}
        self.ended: dict[int, str] = {}

    def teardown(self) -> None:
        self.shop.log.close()
        shutil.rmtree(self.folder)

    @rule(
        calls=st.lists(st.tuples(IDS, REVENUES, st.booleans()), min_size=1, max_size=4),
        source=st.sampled_from(["web", "app"]),
    )
    def send(self, calls: list, source: str) -> None:
        self.shop.send(
            *(order(i, r) if whole else {"type": "track", "messageId": i} for i, r, whole in calls), source=source
        )
        self.received += len(calls)

    @rule(n=st.integers(1, 12), revenue=REVENUES, new_id=st.sampled_from([None, "a", "z"]))
    def fix(self, n: int, revenue: object, new_id: str | None) -> None:
        if n > self.shop.log.quarantined.last_id():
            return
        put = {"properties.revenue": revenue, "event": "Order"} | ({"messageId": new_id} if new_id else {})
        try:
            self.shop.quarantine.fix(n, "ann", put={path: json.dumps(value).encode() for path, value in put.items()})
        except StateError:
            assert n in self.ended

    @rule(some=st.one_of(st.none(), st.lists(st.integers(1, 6), max_size=4)))
    def replay(self, some: list[int] | None) -> None:
        ids = None if some is None else [n for n in some if n <= self.shop.log.quarantined.last_id()]
        told = self.shop.quarantine.replay("ann", ids)
        for result in told.results:
            if result.status in ("stored", "duplicate"):
                assert result.id not in self.ended, "what left does not leave again"
        again = self.shop.quarantine.replay("ann", ids)
        assert (again.stored, again.duplicate) == (0, 0), "twice is once"

    @rule(n=st.integers(1, 12))
    def drop(self, n: int) -> None:
        if n > self.shop.log.quarantined.last_id():
            return
        try:
            dropped = self.shop.quarantine.drop([n], "no use", "bob")
            assert bool(dropped) is (n not in self.ended)
        except StateError:
            assert self.ended[n] in ("stored", "duplicate")

    @rule(least=st.sampled_from([-100, -10, 0]))
    def deploy(self, least: float) -> None:
        self.shop.want(least)

    @rule()
    def reopen(self) -> None:
        self.shop.reopen()

    @rule()
    def wait(self) -> None:
        self.shop.later(40)

    @invariant()
    def everything_is_accounted_for(self) -> None:
        self.shop.conserved()
        counts = self.shop.log.stored_counts()
        assert counts.received == self.received
        names = [name for name, _ in self.shop.stored()]
        assert len(names) == len(set(names)), "an id is in the log once"
        rows = self.shop.log.quarantined.list(1_000)
        by_offset = {r.offset: r for r in self.shop.log.read(0, 10_000)}
        for row in rows:
            assert self.originals.setdefault(row.id, row.body) == row.body, "the original is never touched"
            if row.id in self.ended:
                assert row.state == self.ended[row.id], "an end is an end"
            elif row.state != "resting":
                self.ended[row.id] = row.state
                assert self.shop.log.quarantined.history(row.id)[-1].action == row.state
            if row.state in ("stored", "duplicate"):
                assert row.log_offset in by_offset
        assert len(rows) == self.shop.log.quarantined.last_id(), "nothing vanishes"
        entered = sum(n for _, outcome, _, n in self.shop.log.tallies.entries() if outcome == "entered")
        assert entered == len(rows)


TestQuarantineStates = QuarantineMachine.TestCase
TestQuarantineStates.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
