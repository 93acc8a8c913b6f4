"""The mailbox pages: nothing a message holds reaches the page unescaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from cadenza.adapters.mailbox import Mail
from cadenza.surfaces.mailbox_page import mailbox_list_html, mailbox_message_html

EVIL = "\"'><script>alert(1)</script><img src=https://track.example/p.gif onerror=x>"


def a_mail(message_id: str = "m-1", **changes: object) -> Mail:
    fields = {
        "message_id": message_id, "channel": "email", "address": "anna@x.example", "subject": "Hello", "text": "Dear Anna,\nhi",
        "html": "<p>Dear <b>Anna</b></p>", "planned_at": 0, "received_at": 1_767_323_045_000_000, "headers": {},
    }  # fmt: skip
    return Mail(**{**fields, **changes})  # type: ignore[arg-type]


class Tags(HTMLParser):
    """The elements a browser would see, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]


def test_the_list() -> None:
    page = mailbox_list_html([a_mail("m-2", subject=""), a_mail("a/b c")], total=9)
    assert [a["href"] for a in Tags(page).named("a")] == ["/mailbox/m-2", "/mailbox/a%2Fb%20c"]
    assert "2 of 9 messages" in page and "(no subject)" in page and "2026-01-02 03:04:05" in page
    assert {"http-equiv": "refresh", "content": "2"} in Tags(page).named("meta")


def test_an_empty_mailbox_says_so() -> None:
    assert "No message yet" in mailbox_list_html([])


def test_the_message() -> None:
    page = mailbox_message_html(a_mail(headers={"List-Unsubscribe": "<https://x.example/u>"}), base="/mail")
    tags = Tags(page)
    assert tags.named("a")[0]["href"] == "/mail"
    assert "&lt;https://x.example/u&gt;" in page and "<pre>Dear Anna,\nhi</pre>" in page
    frame = tags.named("iframe")[0]
    assert frame["sandbox"] == "" and frame["srcdoc"] is not None
    assert frame["srcdoc"].endswith("<p>Dear <b>Anna</b></p>")
    assert Tags(mailbox_message_html(a_mail(html=None))).named("iframe") == []


@pytest.mark.parametrize("field", ["message_id", "channel", "address", "subject", "text", "html"])
def test_nothing_escapes(field: str) -> None:
    mail = a_mail(**{field: EVIL})
    for page in (mailbox_list_html([mail]), mailbox_message_html(mail)):
        seen = {tag for tag, _ in Tags(page).seen}
        assert not seen & {"script", "img", "b"}, seen
        assert not re.search(r"<script|<img", page)


def test_headers_are_escaped_too() -> None:
    assert "script" not in {tag for tag, _ in Tags(mailbox_message_html(a_mail(headers={EVIL: EVIL}))).seen}


def test_the_frame_can_fetch_nothing() -> None:
    frame = Tags(mailbox_message_html(a_mail(html=EVIL))).named("iframe")[0]
    policy = Tags(str(frame["srcdoc"])).named("meta")[0]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert str(policy["content"]).startswith("default-src 'none'") and "https:" not in str(policy["content"])
