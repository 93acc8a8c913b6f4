"""How generated worlds come to have parts of the language that not every world has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from cadenza.definitions.project import Project
from cadenza.simulate.chooser import Chooser
from cadenza.simulate.model import Model


class Addition(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the language that a generated world has when it is asked for, and else not: so the worlds of all seeds
    stay as they are when the language grows.

    ``project`` puts it into a random valid project and leaves it valid. ``call``, where the part needs records of its
    own kind, makes the members of a call besides who it is about and when (``{"type": "track", "event": ...}``), given
    the instant in microseconds; ``percent`` of 100 calls are then of it. Where the members say ``command``, they are a
    command of their own and about nobody; where they say ``project``, a deployment.
    """

    project: Callable[[Chooser, Project], Project]
    call: Callable[[Chooser, Project, int], dict[str, Any]] | None = None
    record: Callable[[Chooser, Model, int], dict[str, Any] | None] | None = None
    """Where people answer what the engine has decided: the body of a record of the kind ``task`` at this instant (µs),
    given the model as it stands; None: there is nothing to answer. Where it says ``kind``, a record of that kind."""
    percent: int = 25
