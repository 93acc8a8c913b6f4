"""From a destination to a channel: settings are checked before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from cadenza.adapters import open_channel
from cadenza.adapters.settings import resolve_secret
from cadenza.definitions.kinds import Destination
from cadenza.errors import OperatingError, TerminalError

SMTP = {"host": "h.example", "from": "shop@x.example"}


@pytest.mark.parametrize(
    ("adapter", "settings", "says"),
    [
        ("smpt", {}, "Did you mean 'smtp'?"),
        ("mailbox", {"path": "x"}, "no setting 'path'"),
        ("smtp", {"from": "a@b.example"}, "'host' is missing"),
        ("smtp", {**SMTP, "hosst": "x"}, "Did you mean 'host'?"),
        ("smtp", {**SMTP, "port": "25"}, "port"),
        ("smtp", {**SMTP, "security": "ssl"}, "security"),
        ("smtp", {**SMTP, "from": "nobody"}, "not a sender"),
        ("smtp", {**SMTP, "from": "a@b.example\nBcc: x@y.example"}, "not a sender"),
        ("smtp", {**SMTP, "username": "u"}, "go together"),
        ("smtp", {**SMTP, "username": "u", "password": "hunter2"}, "env:NAME"),
        ("smtp", {**SMTP, "username": "u", "password": "env:P", "security": "none"}, "in the clear"),
        ("webhook", {}, "'url' is missing"),
        ("webhook", {"url": "ftp://x.example/"}, "https://"),
        ("webhook", {"url": "http://x.example/"}, "not encrypted"),
        ("webhook", {"url": "https://me:pw@x.example/"}, "name and password"),
        ("webhook", {"url": "https://x.example/", "secret": "whsec_abc"}, "env:NAME"),
        ("webhook", {"url": "https://x.example/", "timeout_s": 900}, "between 1 and 60"),
    ],
)
def test_wrong_settings_are_named(adapter: str, settings: dict, says: str, tmp_path: Path) -> None:
    destination = Destination(name="mine", channel="email", adapter=adapter, settings=settings)
    with pytest.raises(TerminalError) as caught:
        open_channel(destination, tmp_path)
    assert says in str(caught.value)
    assert "destination 'mine'" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_secrets_are_read_when_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_SECRET", "one")
    assert resolve_secret("env:SHOP_SECRET") == "one"
    file = tmp_path / "secret"
    file.write_text("two\n")
    assert resolve_secret(f"file:{file}") == "two"
    file.write_text("three")
    assert resolve_secret(f"file:{file}") == "three"


@pytest.mark.parametrize("reference", ["env:NOT_SET_ANYWHERE", "file:/nonexistent/secret", "plain"])
def test_a_secret_that_cannot_be_read(reference: str) -> None:
    with pytest.raises(OperatingError):
        resolve_secret(reference)
