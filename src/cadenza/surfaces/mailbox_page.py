"""Two pages to look into the development mailbox: pure functions from messages to HTML.

Everything a message holds is escaped. Its own HTML is shown in a sandboxed frame without scripts, forms, or requests
to anywhere. No JavaScript; the list reloads itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Protocol
from urllib.parse import quote

from cadenza.clock import from_micros

REFRESH_S = 2


class Message(Protocol):
    """What a page needs of a message; ``adapters.mailbox.Mail`` has it."""

    @property
    def message_id(self) -> str: ...
    @property
    def channel(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def text(self) -> str | None: ...
    @property
    def html(self) -> str | None: ...
    @property
    def planned_at(self) -> int: ...
    @property
    def received_at(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


_STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #667079; --line: #e3e6e9; --paper: #fbfaf8; --card: #fff; --mark: #8a3b1e }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7e9eb; --soft: #98a2ab; --line: #2e343a; --paper: #16191c; --card: #1d2125; --mark: #e59c76 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 Charter, "Iowan Old Style", Georgia, serif }
main { max-width: 46rem; margin: 0 auto; padding: 3rem 1.25rem 5rem }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .35rem; letter-spacing: -.01em; text-wrap: balance; overflow-wrap: anywhere }
.soft, dt, time, footer { color: var(--soft); font: .85rem/1.5 ui-sans-serif, system-ui, sans-serif }
a { color: inherit; text-decoration-color: var(--line); text-underline-offset: .2em } a:hover { color: var(--mark) }
ol { list-style: none; margin: 2rem 0 0; padding: 0; border-top: 1px solid var(--line) }
li a { display: grid; grid-template-columns: 1fr auto; gap: 0 1rem; padding: .85rem 0; border-bottom: 1px solid var(--line); text-decoration: none }
li strong { font-weight: 600; overflow-wrap: anywhere }
li .glimpse { grid-column: 1 / -1; white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
time { font-variant-numeric: tabular-nums; white-space: nowrap }
dl { display: grid; grid-template-columns: auto 1fr; gap: .15rem 1rem; margin: 1.25rem 0 1.75rem } dd { margin: 0; overflow-wrap: anywhere }
pre, iframe { width: 100%; margin: 0 0 1.5rem; background: var(--card); border: 1px solid var(--line); border-radius: 6px }
pre { padding: 1.1rem 1.25rem; white-space: pre-wrap; overflow-wrap: anywhere; font: inherit }
iframe { height: 60vh; background: #fff } code { font: .85em ui-monospace, monospace }
"""

# The message's own HTML may neither run, nor submit, nor fetch (a tracking pixel would count the developer).
_FRAME_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'"


def mailbox_list_html(messages: Sequence[Message], *, base: str = "/mailbox", total: int | None = None) -> str:
    """The page that lists messages, newest first as given. Links go to ``{base}/{message id}``; ``total``: how many the
    mailbox holds, if more than are listed."""
    rows = "".join(_row(message, base) for message in messages)
    if rows:
        shown = f"{len(messages)} of {total} messages" if total and total > len(messages) else _count(len(messages))
        body = (
            f'<h1>Mailbox</h1><p class="soft">{shown}, newest first. Nothing here left this machine.</p><ol>{rows}</ol>'
        )
    else:
        body = (
            '<h1>Mailbox</h1><p>No message yet.</p><p class="soft">Messages appear here within a second of being'
            " decided. Nothing leaves this machine.</p>"
        )
    return _page("Mailbox", body, refresh=True)


def mailbox_message_html(message: Message, *, base: str = "/mailbox") -> str:
    """The page of one message: envelope, text, and its HTML in a sandboxed frame."""
    facts = {
        "To": message.address, "Channel": message.channel, "Received": _moment(message.received_at),
        "Planned": _moment(message.planned_at), **message.headers,
    }  # fmt: skip
    envelope = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    frame = text = ""
    if message.html is not None:
        inner = f'<meta http-equiv="Content-Security-Policy" content="{_FRAME_POLICY}">{message.html}'
        frame = (
            f'<iframe sandbox="" referrerpolicy="no-referrer" title="The message" srcdoc="{escape(inner)}"></iframe>'
        )
    if message.text:
        label = '<p class="soft">Text part</p>' if frame else ""
        text = f"{label}<pre>{escape(message.text)}</pre>"
    body = (
        f'<p class="soft"><a href="{escape(base)}">Mailbox</a></p><h1>{escape(_subject(message))}</h1>'
        f"<dl>{envelope}<dt>Id</dt><dd><code>{escape(message.message_id)}</code></dd></dl>{frame}{text}"
    )
    return _page(_subject(message), body, refresh=False)


def _row(message: Message, base: str) -> str:
    target = f"{base}/{quote(message.message_id, safe='')}"
    glimpse = " ".join((message.text or "").split())[:160]
    return (
        f'<li><a href="{escape(target)}"><strong>{escape(_subject(message))}</strong>'
        f"<time>{_moment(message.received_at)}</time>"
        f'<span class="soft glimpse">{escape(message.address)} · {escape(glimpse)}</span></a></li>'
    )


def _subject(message: Message) -> str:
    return message.subject or "(no subject)"


def _count(number: int) -> str:
    return "1 message" if number == 1 else f"{number} messages"


def _moment(micros: int) -> str:
    return from_micros(micros).strftime("%Y-%m-%d %H:%M:%S")


def _page(title: str, body: str, refresh: bool) -> str:
    reload = f'<meta http-equiv="refresh" content="{REFRESH_S}">' if refresh else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{reload}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · Cadenza</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}<footer>Times are UTC.</footer></main></body></html>"
    )
