"""Why a webhook is turned away, with the HTTP status that makes its sender behave."""

from __future__ import annotations

from cadenza.errors import CadenzaError


class WebhookRefused(CadenzaError):
    """A webhook that is not taken; nothing of it is kept. ``status`` is the answer, ``code`` the reason it is counted under."""

    status = 401
    code = "refused"


class UnknownWebhook(WebhookRefused):
    """No webhook source of that name is in force. 404: senders repeat it, so a deployment that is late loses nothing."""

    status = 404
    code = "unknown_webhook"


class Unsigned(WebhookRefused):
    """A header that the signature scheme needs is missing or cannot be read. 401."""

    status = 401
    code = "unsigned"


class BadSignature(WebhookRefused):
    """None of the signatures is that of the request under any of the secrets. 401."""

    status = 401
    code = "bad_signature"


class OutsideWindow(WebhookRefused):
    """The signed timestamp lies too far from our clock: a replay, or a clock that is wrong. 400."""

    status = 400
    code = "outside_window"
