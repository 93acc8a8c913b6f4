"""E-mail against a real SMTP server: what is sent, and what each failure is called."""

from __future__ import annotations

import asyncio
import email
import ssl
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from cadenza.adapters.smtp import SmtpChannel
from cadenza.definitions.kinds import Destination
from tests.adapters.certificate import certificate
from tests.adapters.receivers import a_message, mail_server, sent


def channel(port: int, **settings: Any) -> SmtpChannel:
    given = {"host": "127.0.0.1", "port": port, "security": "none", "from": "Shop <shop@shop.example>", "timeout_s": 5}
    return SmtpChannel.open(Destination(name="d", channel="email", adapter="smtp", settings={**given, **settings}))


def parsed(content: bytes) -> EmailMessage:
    return email.message_from_bytes(content, policy=default)  # type: ignore[return-value]


def test_a_mail_with_both_parts_and_one_click_unsubscribe() -> None:
    link = "https://shop.example/unsubscribe?token=" + "x" * 180
    headers = {"List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    with mail_server() as (postmaster, port):
        answers = sent(channel(port, reply_to="help@shop.example"), a_message("00ff-1", headers=headers))
    assert answers[0].status == "accepted"
    recipient, content = postmaster.received[0]
    mail = parsed(content)
    assert recipient == "anna@shop.example"
    assert mail["Message-ID"] == "<00ff-1@shop.example>"
    assert mail["From"] == "Shop <shop@shop.example>" and mail["To"] == "anna@shop.example"
    assert mail["Subject"] == "Grüße, Anna" and mail["Reply-To"] == "help@shop.example"
    assert mail["Date"] == "Fri, 02 Jan 2026 03:04:05 -0000"
    assert f"List-Unsubscribe: <{link}>".encode() in content, "an unsubscribe link must not be folded or encoded"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mail.get_body(("plain",)).get_content().strip() == "Hello Anna"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("address", "status", "detail"),
    [
        ("refuse@x.example", "failed", "550 5.1.1 no such mailbox"),
        ("later@x.example", "retry", "451 4.3.0 try later"),
        ("spam@x.example", "failed", "554 5.7.1 not wanted"),
        ("dropearly@x.example", "retry", "not sent, connection lost"),
        ("drop@x.example", "ambiguous", "connection lost after DATA"),
        ("jörg@x.example", "failed", "non-ASCII"),
    ],
)
def test_each_failure_by_its_name(address: str, status: str, detail: str) -> None:
    with mail_server() as (postmaster, port):
        answers = sent(channel(port), a_message("a"), a_message("b", address=address), a_message("c"))
    assert [answer.status for answer in answers] == ["accepted", status, "accepted"]
    assert detail in answers[1].detail
    others = [recipient for recipient, _ in postmaster.received if recipient == "anna@shop.example"]
    assert len(others) == 2


def test_connections_are_kept() -> None:
    with mail_server() as (postmaster, port):
        sent(channel(port), *(a_message(f"m{n}") for n in range(5)), a_message("r", address="refuse@x.example"))
    assert postmaster.connections == 1


def test_an_idle_connection_the_server_closed_is_replaced_without_loss() -> None:
    async def go() -> list[str]:
        with mail_server() as (postmaster, port):
            one = channel(port)
            await one.send([a_message("a")])
            one._idle[0].transport.abort()  # type: ignore[union-attr]
            answers = await one.send([a_message("b")])
            await one.close()
            return [*(a.status for a in answers), str(len(postmaster.received)), str(postmaster.connections)]

    assert asyncio.run(go()) == ["accepted", "2", "2"]


@pytest.mark.parametrize(
    "address",
    ["", "anna", "a@b@c.example", "a b@x.example", "a@x.example\r\nRCPT TO:<evil@x.example>", "<a@x.example>",
     "a@x.example, evil@x.example", "a\x00@x.example", "@x.example", "a@"],
)  # fmt: skip
def test_what_is_no_address_goes_to_nobody(address: str) -> None:
    with mail_server() as (postmaster, port):
        answers = sent(channel(port), a_message(address=address))
    assert [answer.status for answer in answers] == ["failed"]
    assert postmaster.received == []


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "hi\r\nBcc: evil@x.example"},
        {"headers": {"Bcc": "evil@x.example"}},
        {"headers": {"List-Id": "a\nBcc: e@x.example"}},
    ],
)
def test_no_header_can_be_smuggled_in(changes: dict) -> None:
    with mail_server() as (postmaster, port):
        answers = sent(channel(port), a_message(**changes))
    assert [answer.status for answer in answers] == ["failed"]
    assert postmaster.received == []


def test_a_missing_password_waits_for_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMTP_PASSWORD", raising=False)
    answers = sent(channel(1, security="tls", username="u", password="env:SMTP_PASSWORD"), a_message())
    assert answers[0].status == "retry" and "SMTP_PASSWORD is not set" in answers[0].detail


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_encrypted_and_verified(security: str, tmp_path: Path) -> None:
    made = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    options = {"tls_context": context} if security == "starttls" else {"ssl_context": context}
    with mail_server(**options) as (postmaster, port):
        stranger = sent(channel(port, security=security), a_message("stranger"))
        known = sent(channel(port, security=security, ca_file=str(made.certificate)), a_message("known"))
    assert [stranger[0].status, known[0].status] == ["retry", "accepted"]
    assert [parsed(content)["Message-ID"] for _, content in postmaster.received] == ["<known@shop.example>"]


def test_a_server_without_starttls_gets_nothing() -> None:
    with mail_server() as (postmaster, port):
        answers = sent(channel(port, security="starttls"), a_message())
    assert answers[0].status == "retry"
    assert postmaster.received == []
