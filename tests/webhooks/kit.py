"""Signatures by each provider's published recipe, and webhook sources over a real collector."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cadenza.adapters.ed25519 import verify_ed25519
from cadenza.clock import EPOCH, to_micros
from cadenza.definitions.load import load
from cadenza.definitions.project import Project
from cadenza.errors import OperatingError
from cadenza.runtime.webhooks import Webhooks
from cadenza.surfaces.collect_http import collect_app
from tests.collect.asgi import NOW, Response, Site, site

SECRET = "a shared secret"
STANDARD = "whsec_" + base64.b64encode(b"a shared secret of 24 b.").decode()
SECRETS = {"env:SECRET": SECRET, "env:OLD": "an older secret", "env:STANDARD": STANDARD, "env:EMPTY": ""}
URL = "https://collect.example/v1/webhooks/hooks"
GENERIC = """
scheme: hmac
hmac: { header: X-Signature, prefix: 'sha256=', content: '{timestamp}.{body}', timestamp_header: X-Timestamp }
secrets: env:SECRET
id: id
topic: type
timestamp: timestamp(at)
ignore: [noise, 'other.*']
records:
  happened: { call: track, topics: [thing], event: Happened, user_id: who, properties: { n: integer(n) } }
"""


def secret_of(reference: str) -> str:
    """The secrets of the tests; others are not set."""
    if reference not in SECRETS:
        raise OperatingError(f"The environment variable {reference.partition(':')[2]} is not set.")
    return SECRETS[reference]


def project_of(folder: Path, webhook: str, name: str = "hooks") -> Project:
    """A project with one webhook source, as its author would write it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cadenza.yaml").write_text("project: hooked\n")
    (folder / "sources").mkdir(exist_ok=True)
    indented = "".join(f"  {line}\n" for line in webhook.strip().splitlines())
    (folder / "sources" / f"{name}.yaml").write_text(f"source: {name}\nkind: webhook\nwebhook:\n{indented}")
    return load(folder).project


class Hooks:
    """Requests to one webhook source."""

    def __init__(self, opened: Site, app: Any) -> None:
        self.site, self._app = opened, app

    def send(self, body: bytes, headers: dict[str, str], name: str = "hooks", **more: Any) -> Response:
        self.site.app = self._app
        return self.site.send(f"/v1/webhooks/{name}", body, key=None, headers=headers, **more)

    def stored(self) -> list[dict[str, Any]]:
        return self.site.stored()

    def quarantined(self) -> list[Any]:
        return self.site.log.quarantine_list(100)


@contextmanager
def hooks(folder: Path, webhook: str = GENERIC) -> Iterator[Hooks]:
    """One webhook source behind the collection API, over a real log."""
    project = project_of(folder / "project", webhook)
    with site(folder, project) as opened:
        found = Webhooks(lambda: project, opened.clock, secret_of, verify_ed25519)
        yield Hooks(opened, collect_app(opened.collector, {}, webhooks=found))


# --- recipes --------------------------------------------------------------------------------------


def digest(message: bytes, secret: str = SECRET, algorithm: str = "sha256") -> bytes:
    return hmac.new(secret.encode(), message, getattr(hashlib, algorithm)).digest()


def seconds(at: datetime = NOW) -> int:
    return (at - EPOCH) // timedelta(seconds=1)


def signed(scheme: str, body: bytes, at: datetime = NOW, secret: str = SECRET) -> dict[str, str]:
    """The headers of a request that a provider signed at an instant."""
    stamp = str(seconds(at))
    match scheme:
        case "standard":
            key = base64.b64decode(STANDARD.removeprefix("whsec_"))
            made = hmac.new(key, f"msg_1.{stamp}.".encode() + body, hashlib.sha256).digest()
            return {
                "webhook-id": "msg_1", "webhook-timestamp": stamp,
                "webhook-signature": "v1," + base64.b64encode(made).decode(),
            }  # fmt: skip
        case "stripe" | "calendly":
            made = digest(stamp.encode() + b"." + body, secret).hex()
            header = "Stripe-Signature" if scheme == "stripe" else "Calendly-Webhook-Signature"
            return {header: f"t={stamp},v1={made}"}
        case "shopify":
            return {"X-Shopify-Hmac-Sha256": base64.b64encode(digest(body, secret)).decode()}
        case "github":
            return {"X-Hub-Signature-256": "sha256=" + digest(body, secret).hex()}
        case "intercom":
            return {"X-Hub-Signature": "sha1=" + digest(body, secret, "sha1").hex()}
        case "zendesk":
            text = at.isoformat() + "Z"
            made = base64.b64encode(digest(text.encode() + body, secret)).decode()
            return {"X-Zendesk-Webhook-Signature": made, "X-Zendesk-Webhook-Signature-Timestamp": text}
        case "hubspot":
            millis = str(to_micros(at) // 1000)
            made = base64.b64encode(digest(f"POST{URL}".encode() + body + millis.encode(), secret)).decode()
            return {"X-HubSpot-Signature-v3": made, "X-HubSpot-Request-Timestamp": millis}
        case "token":
            return {"Authorization": f"Bearer {secret}"}
    made = digest(stamp.encode() + b"." + body, secret).hex()
    return {"X-Signature": f"sha256={made}", "X-Timestamp": stamp}
