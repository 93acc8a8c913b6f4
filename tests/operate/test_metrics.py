"""Metrics that Prometheus can read, that add up, and that name nobody; the log's lines."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from datetime import datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from cadenza.errors import LedgerError
from cadenza.runtime.measures import Measures
from cadenza.runtime.tick import TickReport
from cadenza.surfaces import metrics as metrics_module
from cadenza.surfaces.api import api_app
from cadenza.surfaces.logs import Formatter, Trouble, event
from cadenza.workspace import Workspace


def samples(shop: Workspace) -> dict[tuple[str, ...], float]:
    """(name, label values by label name) -> value, read as Prometheus reads it."""
    answer = TestClient(api_app(shop, None), base_url="http://127.0.0.1").get("/metrics")
    assert answer.status_code == 200
    families = list(text_string_to_metric_families(answer.text))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a family is told once"
    return {
        (s.name, *(s.labels[label] for label in sorted(s.labels))): s.value
        for family in families
        for s in family.samples
    }


def test_what_came_is_counted_by_source_outcome_and_reason(shop: Workspace) -> None:
    reason = "contract: Order Completed.revenue minimum"
    shop._log.write((), (), 1, {("website", "malformed"): 3, ("", "unknown_write_key"): 1})
    found = samples(shop)
    assert found["cadenza_records_total", "quarantined", reason, "website"] == 2
    assert found["cadenza_records_total", "rejected", "malformed", "website"] == 3
    assert found["cadenza_records_total", "rejected", "unknown_write_key", ""] == 1
    assert found["cadenza_records_received_total", "website"] == 5
    assert found["cadenza_quarantine_records", "website", "resting"] == 2
    assert found["cadenza_log_records",] == 1
    assert found["cadenza_behind_records",] == 0
    assert found["cadenza_journal_bytes",] == 0
    assert found["process_open_fds",] > 0 and found["process_resident_memory_bytes",] > 1e7


def test_a_counter_never_goes_down(shop: Workspace) -> None:
    shop.quarantine.fix(1, "ann", put={"properties.revenue": b"5"})
    assert shop.quarantine.replay("ann", [1]).stored == 1
    shop.quarantine.drop([2], "no use", "ann")
    found = samples(shop)
    assert found["cadenza_records_total", "quarantined", "contract: Order Completed.revenue minimum", "website"] == 2
    assert found["cadenza_records_total", "stored", "", "website"] == 1
    states = {key[2]: n for key, n in found.items() if key[0] == "cadenza_quarantine_records"}
    assert states == {"resting": 0, "dropped": 1, "replayed": 1}


def test_many_reasons_share_one_label(shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "MOST_REASONS", 3)
    shop._log.write((), (), 1, {("website", f"r{n}"): 1 for n in range(10)})
    rejected = {key[2]: n for key, n in samples(shop).items() if key[:2] == ("cadenza_records_total", "rejected")}
    assert len(rejected) == 4
    assert rejected["other"] == 7


def test_commits_and_ticks_are_timed(shop: Workspace) -> None:
    shop.measures.committed(7, 0.003)
    shop.measures.sequenced(3, 0.02)
    report = TickReport(
        ticks=1, records=9, waves=2, messages=0, carried=0, consumed=9, horizon=datetime(2026, 1, 1), more=False
    )
    shop.measures.ticked(report, 0.2)
    shop.measures.failed("tick", "StoreError")
    found = samples(shop)
    assert found["cadenza_group_commit_seconds_count",] == 1
    assert found["cadenza_group_commit_seconds_bucket", "0.005"] == 1
    assert found["cadenza_group_commit_seconds_bucket", "0.002"] == 0
    assert found["cadenza_requests_accepted_total",] == 7
    assert found["cadenza_sequence_seconds_count",] == 1
    assert found["cadenza_tick_seconds_sum",] == 0.2
    assert (found["cadenza_tick_waves_total",], found["cadenza_tick_records_total",]) == (2, 9)
    assert (found["cadenza_failures_total", "tick"], found["cadenza_failures_total", "log"]) == (1, 0)


# --- the log ---------------------------------------------------------------------------------------------


class Kept(logging.Handler):
    """Keeps the lines of a log."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(Formatter(form))  # type: ignore[arg-type]

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(params=["json", "text"])
def kept(request: pytest.FixtureRequest):
    handler = Kept(request.param)
    loggers = [logging.getLogger(name) for name in ("cadenza.test", "uvicorn.error", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    yield handler
    for logger in loggers:
        logger.removeHandler(handler)
        logger.propagate = True


def test_an_error_is_told_by_its_class_code_and_places(kept: Kept) -> None:
    cause = sqlite3.OperationalError("canary")
    cause.sqlite_errorname = "SQLITE_FULL"  # type: ignore[attr-defined]
    try:
        raise LedgerError("canary", where="canary", remedy="canary") from cause
    except LedgerError as error:
        event(logging.getLogger("cadenza.test"), logging.ERROR, "log failed", error, records=3)
    [line] = kept.lines
    for part in ("log failed", "LedgerError", "SQLITE_FULL", "test_metrics.py", "error", "3"):
        assert part in line
    assert "canary" not in line
    assert "\n" not in line


def test_what_other_libraries_say_is_cut_to_its_first_words(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("uvicorn.error"), "level", logging.WARNING)  # servers of other tests raise it
    logging.getLogger("uvicorn.error").manager._clear_cache()
    try:
        raise ValueError("canary")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application\ncanary")
    logging.getLogger("asyncio").error(
        "Task exception was never retrieved\nfuture: <Task exception=ValueError('canary')>"
    )
    logging.getLogger("uvicorn.error").warning("Invalid request %s", "canary")
    assert len(kept.lines) == 3
    assert "canary" not in "".join(kept.lines)
    assert "Exception in ASGI application" in kept.lines[0] and "ValueError" in kept.lines[0]


def test_trouble_is_said_once_and_taken_back(kept: Kept, tmp_path) -> None:
    trouble = Trouble(logging.getLogger("cadenza.test"), tmp_path / "trouble.txt")
    trouble.ends("tick")
    for text in ("canary 1", "canary 1", "canary 2"):
        trouble.begins("tick", ValueError(text))
    says = trouble.says() or ""
    assert "tick (ValueError)" in says and "canary" not in says
    assert "canary 2" in (tmp_path / "trouble.txt").read_text()
    trouble.ends("tick")
    assert trouble.says() is None
    assert len(kept.lines) == 3
    assert "canary" not in "".join(kept.lines)


def test_json_lines_are_json() -> None:
    handler = Kept("json")
    record = logging.LogRecord("cadenza.x", logging.INFO, "f", 1, "started", None, None)
    record.fields = {"url": "http://x", "pid": 1}  # type: ignore[attr-defined]
    line = json.loads(handler.format(record))
    assert {"level": "info", "logger": "cadenza.x", "event": "started", "pid": 1}.items() <= line.items()
    assert line["at"].endswith("Z")


def test_collectors_beside_are_told_with_their_names(shop: Workspace) -> None:
    theirs = Measures(shop.clock)
    theirs.committed(7, 0.001)
    publisher = shop.operate.publisher("c1", theirs)
    publisher.start()
    shop.measures.committed(2, 0.001)
    found = samples(shop)
    assert found["cadenza_requests_accepted_total",] == 2
    assert found["cadenza_requests_accepted_total", "c1"] == 7
    assert found["process_open_fds", "c1"] > 0
    folder = shop.folder / ".cadenza" / "journal"
    assert [path.name for path in folder.iterdir() if path.suffix == ".prom"] == ["c1.prom"]
    (folder / "c2.prom").write_text("cadenza_requests_accepted_total {{{")
    os.utime(folder / "c1.prom", (1, 1))
    assert ("cadenza_requests_accepted_total", "c1") not in samples(shop), "it does not write any more"
    publisher.close()
    assert not (folder / "c1.prom").exists()
