"""What every channel adapter owes its callers, against real receivers."""

from __future__ import annotations

import asyncio
import email
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.policy import default
from pathlib import Path

import msgspec
import pytest

from cadenza.adapters import ADAPTERS, open_channel
from cadenza.adapters.mailbox import Mailbox
from cadenza.definitions.kinds import Destination
from cadenza.ports.channel import Channel
from tests.adapters.receivers import a_message, closed_port, http_server, mail_server, sent


class Bench:
    """A channel with its receiver: ``ids()`` are the message ids the receiver holds."""

    def __init__(self, open_: Callable[[], Channel], ids: Callable[[], list[str]]) -> None:
        self.open, self.ids = open_, ids


def _destination(adapter: str, **settings: object) -> Destination:
    return Destination(name="d", channel="email", adapter=adapter, settings=settings)  # type: ignore[arg-type]


@contextmanager
def _mailbox(tmp: Path) -> Iterator[Bench]:
    def ids() -> list[str]:
        box = Mailbox.open(tmp / "mailbox.db")
        found = [mail.message_id for mail in box.list()]
        asyncio.run(box.close())
        return found

    yield Bench(lambda: open_channel(_destination("mailbox"), tmp), ids)


@contextmanager
def _smtp(tmp: Path) -> Iterator[Bench]:
    with mail_server() as (postmaster, port):
        settings = {"host": "127.0.0.1", "port": port, "security": "none", "from": "Shop <shop@shop.example>"}

        def ids() -> list[str]:
            mails = [email.message_from_bytes(content, policy=default) for _, content in postmaster.received]
            return [str(mail["Message-ID"]).strip("<>").partition("@")[0] for mail in mails]

        yield Bench(lambda: open_channel(_destination("smtp", **settings), tmp), ids)


@contextmanager
def _webhook(tmp: Path) -> Iterator[Bench]:
    with http_server() as (posts, port):
        settings = {"url": f"http://127.0.0.1:{port}/in", "allow_private": True}
        yield Bench(lambda: open_channel(_destination("webhook", **settings), tmp), posts.ids)


BENCHES = {"mailbox": _mailbox, "smtp": _smtp, "webhook": _webhook}


@pytest.fixture(params=sorted(BENCHES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with BENCHES[request.param](tmp_path) as made:
        yield made


def test_every_adapter_is_tried_here() -> None:
    assert set(BENCHES) == set(ADAPTERS)


def test_takes_a_batch_and_answers_each_in_order(bench: Bench) -> None:
    answers = sent(bench.open(), *(a_message(f"m-{n}") for n in range(5)))
    assert [answer.status for answer in answers] == ["accepted"] * 5
    assert sorted(bench.ids()) == [f"m-{n}" for n in range(5)]


def test_an_empty_batch_is_nothing(bench: Bench) -> None:
    assert sent(bench.open()) == []
    assert bench.ids() == []


def test_text_only_and_any_script(bench: Bench) -> None:
    answers = sent(bench.open(), a_message("t", html=None, text="Ünïcode\n.\r\n.line\n漢字", subject="漢字 " * 40))
    assert [answer.status for answer in answers] == ["accepted"]
    assert bench.ids() == ["t"]


def test_two_sends_at_once(bench: Bench) -> None:
    async def go() -> list[str]:
        channel = bench.open()
        try:
            both = await asyncio.gather(channel.send([a_message("a")]), channel.send([a_message("b")]))
        finally:
            await channel.close()
        return [answer.status for answers in both for answer in answers]

    assert asyncio.run(go()) == ["accepted", "accepted"]
    assert sorted(bench.ids()) == ["a", "b"]


def test_a_repeat_is_known_by_its_id(bench: Bench) -> None:
    """``idempotent`` is a promise about the id: the receiver is handed the same one again."""
    for _ in range(2):
        sent(bench.open(), a_message("same"))
    assert set(bench.ids()) == {"same"}


def test_says_whether_it_may_be_repeated(bench: Bench) -> None:
    channel = bench.open()
    assert isinstance(channel.idempotent, bool)
    sent(channel)


def test_the_message_is_not_changed(bench: Bench) -> None:
    message = a_message("m")
    before = msgspec.json.encode(message)
    sent(bench.open(), message)
    assert msgspec.json.encode(message) == before


@pytest.mark.parametrize("adapter", ["smtp", "webhook"])
def test_nobody_there_is_tried_again_later(adapter: str, tmp_path: Path) -> None:
    port = closed_port()
    settings = {
        "smtp": {"host": "127.0.0.1", "port": port, "security": "none", "from": "s@shop.example"},
        "webhook": {"url": f"http://127.0.0.1:{port}/", "allow_private": True},
    }[adapter]
    answers = sent(open_channel(_destination(adapter, **settings), tmp_path), a_message())
    assert [answer.status for answer in answers] == ["retry"]
    assert "not sent" in answers[0].detail
