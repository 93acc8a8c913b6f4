"""Golden histories: logs that were recorded once, with the decisions they led to then. Every later release replays them
to the same decisions, or it would decide again what is long decided when somebody rebuilds a store.

A file is JSON lines: ``record`` (as in a log), ``horizon`` (µs, up to which timers run), ``decision`` (a table of
``observe`` and one of its rows). A release adds files, ``CADENZA_HISTORY=NAME:SEED pytest tests/histories`` writes one; none
is ever changed. Tables that are younger than a file are not in it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cadenza.clock import from_micros, iso
from cadenza.ports.ledger import Record
from cadenza.runtime.deploy import DeployBody
from cadenza.simulate.worlds import seeded
from tests.simulation.engine import run_engine

FOLDER = Path(__file__).parent / "golden"
FILES = sorted(FOLDER.glob("*.jsonl"))


class History(msgspec.Struct, frozen=True):
    """A recorded log and what it led to: (table, row) -> how often."""

    records: list[Record]
    horizon: int
    decisions: Counter[str]


def written(records: list[Record], horizon: int, decisions: Counter[str]) -> Iterator[bytes]:
    """The lines of a file."""
    for record in records:
        kept = {name: value for name, value in msgspec.structs.asdict(record).items() if name != "body"}
        yield msgspec.json.encode({"record": kept | {"body": record.body.decode()}})
    yield msgspec.json.encode({"horizon": horizon})
    for decision in sorted(decisions.elements()):
        yield b'{"decision":' + decision.encode() + b"}"


def read(path: Path) -> History:
    """A file of the folder."""
    records, horizon, decisions = [], 0, Counter[str]()
    for line in path.read_bytes().splitlines():
        said = msgspec.json.decode(line)
        if "record" in said:
            records.append(Record(**{**said["record"], "body": said["record"]["body"].encode()}))
        elif "horizon" in said:
            horizon = said["horizon"]
        else:
            decisions[msgspec.json.encode(said["decision"]).decode()] += 1
    return History(records, horizon, decisions)


def decided(records: list[Record], horizon: int, batches: tuple[int, ...] = (1_000,)) -> Counter[str]:
    """What the engine decides now."""
    deployed = [r.body for r in records if r.kind == "deploy"][-1]
    project = msgspec.json.decode(deployed, type=DeployBody).project
    rows = run_engine(project, records, batches, False, from_micros(horizon))
    return Counter(
        msgspec.json.encode([table, *(_plain(value) for value in row)]).decode()
        for table, found in rows.items()
        for row in found
    )


def _plain(value: Any) -> Any:
    return iso(value) if hasattr(value, "isoformat") else value


def test_a_history_is_written_when_asked() -> None:
    """Not run without the variable; a file that is there stays as it is."""
    asked = os.environ.get("CADENZA_HISTORY")
    if not asked:
        return
    name, _, seed = asked.partition(":")
    path = FOLDER / f"{name}.jsonl"
    assert not path.exists(), "a recorded history is never changed; give another name"
    world = seeded(int(seed), 40)
    records = list(world.records)
    path.write_bytes(b"\n".join(written(records, world.horizon, decided(records, world.horizon))) + b"\n")


def test_there_are_histories_that_tell_something() -> None:
    tables = Counter(msgspec.json.decode(d)[0] for path in FILES for d in read(path).decisions)
    assert len(FILES) >= 3
    for table in ("enrollments", "ends", "transitions", "refusals", "decisions", "messages", "memberships"):
        assert tables[table] >= 3, table


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_it_is_decided_as_it_was(path: Path) -> None:
    history = read(path)
    known = {msgspec.json.decode(d)[0] for d in history.decisions}
    now = decided(history.records, history.horizon, (37,))
    found = Counter({d: n for d, n in now.items() if msgspec.json.decode(d)[0] in known})
    lost, new = history.decisions - found, found - history.decisions
    assert not lost and not new, f"no longer decided: {sorted(lost)[:5]}\nnot decided then: {sorted(new)[:5]}"


def test_another_decision_is_noticed() -> None:
    """Half of a history is another one."""
    history = read(FILES[0])
    half = history.records[: len(history.records) // 2]
    assert decided(half, history.horizon) != history.decisions
