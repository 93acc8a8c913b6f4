"""The registry of channels: from a destination's definition to something that sends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from cadenza.adapters.mailbox import Mailbox
from cadenza.adapters.settings import read_settings
from cadenza.adapters.smtp import SmtpChannel
from cadenza.adapters.webhook import WebhookChannel
from cadenza.clock import Clock
from cadenza.definitions.kinds import Destination
from cadenza.errors import TerminalError, near_miss
from cadenza.ports.channel import Channel

MAILBOX_FILE = "mailbox.db"


class _NoSettings(msgspec.Struct, frozen=True):
    """The mailbox takes none."""


def _mailbox(destination: Destination, state_dir: Path, clock: Clock | None) -> Channel:
    read_settings(destination, _NoSettings)
    return Mailbox.open(state_dir / MAILBOX_FILE, clock)


ADAPTERS: dict[str, Callable[[Destination, Path, Clock | None], Channel]] = {
    "mailbox": _mailbox,
    "smtp": lambda destination, _state, _clock: SmtpChannel.open(destination),
    "webhook": lambda destination, _state, clock: WebhookChannel.open(destination, clock),
}
"""Adapter name -> how to open it."""


def open_channel(destination: Destination, state_dir: Path, clock: Clock | None = None) -> Channel:
    """The channel of a destination; the mailbox keeps its file in ``state_dir``. ``clock`` None is the machine's.

    Raises TerminalError for an unknown adapter or settings that cannot work. No connection is made and no secret read
    before the first message.
    """
    opener = ADAPTERS.get(destination.adapter)
    if opener is None:
        raise TerminalError(
            f"There is no adapter '{destination.adapter}'.",
            where=f"destination '{destination.name}'", remedy=near_miss(destination.adapter, ADAPTERS),
        )  # fmt: skip
    return opener(destination, state_dir, clock)
