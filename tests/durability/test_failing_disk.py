"""A disk that fails under SQLite: what was acknowledged stays, what was not is refused with what to do, nothing is doubled.

Every plan breaks one call (or all from one on) of a run of the ledger, in the middle of its transactions and of its
checkpoints. The file is then looked at twice: as a process that dies there leaves it, and after the disk is well again."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cadenza.errors import LedgerError
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.ports.ledger import Cancellation, NewRecord
from tests.deliver.outbox_kit import START, an_outbox_message
from tests.durability.faulty_files import (
    FSYNC,
    FULL,
    READ,
    TRUNCATE,
    WRITE,
    FaultyFiles,
    NotPossible,
    Plan,
    faulty_files,
)
from tests.durability.test_snapshot import call

APPENDS = 24


@pytest.fixture(scope="module")
def disk() -> Iterator[FaultyFiles]:
    try:
        with faulty_files() as files:
            yield files
    except NotPossible as error:
        pytest.skip(f"a file layer under SQLite cannot be had here: {error}")


def spread(most: int, how_many: int) -> list[int]:
    """Numbers from 1 to ``most``, dense at the beginning."""
    return sorted({*range(1, min(4, most) + 1), *(1 + n * most // how_many for n in range(how_many))})


def plans(counted: dict[str, int], ends: str) -> Iterator[Plan]:
    for nth in spread(counted["write"], 14):
        yield Plan(call="write", nth=nth, ends=ends, code=FULL, forever=True)
        yield Plan(call="write", nth=nth, ends=ends, code=WRITE, short=True)
    for nth in spread(counted["sync"], 14):
        yield Plan(call="sync", nth=nth, ends=ends, code=FSYNC)
        yield Plan(call="sync", nth=nth, ends=ends, code=FSYNC, forever=True)
    for nth in spread(counted["truncate"], 3):
        yield Plan(call="truncate", nth=nth, ends=ends, code=TRUNCATE)


def attempt(work: Callable[[], object]) -> bool:
    """Whether it was acknowledged; a refusal says what to do."""
    try:
        work()
    except LedgerError as error:
        assert error.remedy and error.where, error
        return False
    return True


# --- the log ----------------------------------------------------------------------------------------------


def append_all(log: SqliteLog) -> list[str]:
    """Appends, with a checkpoint in between; the ids that were acknowledged."""
    acknowledged = []
    for n in range(APPENDS):
        large = NewRecord(kind="call", source="website", message_id=f"big{n}", body=b"y" * (3000 * (n % 4)))
        if attempt(lambda n=n, large=large: log.append([call(n), large], START + n)):
            acknowledged += [f"m{n}", f"big{n}"]
        if n % 7 == 6:
            with contextlib.suppress(Exception):
                log._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return acknowledged


def ids(log: SqliteLog) -> list[str]:
    return [record.message_id for record in log.read(0, 1000)]


def holds_what_was_acknowledged(found: list[str], acknowledged: list[str], plan: Plan) -> None:
    assert len(found) == len(set(found)), f"{plan}: twice"
    assert [i for i in found if i in set(acknowledged)] == acknowledged, f"{plan}: {found}"


def image(folder: Path, into: Path) -> Path:
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(folder, into)
    return into


def test_the_log(disk: FaultyFiles, tmp_path: Path) -> None:
    disk.calls.clear()
    with contextlib.closing(SqliteLog.open(tmp_path / "plain" / "log.db")) as log:
        assert len(append_all(log)) == APPENDS * 2
    failed = refused = 0
    for number, plan in enumerate(plans(dict(disk.calls), "")):
        folder = tmp_path / f"run{number}"
        log = SqliteLog.open(folder / "log.db")
        disk.break_(plan)
        acknowledged = append_all(log)
        killed = image(folder, tmp_path / "killed")
        failed += disk.heal()
        refused += len(acknowledged) < APPENDS * 2
        with contextlib.closing(SqliteLog.open(killed / "log.db")) as left:
            holds_what_was_acknowledged(ids(left), acknowledged, plan)
        # The same process goes on once the disk is well; what was refused may be sent again.
        log.append([call(n) for n in range(APPENDS)], START + 1000)
        log.close()
        with contextlib.closing(SqliteLog.open(folder / "log.db")) as again:
            holds_what_was_acknowledged(ids(again), acknowledged, plan)
            assert {f"m{n}" for n in range(APPENDS)} <= set(ids(again))
            counted = again.tallies.total()
            assert counted.conserved and counted.stored == len(ids(again)), plan
        shutil.rmtree(folder)
    assert failed > 40 and refused > 30, "the plans come to something"


def test_a_log_that_cannot_be_read_says_so(disk: FaultyFiles, tmp_path: Path) -> None:
    with contextlib.closing(SqliteLog.open(tmp_path / "log.db")) as log:
        whole = append_all(log)
    for nth in range(1, 12):
        disk.break_(Plan(call="read", nth=nth, ends="log.db", code=READ))
        try:
            with contextlib.closing(SqliteLog.open(tmp_path / "log.db")) as log:
                assert ids(log) == whole
        except LedgerError as error:
            assert error.remedy
        disk.heal()
    with contextlib.closing(SqliteLog.open(tmp_path / "log.db")) as log:
        assert ids(log) == whole


# --- the outbox -------------------------------------------------------------------------------------------

MESSAGES = 12


class Told:
    """What the outbox acknowledged."""

    def __init__(self) -> None:
        self.published: set[str] = set()
        self.begun: set[str] = set()
        self.asked_to_begin: set[str] = set()
        self.finished: set[str] = set()
        self.cancelled: set[str] = set()


def deliver_all(outbox: SqliteOutbox) -> Told:
    """Messages through their whole life, two at a time."""
    told = Told()
    for n in range(0, MESSAGES, 2):
        pair = [f"x{n}", f"x{n + 1}"]
        messages = [an_outbox_message(i, context='{"a":"' + "z" * 2000 + '"}') for i in pair]
        if attempt(lambda m=messages, n=n: outbox.publish(m, [], n + 1)):
            told.published |= set(pair)
        withdrawn = [Cancellation(f"x{n}", "goal")] if n % 4 == 0 else []
        if withdrawn and attempt(lambda w=withdrawn, n=n: outbox.publish([], w, n + 1)):
            told.cancelled |= {f"x{n}"} & told.published
        claimed: list[str] = []
        attempt(lambda c=claimed: c.extend(i.message.message_id for i in outbox.claim("w", START + 1, 10**9, 10, 0)))
        told.asked_to_begin |= set(claimed)
        begun: list[str] = []
        attempt(lambda c=claimed, b=begun: b.extend(outbox.begin(c, "w", START + 2)))
        told.begun |= set(begun)
        for i in begun:
            if attempt(lambda i=i: outbox.finish(i, "w", "sent", START + 3, None, "ok")):
                told.finished.add(i)
    return told


def states(outbox: SqliteOutbox) -> dict[str, str]:
    return {row.message.message_id: row.state for row in outbox.list(1000)}


def holds_what_was_told(found: dict[str, str], told: Told, plan: Plan) -> None:
    assert told.published <= set(found), f"{plan}: a message is gone"
    for i in told.begun:
        assert found[i] in ("in_flight", "sent"), f"{plan}: {i} was begun and is {found[i]}: it would be sent twice"
    for i in told.finished:
        assert found[i] == "sent", plan
    for i in told.cancelled:
        assert found[i] == "cancelled", f"{plan}: {i} was withdrawn and is {found[i]}"
    for i, state in found.items():
        begun_or_not_told = i in told.asked_to_begin
        assert state in ("ready", "claimed", "cancelled", "replayed") or begun_or_not_told, f"{plan}: {i} is {state}"


def test_the_outbox(disk: FaultyFiles, tmp_path: Path) -> None:
    disk.calls.clear()
    with contextlib.closing(SqliteOutbox.open(tmp_path / "plain" / "outbox.db")) as outbox:
        told = deliver_all(outbox)
        assert len(told.finished) + len(told.cancelled) == MESSAGES
    failed = 0
    for number, plan in enumerate(plans(dict(disk.calls), "")):
        folder = tmp_path / f"run{number}"
        outbox = SqliteOutbox.open(folder / "outbox.db")
        disk.break_(plan)
        told = deliver_all(outbox)
        killed = image(folder, tmp_path / "killed")
        failed += disk.heal()
        with contextlib.closing(SqliteOutbox.open(killed / "outbox.db")) as left:
            holds_what_was_told(states(left), told, plan)
        # What the tick did not get through it publishes again; then it is all there, once.
        everything = [an_outbox_message(f"x{n}", context="{}") for n in range(MESSAGES)]
        outbox.publish(everything, [], MESSAGES + 1)
        holds_what_was_told(states(outbox), told, plan)
        assert len(states(outbox)) == MESSAGES
        outbox.close()
        shutil.rmtree(folder)
    assert failed > 40, "the plans come to something"


def test_a_flipped_byte_in_the_outbox_is_never_a_wrong_message(tmp_path: Path) -> None:
    """Whatever byte of the file is wrong: a message is handed over as it was published, or not at all and that is said."""
    source = tmp_path / "made"
    published = {f"x{n}": an_outbox_message(f"x{n}", address=f"anna{n}@shop.example") for n in range(3)}
    with contextlib.closing(SqliteOutbox.open(source / "outbox.db")) as outbox:
        outbox.publish(list(published.values()), [], 1)
        outbox._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = (source / "outbox.db").read_bytes()
    noticed = quiet = 0
    for at in range(0, len(content), len(content) // 300 | 1):
        spoilt = bytearray(content)
        spoilt[at] ^= 0x01
        folder = tmp_path / "spoilt"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "outbox.db").write_bytes(spoilt)
        try:
            with contextlib.closing(SqliteOutbox.open(folder / "outbox.db")) as outbox:
                told = outbox.check() + outbox.damaged(10)
                claimed = [item.message for item in outbox.claim("w", START + 1, 10**9, 10, 0)]
        except LedgerError as error:
            assert error.remedy
            noticed += 1
            continue
        for message in claimed:
            assert message == published[message.message_id], f"byte {at}"
        assert told or len(claimed) == len(published), f"byte {at}: {len(claimed)} messages, without a word"
        noticed, quiet = noticed + bool(told), quiet + (not told)
    assert noticed > 5 and quiet > 50, (noticed, quiet)
