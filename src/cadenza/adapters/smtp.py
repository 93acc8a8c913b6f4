"""The SMTP channel: a message is an e-mail handed to a mail server.

SMTP knows no idempotency key, so what a call left behind decides: a refusal is a refusal; a connection lost before
DATA means nothing was sent; one lost from DATA on may mean either, and is reported as ``ambiguous``.
"""

from __future__ import annotations

import re
import ssl
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from typing import Literal

import aiosmtplib
import msgspec

from cadenza.adapters.settings import read_settings, require_reference, resolve_secret
from cadenza.clock import from_micros
from cadenza.definitions.kinds import Destination
from cadenza.errors import CadenzaError, TerminalError
from cadenza.ports.channel import Delivery, Rendered

# Unbreakable tokens (a List-Unsubscribe address) must not be folded into encoded words; 998 is the protocol's limit.
_POLICY = SMTP_POLICY.clone(max_line_length=900)
_ADDRESS = re.compile(r"[^\s<>()\[\],;:\\\"@\x00-\x20\x7f]{1,64}@[^\s<>()\[\],;:\\\"@\x00-\x20\x7f]{1,253}")
_HEADERS = frozenset({"list-unsubscribe", "list-unsubscribe-post", "list-id", "reply-to", "precedence", "feedback-id"})
_PORTS = {"starttls": 587, "tls": 465, "none": 25}


class SmtpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``from``: ``shop@x.example`` or ``Shop <shop@x.example>``. ``password``: a reference. ``security``: how the
    connection is encrypted; ``verify: false`` accepts any certificate; ``ca_file`` names one's own authority."""

    host: str
    sender: str = msgspec.field(name="from")
    port: int | None = None
    security: Literal["starttls", "tls", "none"] = "starttls"
    verify: bool = True
    ca_file: str | None = None
    username: str | None = None
    password: str | None = None
    reply_to: str | None = None
    hello: str | None = None
    timeout_s: int = 30


class SmtpChannel:
    """Hands e-mails to one server over a few connections that are kept open."""

    idempotent = False

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings
        self._sender = parseaddr(settings.sender)[1]
        self._idle: list[aiosmtplib.SMTP] = []

    @classmethod
    def open(cls, destination: Destination) -> SmtpChannel:
        """The channel of a destination. Raises TerminalError for settings that cannot work."""
        settings = read_settings(destination, SmtpSettings)
        where = f"destination '{destination.name}'"
        require_reference(settings.password, "password", destination)
        if not _ADDRESS.fullmatch(parseaddr(settings.sender)[1]) or not settings.sender.isprintable():
            raise TerminalError(
                f"'{settings.sender}' is not a sender.", where=where, remedy="Write Shop <shop@x.example>."
            )
        if (settings.username is None) != (settings.password is None):
            raise TerminalError("username and password go together.", where=where, remedy="Give both or neither.")
        if settings.password and settings.security == "none":
            raise TerminalError("The password would be sent in the clear.", where=where, remedy="Use starttls or tls.")
        if not 1 <= settings.timeout_s <= 60:
            raise TerminalError("timeout_s must lie between 1 and 60.", where=where)
        return cls(settings)

    async def send(self, batch: list[Rendered]) -> list[Delivery]:
        """One after the other over one connection."""
        return [await self._send_one(message) for message in batch]

    async def close(self) -> None:
        """Say goodbye on every open connection."""
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.quit()
            except aiosmtplib.SMTPException:
                connection.close()

    async def _send_one(self, message: Rendered) -> Delivery:
        try:
            recipient = _checked_address(message.address)
            content = self._compose(message)
        except (ValueError, HeaderParseError, IndexError, UnicodeError) as error:
            return Delivery(status="failed", detail=f"not an e-mail that can be sent: {error}")
        while True:
            reused = bool(self._idle)
            try:
                connection = self._idle.pop() if reused else await self._connect()
            except (aiosmtplib.SMTPException, OSError, CadenzaError, ValueError) as error:
                return Delivery(status="retry", detail=f"not sent, no connection: {_named(error)}")
            try:
                return await self._hand_over(connection, recipient, content)
            except _Stale as stale:
                # a server may close an idle connection at any time; nothing was sent, so a fresh one is tried at once
                if not reused:
                    return Delivery(status="retry", detail=f"not sent, connection lost: {_named(stale.__cause__)}")

    async def _hand_over(self, connection: aiosmtplib.SMTP, recipient: str, content: bytes) -> Delivery:
        """Envelope, then content. Raises _Stale when the connection broke before DATA."""
        kept = False
        try:
            try:
                options = [] if recipient.isascii() else ["SMTPUTF8"]
                if options and not connection.supports_extension("smtputf8"):
                    kept = True
                    return Delivery(status="failed", detail="the server takes no address with non-ASCII characters")
                await connection.mail(self._sender, options=options)
                await connection.rcpt(recipient)
            except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, OSError) as error:
                raise _Stale from error
            except aiosmtplib.SMTPResponseException as error:
                kept = await _reset(connection)
                return _refused(error)
            try:
                response = await connection.data(content)
            except aiosmtplib.SMTPResponseException as error:
                kept = await _reset(connection)
                return _refused(error)
            except (aiosmtplib.SMTPException, OSError) as error:
                return Delivery(status="ambiguous", detail=f"connection lost after DATA: {_named(error)}")
            kept = True
            return Delivery(status="accepted", detail=f"{response.code} {response.message}"[:300])
        finally:
            if kept and connection.is_connected:
                self._idle.append(connection)
            else:
                connection.close()

    async def _connect(self) -> aiosmtplib.SMTP:
        settings = self._settings
        password = resolve_secret(settings.password) if settings.password else None
        connection = aiosmtplib.SMTP(
            hostname=settings.host, port=settings.port or _PORTS[settings.security], timeout=settings.timeout_s,
            use_tls=settings.security == "tls", start_tls=settings.security == "starttls",
            tls_context=self._tls() if settings.security != "none" else None,
            username=settings.username, password=password,
            local_hostname=settings.hello or self._sender.rpartition("@")[2],
        )  # fmt: skip
        try:
            await connection.connect()
        except BaseException:
            connection.close()
            raise
        return connection

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._settings.ca_file)
        if not self._settings.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _compose(self, message: Rendered) -> bytes:
        """The e-mail's bytes, the same for the same message. Raises ValueError for what would break a header."""
        mail = EmailMessage(policy=_POLICY)
        name, sender = parseaddr(self._settings.sender)
        mail["From"] = Address(name, addr_spec=sender)
        mail["To"] = message.address
        mail["Subject"] = message.subject
        mail["Date"] = format_datetime(from_micros(message.planned_at))
        mail["Message-ID"] = f"<{message.message_id}@{sender.rpartition('@')[2]}>"
        if self._settings.reply_to:
            mail["Reply-To"] = self._settings.reply_to
        for header, value in message.headers.items():
            if header.lower() not in _HEADERS:
                raise ValueError(f"the header '{header}' may not be set")
            del mail[header]
            mail[header] = value
        mail.set_content(message.text or "", cte="quoted-printable")
        if message.html is not None:
            mail.add_alternative(message.html, subtype="html", cte="quoted-printable")
        return mail.as_bytes()


class _Stale(Exception):
    """The connection broke before anything was sent."""


def _checked_address(address: str) -> str:
    """The address for the envelope, its domain in ASCII. Raises ValueError."""
    if not _ADDRESS.fullmatch(address) or not address.isprintable():
        raise ValueError(f"{address[:80]!r} is not an e-mail address")
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain if domain.isascii() else domain.encode('idna').decode()}"


async def _reset(connection: aiosmtplib.SMTP) -> bool:
    """Whether the connection can be used for the next message."""
    try:
        await connection.rset()
    except (aiosmtplib.SMTPException, OSError):
        return False
    return True


def _refused(error: aiosmtplib.SMTPResponseException) -> Delivery:
    detail = f"{error.code} {error.message}"[:300]
    return Delivery(status="failed" if 500 <= error.code < 600 else "retry", detail=detail)


def _named(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"[:300]
