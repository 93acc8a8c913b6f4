"""Segments: changes of membership, as intervals. Conditions are evaluated with the wave's row (``profiles``)."""

from __future__ import annotations

from sqlglot import exp

from cadenza.sql.program import Program
from cadenza.sql.step import Script, Step, any_of, column, sql, text

_SCRIPT = Script.beside(__file__, "segments")


def change(segment: str, entered: bool) -> exp.Expr:
    """Whether the row ``c`` entered (or left) a segment at this item."""
    now, before = column(f"n_{segment}", "c"), column(f"s_{segment}", "c")
    return exp.and_(now, exp.not_(before)) if entered else exp.and_(before, exp.not_(now))


def memberships(program: Program, changed: frozenset[tuple[str, bool]], deploy: bool = False) -> list[Step]:
    """Rows for the (segment, entered) changes that occurred in the wave."""
    if not changed:
        return []
    return program.cached(("segments", changed, deploy), lambda: [_memberships(changed, deploy)])


def _memberships(changed: frozenset[tuple[str, bool]], deploy: bool) -> Step:
    ordered = sorted(changed)
    rows = [exp.Tuple(expressions=[text(s), exp.true() if e else exp.false()]) for s, e in ordered]
    tests = [
        exp.and_(
            exp.EQ(this=column("segment", "k"), expression=text(s)),
            column("entered", "k") if e else exp.not_(column("entered", "k")), change(s, e),
        )
        for s, e in ordered
    ]  # fmt: skip
    cause = text("deploy") if deploy else sql("CASE WHEN c.offset_ IS NULL THEN 'time' ELSE 'record' END")
    return _SCRIPT.step("membership", changes=rows, changed=any_of(tests), cause=cause)


def possible(program: Program, scheduled: bool) -> list[tuple[str, bool]]:
    """The (segment, entered) changes that a wave may bring. ``scheduled``: also those of an instant."""
    pairs = [(name, entered) for name in program.schema.segments for entered in (True, False)]
    return [*pairs, *((name, True) for name in program.scheduled)] if scheduled else pairs


def summary(program: Program, scheduled: bool = False) -> str | None:
    """A query that counts how often each of the ``possible`` changes occurred in the wave; None without segments."""
    if not program.schema.segments:
        return None
    return program.cached(("segments.summary", scheduled), lambda: _summary(possible(program, scheduled)))


def _summary(pairs: list[tuple[str, bool]]) -> str:
    counts = [
        exp.Filter(this=exp.Count(this=exp.Star()), expression=exp.Where(this=change(s, e))) for s, e in pairs
    ]  # fmt: skip
    query = exp.select(*counts).from_(exp.alias_(exp.to_table("w_ctx"), "c", table=True))
    return query.sql(dialect="duckdb")
