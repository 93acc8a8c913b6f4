"""The signature schemes by name: which headers each uses and what it signs."""

from __future__ import annotations

from cadenza.definitions.kinds import Hmac

SCHEMES: dict[str, Hmac | None] = {
    "standard": Hmac(
        header="webhook-signature", encoding="base64", content="{id}.{timestamp}.{body}",
        id_header="webhook-id", timestamp_header="webhook-timestamp",
    ),
    "stripe": Hmac(header="Stripe-Signature", layout="pairs", content="{timestamp}.{body}"),
    "calendly": Hmac(header="Calendly-Webhook-Signature", layout="pairs", content="{timestamp}.{body}"),
    "shopify": Hmac(header="X-Shopify-Hmac-Sha256", encoding="base64"),
    "github": Hmac(header="X-Hub-Signature-256", prefix="sha256="),
    "intercom": Hmac(header="X-Hub-Signature", algorithm="sha1", prefix="sha1="),
    "zendesk": Hmac(
        header="X-Zendesk-Webhook-Signature", encoding="base64", content="{timestamp}{body}",
        timestamp_header="X-Zendesk-Webhook-Signature-Timestamp", timestamp_format="iso",
    ),
    "hubspot": Hmac(
        header="X-HubSpot-Signature-v3", encoding="base64", content="{method}{url}{body}{timestamp}",
        timestamp_header="X-HubSpot-Request-Timestamp", timestamp_format="milliseconds",
    ),
    "hmac": None,
    "token": None,
}  # fmt: skip
"""Scheme -> its parameters; None where the definition says them (``hmac``). ``standard`` is Standard Webhooks 1.0: the
header holds several ``v1,SIGNATURE``; ``token`` compares a header with the secret and signs nothing."""

PLACEHOLDERS = ("body", "timestamp", "id", "method", "url")


def signature_of(scheme: str | None, declared: Hmac | None) -> Hmac | None:
    """Where the signature of a scheme stands and what is signed; None when the definition does not say it."""
    if scheme == "token":
        return declared or Hmac(header="Authorization", prefix="Bearer ")
    return declared if scheme == "hmac" else SCHEMES.get(scheme or "")


def is_timed(signature: Hmac) -> bool:
    """Whether a timestamp is part of what is signed, so that a replay can be told."""
    return "{timestamp}" in signature.content
