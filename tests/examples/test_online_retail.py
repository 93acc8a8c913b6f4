"""The example project: it validates, its file reconciles to the digit, its templates render."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cadenza.clock import SystemClock, from_micros
from cadenza.definitions.load import Loaded, load
from cadenza.ledger.log import SqliteLog
from cadenza.ports.ledger import Record
from cadenza.runtime.imports import ImportReport, import_source
from cadenza.runtime.render import render
from cadenza.store.duckdb_engine import DuckEngine

FOLDER = Path(__file__).parents[2] / "examples" / "online-retail"


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load(FOLDER)


class Imported(msgspec.Struct):
    """The file imported once, then once more."""

    report: ImportReport
    again: ImportReport
    records: list[Record]
    quarantine: dict[tuple[str, str], int]

    def bodies(self, event: str) -> list[dict[str, Any]]:
        found = (msgspec.json.decode(r.body) for r in self.records if r.kind == "call")
        return [body for body in found if event in (body.get("event"), body["type"])]


@pytest.fixture(scope="module")
def imported(loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imported]:
    log = SqliteLog.open(tmp_path_factory.mktemp("retail") / "log.db")
    reports = []
    for _ in range(2):
        engine = DuckEngine.open(None)
        reports.append(import_source(loaded.project, "online_retail", FOLDER, engine, log, SystemClock()))
        engine.close()
    yield Imported(reports[0], reports[1], log.read(0, 100_000), log.quarantine_counts())
    log.close()


def test_it_validates_without_a_warning(loaded: Loaded) -> None:
    assert loaded.warnings == ()
    assert [journey.name for journey in loaded.project.journeys] == ["second_purchase", "service_recovery", "win_back"]


def test_the_file_is_the_one_that_is_described() -> None:
    digest = hashlib.sha256((FOLDER / "data" / "online_retail.parquet").read_bytes()).hexdigest()
    assert digest in (FOLDER / "data" / "SOURCE.md").read_text(encoding="utf-8")


def test_every_journey_has_its_four_exits_and_an_outcome(loaded: Loaded) -> None:
    metrics = {metric.name for metric in loaded.project.metrics}
    for journey in loaded.project.journeys:
        assert journey.exit.superseded and journey.exit.time_limit_s > 0
        assert journey.outcome.metric in metrics
    assert loaded.project.journey("win_back").holdout is not None
    assert loaded.project.policy.caps and loaded.project.policy.quiet_hours is not None


def test_the_figures_reconcile_with_the_file(imported: Imported) -> None:
    report = imported.report
    assert report.reconciled and report.conserved
    found = {control.name: control.found for control in report.controls}
    assert found == {
        "lines": "541909", "invoices": "25900", "identified_customers": "4372", "value_of_all_lines": "9747747.934",
        "lines_without_customer": "135080", "cancelled_lines": "9288", "customers_who_ordered": "4339",
        "orders_of_identified": "18536", "value_of_their_orders": "8911407.904",
    }  # fmt: skip
    assert (report.lines, report.groups, report.without_record) == (541_909, 25_900, 0)
    assert (report.exact_duplicate_lines, report.duplicates, report.lookup_misses) == (5_268, "keep", {"zones": 2})


def test_records_reconcile_with_the_lines(imported: Imported) -> None:
    by_label = {count.label: count for count in imported.report.records}
    orders, refunds = by_label["Order Completed"], by_label["Order Refunded"]
    assert (by_label["identify"].stored, by_label["Consent Updated"].stored) == (4_372, 4_372)
    assert (orders.made, orders.stored, orders.quarantined) == (22_064, 20_725, 1_339)
    assert (refunds.made, refunds.stored) == (3_836, 3_836)
    assert orders.made + refunds.made == 25_900
    assert orders.sums["revenue"] - refunds.sums["revenue"] == Decimal("9747747.934")
    assert orders.sums["revenue"] - orders.refused_sums["revenue"] == Decimal("10655622.484")
    assert orders.refused_sums["revenue"] == Decimal("-11062.060")


def test_the_log_holds_what_the_report_says(imported: Imported) -> None:
    orders = imported.bodies("Order Completed")
    known = [body for body in orders if "userId" in body]
    assert (len(orders), len(known), len({body["userId"] for body in known})) == (20_725, 18_536, 4_339)
    assert sum(Decimal(str(body["properties"]["revenue"])) for body in known) == Decimal("8911407.904")
    lines = sum(len(body["properties"]["products"]) for body in orders)
    refunded = sum(len(body["properties"]["products"]) for body in imported.bodies("Order Refunded"))
    assert lines + refunded == 541_909 - 1_339  # each quarantined invoice has one line
    assert all(body["properties"]["revenue"] > 0 for body in imported.bodies("Order Refunded"))
    assert imported.quarantine == {("online_retail", "contract: Order Completed.document enum"): 1_339}


def test_who_a_customer_is_comes_before_what_they_did(imported: Imported) -> None:
    seen: set[str] = set()
    for record in imported.records[1:]:
        body = msgspec.json.decode(record.body)
        if body["type"] == "identify":
            seen.add(body["userId"])
        elif "userId" in body:
            assert body["userId"] in seen
    at = [record.recorded_at for record in imported.records]
    assert at == sorted(set(at))
    assert from_micros(imported.report.first_at or 0).isoformat() == "2010-12-01T08:26:00"
    assert imported.records[0].body == b'{"command":"replay"}'


def test_consent_follows_the_stated_rule(imported: Imported) -> None:
    statements = {body["userId"]: body["properties"]["granted"] for body in imported.bodies("Consent Updated")}
    assert len(statements) == 4_372
    for customer, granted in statements.items():
        assert granted == (int(hashlib.md5(customer.encode()).hexdigest()[:2], 16) < 0xD9)
    assert 0.83 < Counter(statements.values())[True] / 4_372 < 0.87


def test_traits_of_a_customer(imported: Imported) -> None:
    traits = {body["userId"]: body["traits"] for body in imported.bodies("identify")}
    assert traits["17850"] == {
        "email": "customer-17850@retail.example", "country": "United Kingdom", "time_zone": "Europe/London",
    }  # fmt: skip
    without = {t["country"] for t in traits.values() if "time_zone" not in t}
    assert without <= {"European Community", "Unspecified"}
    assert traits["12431"]["time_zone"] == "Australia/Sydney"


def test_summer_time_is_london_time(imported: Imported) -> None:
    by_order = {body["properties"]["order_id"]: body for body in imported.bodies("Order Completed")}
    assert from_micros(by_order["536365"]["occurred_at"]).isoformat() == "2010-12-01T08:26:00"
    july = min(
        (b for b in by_order.values() if b["occurred_at"] > 1_309_500_000_000_000), key=lambda b: b["occurred_at"]
    )
    assert from_micros(july["occurred_at"]).hour < 8  # the shop opens at 8 by its own clock


def test_importing_again_changes_nothing(imported: Imported) -> None:
    assert imported.again.stored == imported.again.conflict == 0
    assert imported.again.duplicate == imported.report.stored
    assert imported.again.conserved and not imported.again.late


CONTEXT = {
    "lifetime_revenue": "1234.500", "orders": 3, "last_order_at": "2011-06-01T22:30:00.000000Z", "time_zone": "Europe/Paris",
    "email": "customer-17850@retail.example",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("order_thanks", ["your order 536365", "6 x WHITE HANGING HEART T-LIGHT HOLDER at £2.55", "Total: £139.12"]),
        ("second_order_reminder", ["£1,234.50 in all", "- WHITE METAL LANTERN", "/reorder/536365"]),
        ("second_order_bestsellers", ["unsubscribe"]),
        ("free_shipping_mail", ["2 June 2011", "unsubscribe"]),
        ("bestsellers_mail", ["since June", "unsubscribe"]),
        ("last_call_mail", ["over 3 orders", "£1,234.50", "unsubscribe"]),
        ("refund_apology", ["reference C536379", "£27.50"]),
    ],
)
def test_templates_say_what_they_should(loaded: Loaded, imported: Imported, name: str, shown: list[str]) -> None:
    """Rendered with the properties of real events of the file."""
    event, key, value = ("Order Completed", "order_id", "536365")
    if name == "refund_apology":
        event, key, value = ("Order Refunded", "refund_id", "C536379")
    [entry] = [b["properties"] for b in imported.bodies(event) if b["properties"].get(key) == value]
    context = msgspec.json.encode(CONTEXT | {"entry": entry}).decode()
    message = render(loaded.project.template(name), context, "m-1", address="customer-17850@retail.example")
    text = f"{message.subject}\n{message.text}"
    assert [part for part in shown if part not in text] == []
    assert not any(sign in text for sign in ("{{", "{%", "}}"))


def test_marketing_names_the_way_out_and_service_does_not_sell(loaded: Loaded) -> None:
    for template in loaded.project.templates:
        assert ("unsubscribe" in template.body) == (template.message_class == "marketing")
