"""A project that runs: the starter, deployed, with its log."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cadenza.clock import to_micros
from cadenza.ports.ledger import Refused
from cadenza.workspace import Workspace


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter project with a store that follows it; copy it before use."""
    folder = tmp_path_factory.mktemp("starter") / "shop"
    Workspace.create(folder)
    with Workspace.open(folder) as workspace:
        workspace.apply()
        workspace.run()
    return folder


@pytest.fixture
def shop(starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A copy of the starter with two refused orders, as the present folder."""
    folder = tmp_path / "shop"
    shutil.copytree(starter, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CADENZA_API_TOKEN", "")
    with Workspace.open(folder) as workspace:
        now = to_micros(workspace.clock.now())
        workspace._log.quarantine([refused("a", now), refused("b", now)], now)
        yield workspace


def refused(message_id: str, now: int) -> Refused:
    """An order of the starter's shop that breaks its contract."""
    fields = b'"event":"Order Completed","userId":"u-1","properties":{"order_id":"A-1","revenue":-5.50}'
    body = b'{"type":"track","occurred_at":%d,%s}' % (now, fields)
    return Refused(
        source="website", reason="contract: Order Completed.revenue minimum", detail="revenue must be at least 0; it is -5.5.",
        body=body, message_id=message_id, form="record",
    )  # fmt: skip
