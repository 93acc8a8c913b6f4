"""The channels of the project in force, opened when first used and opened anew when their definition changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from cadenza.adapters.channels import open_channel
from cadenza.clock import Clock
from cadenza.definitions.kinds import Destination
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError
from cadenza.ports.channel import Channel, Delivery, Rendered


class OpenedChannels(Mapping[str, Channel]):
    """Destination name -> channel. Safe to read from several threads."""

    def __init__(self, project: Callable[[], Project], state_dir: Path, clock: Clock) -> None:
        self._project, self._state_dir, self._clock = project, state_dir, clock
        self._opened: dict[str, tuple[Destination, Channel]] = {}
        self._replaced: list[Channel] = []
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Channel:
        for destination in self._project().destinations:
            if destination.name == name:
                return self._of(destination)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter([destination.name for destination in self._project().destinations])

    def __len__(self) -> int:
        return len(self._project().destinations)

    def _of(self, destination: Destination) -> Channel:
        with self._lock:
            held = self._opened.get(destination.name)
            if held is not None and held[0] == destination:
                return held[1]
            if held is not None:
                self._replaced.append(held[1])
            try:
                channel: Channel = open_channel(destination, self._state_dir, self._clock)
            except CadenzaError as error:
                channel = _Unusable(str(error))
            self._opened[destination.name] = (destination, channel)
            return channel

    async def close(self) -> None:
        """Close those that a newer definition replaced; the present ones are closed by who uses them."""
        with self._lock:
            replaced, self._replaced = self._replaced, []
        for channel in replaced:
            await channel.close()


class _Unusable:
    """A destination that cannot be opened as it is defined. Its messages are tried again: a mended definition may come."""

    idempotent = True

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def send(self, batch: list[Rendered]) -> list[Delivery]:
        return [Delivery(status="retry", detail=self._reason[:300])] * len(batch)

    async def close(self) -> None:
        return None
