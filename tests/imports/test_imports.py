"""Importing a declared file: what is read, made, refused, kept and counted."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec
import pytest

from cadenza.clock import to_micros
from cadenza.definitions.kinds import Contract, Control, Lookup, Property, RecordMapping
from cadenza.definitions.project import Project
from cadenza.errors import TerminalError
from cadenza.runtime.imports import first_instant
from cadenza.store.duckdb_engine import DuckEngine
from tests.imports.conftest import CONTRACT, ORDER, Bench

HEAD = "no,customer,at,amount\n"
replace = msgspec.structs.replace


def micros(*parts: int) -> int:
    return to_micros(datetime(*parts))  # type: ignore[arg-type]


def test_rows_become_records_in_order_of_time(bench: Bench) -> None:
    report = bench.run(
        bench.source(HEAD + "2,b,2026-01-02 10:00:00,5.10\n1,a,2026-01-01 10:00:00,12345678901234.125\n")
    )
    assert [r["userId"] for r in bench.calls()] == ["a", "b"]
    bodies = [r.body for r in bench.log.read(0, 10)]
    assert bodies[0] == b'{"command":"replay"}'
    assert bodies[1] == (
        b'{"event":"Order Completed","occurred_at":1767261600000000,"properties":{"order_id":"1",'
        b'"revenue":12345678901234.125},"type":"track","userId":"a"}'
    )
    assert report.lines == report.groups == report.stored == 2
    assert report.records[0].sums == {"revenue": Decimal("12345678901239.225")}
    assert (report.first_at, report.last_at) == (micros(2026, 1, 1, 10), micros(2026, 1, 2, 10))


def test_recorded_at_follows_the_file_not_the_wall_clock(bench: Bench) -> None:
    bench.run(bench.source(HEAD + "1,a,2026-01-01 10:00:00,1\n2,a,2026-01-01 10:00:00,1\n"))
    command, first, second = bench.log.read(0, 10)
    assert command.recorded_at < first.recorded_at == micros(2026, 1, 1, 10) < second.recorded_at
    assert first.imported and second.imported


def test_a_second_import_stores_nothing_and_refuses_nothing_twice(bench: Bench) -> None:
    source = bench.source(HEAD + "1,a,2026-01-01,1\n2,a,2026-01-02,-1\n3,a,2026-01-03\n")
    first = bench.run(source)
    assert (first.stored, first.quarantined) == (
        1, {"contract: Order Completed.revenue minimum": 1, "unreadable_line": 1},
    )  # fmt: skip
    kept = bench.log.quarantine_counts()
    head = bench.log.head()
    again = bench.run(source)
    assert (again.stored, again.duplicate, again.late) == (0, 1, False)
    assert bench.log.head() == head
    assert bench.log.quarantine_counts() == kept


def test_a_changed_row_is_a_conflict_not_a_second_record(bench: Bench) -> None:
    bench.run(bench.source(HEAD + "1,a,2026-01-01,1\n"))
    report = bench.run(bench.source(HEAD + "1,a,2026-01-01,2\n2,a,2026-01-01,2\n"))
    assert (report.stored, report.conflict) == (1, 1)
    assert report.late
    assert len(bench.calls()) == 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1,a,yesterday,1", "bad_timestamp"),
        ("1,a,,1", "bad_timestamp"),
        ("1,a,2031-01-01,1", "future_timestamp"),
        (",a,2026-01-01,1", "no_message_id"),
        (f"{'9' * 95},a,2026-01-01,1", "message_id_too_long"),
        ("1,a,2026-01-01,-1", "contract: Order Completed.revenue minimum"),
        ("1,a,2026-01-01,much", "contract: Order Completed.revenue required"),
        ("1,a,2026-01-01,1,2", "unreadable_line"),
        ("1,a", "unreadable_line"),
    ],
)
def test_what_cannot_be_stored_is_kept_with_its_reason(bench: Bench, row: str, reason: str) -> None:
    report = bench.run(bench.source(HEAD + f"0,a,2026-01-01,1\n{row}\n"))
    assert (report.lines, report.stored, report.quarantined) == (2, 1, {reason: 1})
    assert bench.log.quarantine_counts() == {("shop", reason): 1}


def test_refused_revenue_is_counted_apart(bench: Bench) -> None:
    report = bench.run(bench.source(HEAD + "1,a,2026-01-01,10.5\n2,a,2026-01-02,-3.25\n"))
    [count] = report.records
    assert (count.made, count.stored, count.quarantined) == (2, 1, 1)
    assert count.sums["revenue"] == Decimal("7.25")
    assert count.refused_sums["revenue"] == Decimal("-3.25")


def test_a_flagging_contract_keeps_the_record_and_its_digits(bench: Bench) -> None:
    flagging = replace(CONTRACT, on_violation="flag")
    report = bench.run(bench.source(HEAD + "1,a,2026-01-01,-12345678901234.125\n"), (flagging,))
    assert report.flagged == {"contract: Order Completed.revenue minimum": 1}
    [body] = [r.body for r in bench.log.read(0, 10) if r.kind == "call"]
    assert b'"flags":["contract: Order Completed.revenue minimum"],"occurred_at"' in body
    assert b"-12345678901234.125" in body


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2026-01-01 12:00:00", (2026, 1, 1, 12)),
        ("2026-07-01 12:00:00", (2026, 7, 1, 11)),
        ("2026-03-29 00:59:59", (2026, 3, 29, 0, 59, 59)),
        ("2026-03-29 01:30:00", (2026, 3, 29, 1, 30)),  # does not exist: moved on by the gap
        ("2026-03-29 02:00:00", (2026, 3, 29, 1)),
        ("2026-10-25 01:30:00", (2026, 10, 25, 0, 30)),  # twice: the first
        ("2026-10-25 02:00:00", (2026, 10, 25, 2)),
        ("2026-07-01T12:00:00Z", (2026, 7, 1, 12)),
        ("2026-07-01 12:00:00+02:00", (2026, 7, 1, 10)),
        ("2026-07-01", (2026, 6, 30, 23)),
    ],
)
def test_local_times(bench: Bench, local: str, utc: tuple[int, ...]) -> None:
    rows = f"0,a,2025-01-01,1\n1,a,{local},1\n"
    bench.run(bench.source(HEAD + rows, time_zone="Europe/London"))
    typed = replace(ORDER, message_id="'t-' || no", timestamp="strptime(left(at, 10), '%Y-%m-%d')",
                    properties=ORDER.properties | {"at": "cast(at as timestamptz)"})  # fmt: skip
    bench.run(bench.source(HEAD + rows, records=(typed,), time_zone="Europe/London"))
    assert bench.calls()[1]["occurred_at"] == micros(*utc)


def test_time_properties_are_instants(bench: Bench) -> None:
    record = replace(ORDER, properties={"order_id": "no", "revenue": "1", "on": "cast(at as timestamp)"})
    bench.run(bench.source(HEAD + "1,a,2026-07-01 12:00:00.5,1\n", records=(record,), time_zone="Europe/London"))
    assert bench.calls()[0]["properties"]["on"] == "2026-07-01T11:00:00.500000Z"


LINES = "no,customer,at,sku,n,price\n"
GROUPED = RecordMapping(
    call="track", event="Order Completed", message_id="'order-' || no", timestamp="min(at)", user_id="customer",
    properties={
        "order_id": "no", "revenue": "sum(cast(n as integer) * cast(price as decimal(18, 2)))",
        "products": "list({'sku': sku, 'quantity': cast(n as integer)} order by line_number)",
    },
)  # fmt: skip


def test_groups_keep_the_order_of_lines(bench: Bench) -> None:
    text = LINES + "1,a,2026-01-01,z,2,1.10\n2,b,2026-01-01,y,1,3\n1,a,2026-01-01,a,1,0.10\n"
    report = bench.run(bench.source(text, (GROUPED,), group_by=("no", "customer")))
    assert (report.lines, report.groups, report.without_record) == (3, 2, 0)
    first = bench.calls()[0]["properties"]
    assert first["revenue"] == 2.30
    assert [p["sku"] for p in first["products"]] == ["z", "a"]


@pytest.mark.parametrize(("treatment", "revenue"), [("keep", 3.0), ("drop", 2.0)])
def test_exact_duplicate_lines_are_counted_either_way(bench: Bench, treatment: str, revenue: float) -> None:
    text = LINES + "1,a,2026-01-01,z,1,1\n1,a,2026-01-01,z,1,1\n1,a,2026-01-01,y,1,1\n"
    report = bench.run(bench.source(text, (GROUPED,), group_by=("no", "customer"), duplicates=treatment))
    assert (report.lines, report.exact_duplicate_lines, report.duplicates) == (3, 1, treatment)
    assert bench.calls()[0]["properties"]["revenue"] == revenue


def test_once_per_takes_the_first_and_comes_before_at_the_same_instant(bench: Bench) -> None:
    identify = RecordMapping(
        call="identify", message_id="'who-' || customer", timestamp="at", user_id="customer", once_per="customer",
        when="customer <> 'c'", traits={"first_order": "no", "empty": "''"},
    )  # fmt: skip
    rows = "3,,2026-01-01,1\n4,c,2026-01-01,1\n2,a,2026-01-02,1\n1,a,2026-01-01,1\n"
    report = bench.run(bench.source(HEAD + rows, (identify, ORDER)))
    assert [(c["type"], c.get("userId")) for c in bench.calls()] == [
        ("identify", "a"), ("track", None), ("track", "c"), ("track", "a"), ("track", "a"),
    ]  # fmt: skip
    assert bench.calls()[0]["traits"] == {"first_order": "1"}
    assert [(c.label, c.made) for c in report.records] == [("identify", 1), ("Order Completed", 4)]


def test_rows_that_no_mapping_wants_are_counted(bench: Bench) -> None:
    picky = replace(ORDER, when="cast(amount as integer) > 1")
    report = bench.run(bench.source(HEAD + "1,a,2026-01-01,1\n2,a,2026-01-01,2\n3,a,2026-01-01,\n", (picky,)))
    assert (report.groups, report.made, report.without_record) == (3, 1, 2)


def test_lookups_join_and_misses_are_counted(bench: Bench) -> None:
    (bench.folder / "zones.csv").write_text("customer,zone\na,Europe/Rome\n", encoding="utf-8")
    record = replace(ORDER, call="identify", event=None, properties={}, traits={"zone": "zones.zone"})
    lookups = {"zones": Lookup(path="zones.csv", key="customer", on="customer")}
    text = HEAD + "1,a,2026-01-01,1\n2,b,2026-01-01,1\n3,b,2026-01-01,1\n"
    report = bench.run(bench.source(text, (record,), lookups=lookups))
    assert [c.get("traits") for c in bench.calls()] == [{"zone": "Europe/Rome"}, {}, {}]
    assert report.lookup_misses == {"zones": 1}
    (bench.folder / "zones.csv").write_text("customer,zone\na,x\na,y\n", encoding="utf-8")
    with pytest.raises(TerminalError, match="more than once: a"):
        bench.run(bench.source(text, (record,), lookups=lookups))


def test_json_lines(bench: Bench) -> None:
    text = (
        '{"no": 1, "customer": "a", "at": "2026-01-01T10:00:00Z", "amount": 1.5, "who": {"name": "Ann"}}\n'
        '{"no": 2, "customer": \n'
        "[1]\n"
        "\n"
        '{"no": 3, "customer": "b", "at": "2026-01-01T10:00:00Z", "amount": null}\n'
    )
    record = replace(ORDER, properties=ORDER.properties | {"name": "who ->> '$.name'"})
    report = bench.run(bench.source(text, (record,), format="jsonl"))
    assert report.quarantined == {"unreadable_line": 2, "contract: Order Completed.revenue required": 1}
    assert (report.lines, report.stored) == (4, 1)
    assert bench.calls()[0]["properties"] == {"order_id": "1", "revenue": 1.5, "name": "Ann"}


def test_what_json_cannot_say_is_absent(bench: Bench) -> None:
    record = replace(ORDER, properties={"order_id": "no", "revenue": "1", "ratio": "cast(amount as double)"})
    bench.run(bench.source(HEAD + "1,a,2026-01-01,nan\n2,a,2026-01-02,0.5\n", (record,)))
    assert [c["properties"].get("ratio") for c in bench.calls()] == [None, 0.5]


def test_quotes_and_unicode_survive(bench: Bench) -> None:
    bench.run(bench.source(HEAD + '"a""b\\ü☃","c\'d",2026-01-01,1\n'))
    [call] = bench.calls()
    assert (call["properties"]["order_id"], call["userId"]) == ('a"b\\ü☃', "c'd")


def test_control_totals(bench: Bench) -> None:
    controls = {
        "rows": Control(sql="count(*)", expect="2"),
        "value": Control(sql="sum(cast(amount as decimal(18, 2)))", expect="3.00"),
        "shown": Control(sql="max(no)"),
        "wrong": Control(sql="count(distinct customer)", expect="2"),
    }
    report = bench.run(bench.source(HEAD + "1,a,2026-01-01,1\n2,a,2026-01-01,2\n", controls=controls))
    assert [(c.name, c.found, c.ok) for c in report.controls] == [
        ("rows", "2", True), ("value", "3.00", True), ("shown", "2", True), ("wrong", "1", False),
    ]  # fmt: skip
    assert not report.reconciled


def test_progress_ends_at_the_total(bench: Bench) -> None:
    bench.run(bench.source(HEAD + "".join(f"{i},a,2026-01-01,1\n" for i in range(5_001))))
    assert [(p.done, p.total) for p in bench.seen] == [(5_000, 5_001), (5_001, 5_001)]


def test_first_instant(bench: Bench) -> None:
    source = bench.source(HEAD + "2,a,2026-01-02,1\n1,a,2026-01-01,1\n")
    engine = DuckEngine.open(None)
    assert first_instant(Project(sources=(source,)), "shop", bench.folder, engine) == micros(2026, 1, 1)
    empty = bench.source(HEAD)
    assert first_instant(Project(sources=(empty,)), "shop", bench.folder, engine) is None
    engine.close()


def test_an_empty_file_imports_nothing(bench: Bench) -> None:
    report = bench.run(bench.source(HEAD))
    assert (report.lines, report.made) == (0, 0)
    assert bench.log.head().offset == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "nothing.csv"}, "does not exist"),
        ({"records": (replace(ORDER, user_id="custmer"),)}, "Did you mean 'customer'"),
        ({"records": (replace(ORDER, timestamp="1"),)}, "is of type INTEGER"),
        ({"records": (replace(ORDER, user_id="min(customer)"),)}, "needs groups of rows"),
        ({"records": (replace(ORDER, user_id="(select 1)"),)}, "not allowed"),
        ({"records": (replace(ORDER, user_id="cast(customer as integer)"),)}, "try_cast"),
        ({"time_zone": "Europe/Londn"}, "not a time zone"),
        ({"group_by": ("no",)}, "GROUP BY"),
        (
            {"group_by": ("no",), "records": (replace(
                GROUPED, user_id=None, properties={"revenue": "sum(cast(amount as double))"}),)},
            "depend on the order of rows",
        ),
    ],
)  # fmt: skip
def test_a_source_that_does_not_run_appends_nothing(bench: Bench, change: dict[str, object], message: str) -> None:
    source = replace(bench.source(HEAD + "1,a,2026-01-01,1\n"), **change)
    with pytest.raises(TerminalError, match="shop") as caught:
        bench.run(source)
    assert message in str(caught.value)
    assert bench.log.head().offset == 0


def test_an_unknown_source_has_a_hint(bench: Bench) -> None:
    source = bench.source(HEAD)
    engine = DuckEngine.open(None)
    with pytest.raises(TerminalError, match="Did you mean 'shop'"):
        first_instant(Project(sources=(source,)), "shopp", bench.folder, engine)
    engine.close()


def test_records_without_contract_need_no_decoding(bench: Bench) -> None:
    report = bench.run(bench.source(HEAD + "1,a,2026-01-01,-1\n"), (Contract(name="Other", properties={
        "x": Property(type="string", required=True),
    }),))  # fmt: skip
    assert report.stored == 1
