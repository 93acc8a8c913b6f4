"""The placebo test, on made-up units and on real revenue."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from cadenza.ids import bucket
from cadenza.statistics.lift import mean_difference, moments
from cadenza.statistics.placebo import placebo
from cadenza.store.duckdb_engine import DuckEngine

DATA = Path(__file__).parents[2] / "examples" / "online-retail" / "data" / "online_retail.parquet"
SALTS = [f"placebo {i}" for i in range(200)]


def test_nothing_was_done_so_one_in_twenty_misses_zero() -> None:
    random = Random(2)
    units = [(i, random.expovariate(0.1)) for i in range(600)]
    result = placebo(units, 2_000, SALTS)
    assert result.assignments == 200
    assert result.ok and 0.01 <= (result.share_missing or 0) <= 0.10


def test_it_counts_what_the_comparison_itself_would_say() -> None:
    random = Random(4)
    units = [(i, random.gauss(0, 1)) for i in range(200)]
    missing = 0
    for salt in SALTS[:40]:
        arms: tuple[list[float], list[float]] = ([], [])
        for person, value in units:
            arms[bucket(salt, person) < 5_000].append(value)
        missing += not mean_difference(*moments(arms[0]), *moments(arms[1])).covers_zero
    assert placebo(units, 5_000, SALTS[:40]).missing == missing


def test_it_can_fail() -> None:
    """An assignment that is not random (value decides with the bucket) would be noticed: here units come in
    clumps of fifty equal ones under one id, so the interval is far too narrow."""
    random = Random(9)
    units = [
        (i // 50, value)
        for i, value in enumerate(v for v in (random.gauss(0, 1) for _ in range(40)) for _ in range(50))
    ]
    result = placebo(units, 5_000, SALTS)
    assert not result.ok and (result.share_missing or 0) > 0.3


def test_too_few_units_give_no_answer() -> None:
    result = placebo([(1, 2.0)], 2_000, SALTS)
    assert (result.assignments, result.share_missing) == (0, None)


LAPSING = """
WITH invoice AS (
    SELECT CustomerID AS c, min(InvoiceDate) AS t, sum(Quantity * UnitPrice) AS v, InvoiceNo LIKE 'C%' AS refund
    FROM read_parquet(?) WHERE CustomerID IS NOT NULL GROUP BY CustomerID, InvoiceNo
), bought AS (
    SELECT c, t, lead(t) OVER w AS next, sum(v) OVER w AS total FROM invoice WHERE NOT refund WINDOW w AS (PARTITION BY c ORDER BY t, v)
), lapsed AS (
    SELECT c, min(t + INTERVAL 90 DAY) AS since FROM bought
    WHERE total >= 500 AND coalesce(next, TIMESTAMP '2012-01-01') >= t + INTERVAL 90 DAY AND t <= TIMESTAMP '2011-08-13'
    GROUP BY c
)
SELECT l.c, coalesce(sum(i.v), 0)::DOUBLE FROM lapsed l
LEFT JOIN invoice i ON i.c = l.c AND i.t > l.since AND i.t <= l.since + INTERVAL 28 DAY GROUP BY l.c ORDER BY l.c
"""


def test_on_real_revenue_the_interval_keeps_its_level() -> None:
    """Customers of the example at the moment they lapse, and their revenue of the 28 days after it: two in three buy
    nothing, a few buy for thousands."""
    if not DATA.exists():
        pytest.skip("the example's data file is not in this checkout")
    engine = DuckEngine.open(None)
    units = [(int(person), float(value)) for person, value in engine.query(LAPSING, [str(DATA)])]
    engine.close()
    assert len(units) > 900 and max(value for _, value in units) > 5_000
    result = placebo(units, 2_000, SALTS)
    assert result.ok and 0.02 <= (result.share_missing or 0) <= 0.09
