"""Only one SELECT over the catalogue passes."""

from __future__ import annotations

import pytest

from cadenza.errors import ExpressionError
from cadenza.sql.read_only import read_only


@pytest.mark.parametrize(
    "sql",
    [
        "select count(*) from person",
        "with a as (select 1 as x) select * from a, event",
        "select unnest([1, 2])",
        "select * from unnest([1])",
        "from person",
        "select 1 union all select 2",
    ],
)
def test_a_query_over_the_catalogue_passes(sql: str) -> None:
    assert read_only(sql, 10).endswith("LIMIT 10")


@pytest.mark.parametrize(
    "sql",
    [
        "delete from person",
        "copy person to 'x'",
        "select 1; select 2",
        "select * from read_csv('x.csv')",
        "select * from 'x.csv'",
        'select * from (with "x.csv" as (select 1) select * from "x.csv"), "x.csv"',
        "select * from glob('*')",
        "select * from query('select 1')",
        "select read_text('x')",
        "select getenv('HOME')",
        "select * from information_schema.tables",
        "select * from duckdb_settings()",
        "with x as (delete from person returning *) select * from x",
        "select * into t from person",
        "attach 'x.db'",
        "set memory_limit='1GB'",
        "select from where",
        "",
    ],
)
def test_anything_else_is_refused(sql: str) -> None:
    with pytest.raises(ExpressionError):
        read_only(sql, 10)


def test_a_wrong_table_gets_a_hint() -> None:
    with pytest.raises(ExpressionError, match="Did you mean 'person'"):
        read_only("select * from persons", 10)
