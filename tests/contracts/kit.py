"""Contracts from YAML text, and what becomes of calls under them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cadenza.definitions.kinds import Contract
from cadenza.definitions.load import load
from cadenza.definitions.project import Project
from cadenza.errors import DefinitionError
from cadenza.runtime.normalise import Normaliser, Prepared
from cadenza.runtime.wire import decode

RECEIVED = 1_795_348_800_000_000


def project(contracts: str = "", head: str = "", **files: str) -> Project:
    """The project of one file of contracts; ``files``: other files by name, ``__`` for ``/``."""
    with tempfile.TemporaryDirectory() as folder:
        return load(written(Path(folder), contracts, head, **files)).project


def written(folder: Path, contracts: str = "", head: str = "", **files: str) -> Path:
    """The folder, with such a project in it."""
    texts = {"cadenza.yaml": f"project: plan\n{head}\n", "contracts/plan.yaml": contracts}
    texts |= {name.replace("__", "/") + ".yaml": text for name, text in files.items()}
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def contract(text: str) -> Contract:
    """The one contract of a text."""
    [found] = project(text).contracts
    return found


def complaints(contracts: str, **more: str) -> list[str]:
    """What the validator says of contracts, warnings included."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return [str(warning) for warning in load(written(Path(folder), contracts, **more)).warnings]
        except DefinitionError as error:
            return [str(problem) for problem in error.problems]


def track(**properties: Any) -> dict[str, Any]:
    return {"type": "track", "event": "E", "userId": "u", "messageId": "m", "properties": properties}


def prepare(plan: Project, *calls: dict[str, Any], **envelope: Any) -> Prepared:
    """What becomes of the calls of one batch."""
    raw = json.dumps({"batch": list(calls), **envelope}).encode()
    return Normaliser(lambda: plan).prepare(decode(raw, batch=True), "web", RECEIVED)


def stored(prepared: Prepared) -> Iterator[dict[str, Any]]:
    """The bodies of the records to be stored."""
    return (json.loads(body) for body in prepared.batch.bodies)
