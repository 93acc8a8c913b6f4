"""kill -9 at each fault point of delivery, counted at a real receiver: a message is sent once, or not yet (and then
once), or visibly ambiguous; never twice, and never lost."""

from __future__ import annotations

import asyncio
import email
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.policy import default
from pathlib import Path

import msgspec
import pytest

from cadenza.adapters.mailbox import Mailbox
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from tests.adapters.receivers import http_server, mail_server
from tests.deliver.outbox_kit import an_outbox_message

ROOT = Path(__file__).parents[2]
IDS = [f"m-{n:02}" for n in range(12)]
POINTS = ["deliver.after_claim", "deliver.before_call", "deliver.after_call", "deliver.before_report"]


@contextmanager
def _receiver(adapter: str, folder: Path) -> Iterator[tuple[int, Callable[[], Counter[str]]]]:
    if adapter == "smtp":
        with mail_server() as (postmaster, port):
            yield (
                port,
                lambda: Counter(
                    str(email.message_from_bytes(content, policy=default)["Message-ID"])[1:].partition("@")[0]
                    for _, content in postmaster.received
                ),
            )
    elif adapter == "webhook":
        with http_server() as (posts, port):
            yield port, lambda: Counter(posts.ids())
    else:

        def stored() -> Counter[str]:
            box = Mailbox.open(folder / "mailbox.db")
            found = Counter(mail.message_id for mail in box.list(1000))
            asyncio.run(box.close())
            return found

        yield 0, stored


def _publish(folder: Path) -> None:
    outbox = SqliteOutbox.open(folder / "outbox.db")
    outbox.publish([an_outbox_message(message_id, destination="d", template_version="v") for message_id in IDS], [], 0)
    outbox.close()
    SqliteLog.open(folder / "log.db").close()


def _deliver(folder: Path, adapter: str, port: int, fault: str | None) -> int:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    environment.pop("CADENZA_FAULT", None)
    if fault:
        environment["CADENZA_FAULT"] = fault
    command = [sys.executable, str(Path(__file__).with_name("crash_child.py")), str(folder), adapter, str(port)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def _states(folder: Path) -> dict[str, str]:
    outbox = SqliteOutbox.open(folder / "outbox.db")
    states = {row.message.message_id: row.state for row in outbox.list(1000)}
    outbox.close()
    return states


def _reported(folder: Path) -> Counter[tuple[str, str]]:
    log = SqliteLog.open(folder / "log.db")
    bodies = [msgspec.json.decode(record.body) for record in log.read(0, 10_000)]
    log.close()
    return Counter((body["properties"]["message_id"], body["event"]) for body in bodies)


@pytest.mark.parametrize("adapter", ["smtp", "webhook", "mailbox"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_and_started_again(adapter: str, point: str, tmp_path: Path) -> None:
    # without idempotency key every message is a call of its own: kill in the middle of them
    passage = 5 if adapter == "smtp" and point in ("deliver.before_call", "deliver.after_call") else 1
    _publish(tmp_path)
    with _receiver(adapter, tmp_path) as (port, received):
        assert _deliver(tmp_path, adapter, port, f"{point}:{passage}:kill") == -signal.SIGKILL
        first = received()
        assert _deliver(tmp_path, adapter, port, None) == 0
        counted, states = received(), _states(tmp_path)
    assert set(states) == set(IDS), "nothing vanishes"
    assert set(states.values()) <= {"sent", "ambiguous"}
    for message_id, state in states.items():
        if adapter == "smtp":
            assert counted[message_id] <= 1, "never twice"
            assert state == "ambiguous" or counted[message_id] == 1
        else:
            assert state == "sent" and counted[message_id] >= 1
            assert adapter == "webhook" or counted[message_id] == 1, "the mailbox knows the id"
    if adapter == "smtp":
        ambiguous = sum(state == "ambiguous" for state in states.values())
        in_call = point in ("deliver.before_call", "deliver.after_call")
        assert (1 <= ambiguous <= 8) if in_call else ambiguous == 0
    if point in ("deliver.after_claim", "deliver.before_call") and adapter != "smtp":
        assert not first, "nothing had been handed over yet"
    ends = {"sent": "Message Sent", "ambiguous": "Message Ambiguous"}
    assert _reported(tmp_path) == Counter((message_id, ends[state]) for message_id, state in states.items())


def test_reported_but_not_marked_is_reported_once(tmp_path: Path) -> None:
    """A crash between the append and the mark: the same record is offered again and the log knows its id."""
    _publish(tmp_path)
    with _receiver("mailbox", tmp_path) as (port, _):
        _deliver(tmp_path, "mailbox", port, None)
        outbox = SqliteOutbox.open(tmp_path / "outbox.db")
        outbox._connection.execute("UPDATE message SET reported = 0")
        outbox.close()
        _deliver(tmp_path, "mailbox", port, None)
    assert _reported(tmp_path) == Counter((message_id, "Message Sent") for message_id in IDS)
