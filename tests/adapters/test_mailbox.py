"""The development mailbox keeps what it is given, once, and finds it again."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import datetime
from pathlib import Path

import pytest

from cadenza.adapters.mailbox import Mailbox
from cadenza.clock import VirtualClock, to_micros
from cadenza.errors import OperatingError
from tests.adapters.receivers import a_message, sent

NOW = datetime(2026, 1, 2, 3, 4, 5)


def test_a_repeat_is_stored_once_and_the_first_stays(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "mailbox.db"
    sent(Mailbox.open(path, VirtualClock(NOW)), a_message("m", subject="first"), a_message("n"))
    sent(Mailbox.open(path, VirtualClock(NOW)), a_message("m", subject="second"))
    box = Mailbox.open(path)
    assert box.count() == 2
    mail = box.get("m")
    assert mail is not None and mail.subject == "first"
    assert mail.received_at == to_micros(NOW)
    assert mail.html == "<p>Hello <b>Anna</b></p>"
    assert box.get("unknown") is None
    asyncio.run(box.close())


def test_newest_first_by_pages(tmp_path: Path) -> None:
    path = tmp_path / "mailbox.db"
    sent(Mailbox.open(path), *(a_message(f"m{n}") for n in range(5)))
    box = Mailbox.open(path)
    assert [mail.message_id for mail in box.list(2)] == ["m4", "m3"]
    assert [mail.message_id for mail in box.list(2, offset=4)] == ["m0"]
    asyncio.run(box.close())


def test_search_takes_its_words_literally(tmp_path: Path) -> None:
    path = tmp_path / "mailbox.db"
    sent(
        Mailbox.open(path),
        a_message("a", subject="50% off"), a_message("b", subject="500 off"), a_message("c", address="Bo_b@x.example"),
    )  # fmt: skip
    box = Mailbox.open(path)
    assert [mail.message_id for mail in box.search("50%")] == ["a"]
    assert [mail.message_id for mail in box.search("bo_B")] == ["c"]
    assert [mail.message_id for mail in box.search("'; DROP TABLE mail; --")] == []
    asyncio.run(box.close())


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mailbox.db"
    path.write_bytes(b"this is not a database, it is a text of some length" * 100)
    with pytest.raises(OperatingError, match=r"mailbox\.db"):
        Mailbox.open(path)


def test_a_mailbox_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "mailbox.db"
    box = Mailbox.open(path)
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE mail")
    other.close()
    assert [answer.status for answer in sent(box, a_message())] == ["retry"]
