"""Channels follow the project in force."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cadenza.adapters.mailbox import Mailbox
from cadenza.adapters.opened import OpenedChannels
from cadenza.clock import VirtualClock
from cadenza.definitions.kinds import Destination
from cadenza.definitions.project import Project
from cadenza.ports.channel import Rendered

MESSAGE = Rendered(
    message_id="m", channel="email", address="a@x.example", subject="s", text="t", html=None, planned_at=0
)


def project(adapter: str, attempts: int = 8) -> Project:
    return Project(destinations=(Destination(name="mail", channel="email", adapter=adapter, attempts=attempts),))


class Given:
    """A project that a test replaces."""

    def __init__(self, now: Project) -> None:
        self.now = now

    def __call__(self) -> Project:
        return self.now


def test_a_channel_is_opened_once_and_anew_when_its_definition_changes(tmp_path: Path) -> None:
    given = Given(project("mailbox"))
    channels = OpenedChannels(given, tmp_path, VirtualClock())
    first = channels["mail"]
    assert isinstance(first, Mailbox) and channels["mail"] is first
    given.now = project("mailbox")
    assert channels["mail"] is first, "an equal definition is the same destination"
    given.now = project("mailbox", attempts=3)
    assert channels["mail"] is not first
    assert list(channels) == ["mail"] and len(channels) == 1
    asyncio.run(channels["mail"].close())
    asyncio.run(channels.close())


def test_an_unknown_destination_is_no_channel(tmp_path: Path) -> None:
    channels = OpenedChannels(Given(Project()), tmp_path, VirtualClock())
    assert channels.get("mail") is None
    with pytest.raises(KeyError):
        channels["mail"]


def test_a_destination_that_cannot_be_opened_holds_its_messages_back(tmp_path: Path) -> None:
    given = Given(project("pigeon"))
    channels = OpenedChannels(given, tmp_path, VirtualClock())
    [answer] = asyncio.run(channels["mail"].send([MESSAGE]))
    assert answer.status == "retry" and "pigeon" in answer.detail
    given.now = project("mailbox")
    [answer] = asyncio.run(channels["mail"].send([MESSAGE]))
    assert answer.status == "accepted"
    asyncio.run(channels["mail"].close())
