"""What any engine must do for the runtime, on the default one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cadenza.errors import StoreError
from cadenza.ports.engine import Engine
from cadenza.store.duckdb_engine import DuckEngine


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = DuckEngine.open(None)
    yield engine
    engine.close()


@pytest.mark.parametrize(
    "texts",
    [
        ["a", "b", "c"],
        ["", "", ""],
        ["it's", '{"a":"\\n\\u001e"}', "ünï\ncode ☂"],
        ["with the \x1e separator", "a", ""],
    ],
    ids=["plain", "empty", "quotes and lines", "separator"],
)
def test_loaded_columns_are_what_was_given(engine: Engine, texts: list[str]) -> None:
    numbers = [-(2**62), 0, 2**63 - 1]
    engine.load("t_given", {"n": ("BIGINT", numbers), "s": ("VARCHAR", texts), "u": ("VARCHAR", texts)})
    assert engine.query("SELECT n, s, u FROM t_given") == list(zip(numbers, texts, texts, strict=True))


def test_loading_replaces_and_nothing_is_an_empty_table(engine: Engine) -> None:
    engine.load("t_given", {"n": ("BIGINT", [1]), "s": ("VARCHAR", ["a"])})
    engine.load("t_given", {"n": ("BIGINT", []), "s": ("VARCHAR", [])})
    assert engine.query("SELECT * FROM t_given") == []
    assert engine.query("SELECT n + 1, s || 'x' FROM t_given") == []


def test_an_expectation_changes_no_result(engine: Engine) -> None:
    query = (
        "SELECT a.i, count(*) FROM range(5000) AS a(i) JOIN range(3) AS b(i) ON a.i % 3 = b.i GROUP BY a.i ORDER BY a.i"
    )
    expected = engine.query(query)
    for rows in (1, 1_000_000, 1):
        engine.expect(rows)
        assert engine.query(query) == expected


def test_a_failed_transaction_leaves_nothing(engine: Engine) -> None:
    engine.execute("CREATE TABLE kept (i INTEGER)")
    with pytest.raises(StoreError), engine.transaction():
        engine.execute("INSERT INTO kept VALUES (1)")
        engine.execute("SELECT nothing FROM nowhere")
    assert engine.query("SELECT count(*) FROM kept") == [(0,)]
