"""What the door says at once to a single call that its contract rejects.

Everything else about contracts is decided when a request is taken into the log. But a client that sends one call is
to be told 400 when a contract says ``reject``, and it can be told only before it has its answer. Batches are never
refused for one of their calls.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from cadenza.definitions.project import Project
from cadenza.runtime.dialects.received import Received
from cadenza.runtime.dialects.registry import decode
from cadenza.runtime.normalise import Normaliser, Rejected


class Screen:
    """Single calls against the contracts in force. Used by one thread."""

    def __init__(self, project: Callable[[], Project]) -> None:
        self._project = project
        self._known: Project | None = None
        self._rejects = False
        self._normaliser = Normaliser(project)

    def rejection(self, received: Received, source: str, received_at: int) -> Rejected | None:
        """Why a contract rejects the single call of this request, received then (µs); None when none does, or when it is
        a batch. Costs next to nothing while no contract rejects anything."""
        project = self._project()
        if project is not self._known:
            # The word as a value anywhere in a contract: the rare false alarm only costs time.
            self._known = project
            self._rejects = (
                b'"reject"' in msgspec.json.encode(project.contracts) or project.undeclared_events == "reject"
            )
        if not self._rejects or not received.call_type:
            return None
        rejected = self._normaliser.prepare(decode(received), source, received_at).rejected
        return rejected[0] if rejected else None
