"""The doctor finds what is wrong, says what to do, and is content with what is well."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from cadenza.clock import to_micros
from cadenza.ports.ledger import Batch
from cadenza.runtime import doctor as doctor_module
from cadenza.surfaces.cli import main
from cadenza.workspace import Workspace

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own disk is no part of these tests."""
    monkeypatch.setattr(doctor_module.shutil, "disk_usage", lambda path: Usage(10**13, 0, 10**13))


def graves(shop: Workspace, quick: bool = False) -> dict[str, str]:
    """Check -> severity of what is not well."""
    found = shop.operate.doctor().examine(quick)
    assert all(f.remedy for f in found if f.severity == "warning")
    return {f.check: f.severity for f in found if f.severity != "ok"}


def change(shop: Workspace, sql: str, *values: Any) -> None:
    """Change the log behind Cadenza's back."""
    raw = sqlite3.connect(shop.folder / ".cadenza" / "log.db")
    raw.execute(sql, values)
    raw.commit()
    raw.close()


def fill(shop: Workspace, n: int = 20) -> None:
    now = to_micros(shop.clock.now())
    for i in range(n):
        shop._log.write(
            [Batch(kind="call", source="website", ids=[f"m{i}"], bodies=[b'{"type":"page","n":%d}' % i])], (), now
        )


def test_a_healthy_project(shop: Workspace) -> None:
    fill(shop)
    read: list[tuple[int, int]] = []
    found = shop.operate.doctor().examine(False, lambda done, total: read.append((done, total)))
    assert {f.check for f in found} == {
        "conservation", "checksums", "messages", "outbox", "journal", "disk", "clock",
    }  # fmt: skip
    assert {f.severity for f in found} == {"ok"}
    assert read[-1] == (21, 21)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE tally SET n = n + 1 WHERE outcome = 'received' AND source = 'website'",
        "UPDATE tally_minute SET n = n - 1 WHERE outcome = 'quarantined'",
        "DELETE FROM quarantine WHERE id = 1",
        "UPDATE head SET next_offset = next_offset + 1",
        "UPDATE tally SET n = n - 1 WHERE source = 'website' AND outcome IN ('received', 'stored')",
    ],
)
def test_what_does_not_add_up_is_found(shop: Workspace, sql: str) -> None:
    fill(shop)
    change(shop, sql)
    assert graves(shop, quick=True)["conservation"] == "error"


def test_records_that_changed_their_source_are_found_by_reading_them(shop: Workspace) -> None:
    fill(shop)
    change(shop, "UPDATE tally SET source = 'elsewhere' WHERE source = 'website'")
    assert "conservation" not in graves(shop, quick=True)
    assert graves(shop)["conservation"] == "error"


def test_damaged_records_are_found_and_those_behind_them_too(shop: Workspace) -> None:
    fill(shop)
    for offset in (5, 15):
        change(shop, "UPDATE block SET bodies = zeroblob(length(bodies)) WHERE first_offset = ?", offset)
    damage = [f for f in shop.operate.doctor().examine(False) if f.check == "checksums"]
    assert [f.severity for f in damage] == ["error", "error"]
    assert "offset 5" in damage[0].what and "offset 15" in damage[1].what
    assert "backup" in str(damage[0].remedy)
    assert "checksums" not in graves(shop, quick=True)


def test_a_missing_record_is_found(shop: Workspace) -> None:
    fill(shop)
    change(shop, "DELETE FROM block WHERE first_offset = 7")
    assert graves(shop)["checksums"] == "error"


@pytest.mark.parametrize(("free", "severity"), [(10**6, "error"), (10**9, "warning")])
def test_a_full_disk(shop: Workspace, monkeypatch: pytest.MonkeyPatch, free: int, severity: str) -> None:
    monkeypatch.setattr(doctor_module.shutil, "disk_usage", lambda path: Usage(free, 0, free))
    assert graves(shop, quick=True) == {"disk": severity}


def test_a_disk_that_fills_at_the_present_pace(shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(shop)
    monkeypatch.setattr(doctor_module, "LOW_BYTES", 0)
    monkeypatch.setattr(doctor_module, "FULL_BYTES", 0)
    monkeypatch.setattr(doctor_module.shutil, "disk_usage", lambda path: Usage(0, 0, 100_000))
    assert graves(shop, quick=True) == {"disk": "warning"}


@pytest.mark.parametrize(("ahead", "severity"), [(3_600, "warning"), (90_000, "error")])
def test_a_clock_behind_the_log(shop: Workspace, ahead: int, severity: str) -> None:
    change(shop, "UPDATE head SET recorded_at = ?", to_micros(shop.clock.now()) + ahead * 1_000_000)
    assert graves(shop, quick=True) == {"clock": severity}


def test_the_store_behind_and_ahead_of_the_log(shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(shop)
    doctor = shop.operate.doctor()
    assert doctor.lag(1).severity == "ok"
    assert doctor.lag(99).severity == "error"
    monkeypatch.setattr(doctor_module, "BEHIND_RECORDS", 10)
    assert doctor.lag(1).severity == "warning"


def test_the_command(shop: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    shop.close()
    assert main(["doctor"]) == 0
    assert "there is room" in capsys.readouterr().out
    path = Path("templates/welcome_mail.liquid")
    path.write_text(path.read_text() + "\nP.S.\n")
    assert main(["doctor", "--quick", "--json"]) == 1
    found = {f["check"]: f for f in json.loads(capsys.readouterr().out)}
    assert found["definitions"]["severity"] == "warning"
    assert "cadenza apply" in found["definitions"]["remedy"]
    assert found["lag"]["severity"] == "ok"
    shutil.copy("identity.yaml", "broken.yaml")
    Path("identity.yaml").write_text("identity: [")
    assert main(["doctor", "--quick"]) == 1
    assert "cadenza validate" in capsys.readouterr().out
    change(shop, "DELETE FROM quarantine")
    assert main(["doctor", "--quick"]) == 3
