"""Fit the response model to a store: rates by cell of declared segments, from the days before an instant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from sqlglot import exp

from cadenza.definitions.builtin import TASK_EVENTS
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError, OperatingError, near_miss
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Log
from cadenza.runtime.trials.response.effect import Arm, estimated
from cadenza.runtime.trials.response.model import (
    ANSWERS,
    MARK,
    NANO,
    WITHIN_S,
    Answering,
    Arriving,
    Cells,
    Donor,
    Estimate,
    Lift,
    Model,
    Newcomers,
    identifier_paths,
)
from cadenza.sql import step
from cadenza.sql.columns import OUTCOME_EVENTS, SYSTEM_EVENTS
from cadenza.sql.program import Program
from cadenza.statistics.rates import between_people, dispersion, rates, shares

_SCRIPT = step.Script.beside(__file__, "measure")
DAY = timedelta(days=1)
MOST_DAYS = 56
"""So many days back, at most, the history is used."""
FEWEST_DAYS = 7
MONTH = 28
"""From so many days on, days of the week are told apart."""
MOST_SEGMENTS = 12
MOST_DONORS = 1_000
"""First days of newcomers that are kept to happen again."""
FEW = 30
"""Events of a cell from which on it is its own donor."""
_NEVER_ALONE = (frozenset(TASK_EVENTS) | OUTCOME_EVENTS) - SYSTEM_EVENTS | {"Message Failed"}
"""Events that are no person's own doing: what becomes of messages and of tasks."""


def fitted(
    engine: Engine, log: Log, program: Program, before: Project, since: datetime, by: Sequence[str] | None
) -> Model:
    """Fit the days before ``since``. ``engine``: a store of its own, which gets tables of the fit; ``program``: what is in
    force in it from ``since`` on; ``before``: what was until then. ``by``: the segments that tell people apart, None: all
    that are the same in both. Raises OperatingError where there is too little history, CadenzaError for an unknown
    segment or too many."""  # fmt: skip
    days = _days(engine, since)
    start = since - days * DAY
    cells = Cells(_segments(program.project, before, by))
    cut: dict[str, step.Part] = {"start": _instant(start), "since": _instant(since)}
    engine.execute(_sql("sim_span", **cut, bits=cells.bits(), days=step.number(days)))
    names = _names(program)
    engine.execute(_sql("sim_happened", **cut, names=[step.text(n) for n in names]))
    exposure = _exposure(engine, days)
    found = [_arriving(engine, number, name, exposure, days) for number, name in enumerate(_seen(engine, names))]
    _events_table(engine, found)
    _propensities(engine, found)
    effects = _effects(engine, found, cut)
    found = _lifted(engine, found, effects, cut, days)
    _donors(engine, program, found)
    newcomers = _newcomers(engine, log, cut, days)
    answering = _answering(engine, cut)
    for table in ("sim_span", "sim_happened", "sim_sent", "sim_answered"):
        engine.execute(f"DROP TABLE {table}")
    if not found and not newcomers.count:
        raise OperatingError(
            f"nobody came and nothing that a definition reacts to happened in the {days} days before {since:%Y-%m-%d %H:%M}.",
            remedy="Import a history that has such events, or ask 'cadenza forecast' what is certain to come.",
        )
    return Model(
        since=since, days=days, cells=cells, arriving=tuple(found), answering=answering, newcomers=newcomers,
        effects=effects, notes=tuple(_notes(program, names, found, answering)), identifiers=identifier_paths(before),
    )  # fmt: skip


def _days(engine: Engine, since: datetime) -> int:
    first = engine.query("SELECT min(recorded_at) FROM event WHERE recorded_at < ?", [since])[0][0]
    whole = 0 if first is None else (since - first) // DAY
    if whole < FEWEST_DAYS:
        raise OperatingError(
            f"the history has {whole} whole days; {FEWEST_DAYS} at least are needed to fit how people respond.",
            remedy="Import a history, or come back later; 'cadenza forecast' says what is certain to come by then.",
        )
    return min(whole, MOST_DAYS)


def _segments(project: Project, before: Project, by: Sequence[str] | None) -> tuple[str, ...]:
    """Those whose history says what they will mean."""
    were = {s.name: s.when for s in before.segments}
    same = [s.name for s in project.segments if s.name in were and were[s.name] == s.when]
    if by is None:
        if len(same) > MOST_SEGMENTS:
            raise CadenzaError(
                f"people cannot be told apart by {len(same)} segments.",
                remedy=f"Name up to {MOST_SEGMENTS} of them with --by.",
            )
        return tuple(same)
    for name in by:
        if name not in same:
            raise CadenzaError(
                f"there is no segment '{name}' that means now what it meant in the history.",
                remedy=near_miss(name, same),
            )
    return tuple(dict.fromkeys(by))


def _names(program: Program) -> list[str]:
    """Events that may change something: what definitions react to, and what metrics count."""
    metrics = {name for m in program.project.metrics for name in (m.event, m.minus) if name}
    return sorted((program.reactive | metrics) - _NEVER_ALONE)


# --- events that people do by themselves --------------------------------------------------------------------


def _exposure(engine: Engine, days: int) -> dict[int, list[int]]:
    """Cell -> persons on each day."""
    found: dict[int, list[int]] = {}
    for cell, day, people in engine.query(_sql("exposure", days=step.number(days))):
        found.setdefault(cell, [0] * days)[day] = people
    return found


def _seen(engine: Engine, names: Iterable[str]) -> list[str]:
    seen = {name for (name, _, _) in engine.query(_sql("happened_by_cell"))}
    return [name for name in names if name in seen]


def _arriving(engine: Engine, number: int, name: str, exposure: Mapping[int, list[int]], days: int) -> Arriving:
    counted = {c: n for (of, c, n) in engine.query(_sql("happened_by_cell")) if of == name}
    daily = [0] * days
    for of, day, n in engine.query(_sql("happened_by_day")):
        if of == name:
            daily[day] = n
    cells = tuple(sorted(exposure))
    groups = [(counted.get(cell, 0), sum(exposure[cell])) for cell in cells]

    def expected(spread: float) -> list[float]:
        means = rates(groups, spread).means()
        return [sum(m * exposure[c][d] for m, c in zip(means, cells, strict=True)) for d in range(days)]

    weekdays, spread = _rhythm(daily, expected(1.0))
    return Arriving(
        number=number, name=name, cells=cells, counts=tuple(groups), per_day=rates(groups, spread), dispersion=spread,
        weekdays=weekdays,
    )  # fmt: skip


def _rhythm(daily: Sequence[int], expected: Sequence[float]) -> tuple[tuple[float, ...], float]:
    """(factors of the days of the week, how much more than a Poisson the days scatter around what is expected)."""
    flat = (1.0,) * 7
    spread = dispersion(list(zip(daily, expected, strict=True)))
    if len(daily) < MONTH or not sum(expected):
        return flat, spread
    weeks = [(sum(daily[d::7]), sum(expected[d::7])) for d in range(7)]
    found = rates(weeks, spread)
    factors = tuple(found.means())
    adjusted = [(o, e * factors[d % 7]) for d, (o, e) in enumerate(zip(daily, expected, strict=True))]
    return factors, dispersion(adjusted)


def _events_table(engine: Engine, found: Sequence[Arriving]) -> None:
    """The events by number, and what is expected of each cell."""
    engine.load("t_sim_event", {
        "number": ("BIGINT", [a.number for a in found]), "name": ("VARCHAR", [a.name for a in found]),
    })  # fmt: skip
    engine.execute("CREATE OR REPLACE TABLE sim_event AS SELECT * FROM t_sim_event")
    engine.execute("DROP TABLE t_sim_event")
    rows = [(a.number, c, mean) for a in found for c, mean in zip(a.cells, a.per_day.means(), strict=True)]
    engine.load("sim_rate", {
        "number": ("BIGINT", [number for number, _, _ in rows]), "cell": ("BIGINT", [cell for _, cell, _ in rows]),
        "rate": ("BIGINT", [round(NANO * mean) for _, _, mean in rows]),
    })  # fmt: skip


def _propensities(engine: Engine, found: Sequence[Arriving]) -> None:
    """Who does things more often than their cell; only where people differ by more than chance."""
    engine.execute(_sql("sim_expected"))
    shapes = {
        number: shape
        for number, expected, people, excess in engine.query(_sql("excess"))
        if (shape := between_people(expected / NANO, excess / 1e6, people)) is not None
    }
    engine.load("sim_shape", {
        "number": ("BIGINT", list(shapes)), "shape": ("BIGINT", [max(round(1e6 * s), 1) for s in shapes.values()]),
    })  # fmt: skip
    engine.execute(_sql("sim_propensity"))
    for table in ("sim_shape", "sim_rate", "sim_expected"):
        engine.execute(f"DROP TABLE {table}")


def _effects(engine: Engine, found: Sequence[Arriving], cut: Mapping[str, step.Part]) -> tuple[Estimate, ...]:
    arms: dict[str, list[Arm]] = defaultdict(list)
    for row in engine.records(_sql("effect", **cut, within_s=step.number(WITHIN_S))):
        arms[row["name"]].append(msgspec.convert(row, Arm))
    return tuple(estimated(arriving.name, arms[arriving.name]) for arriving in found)


def _lifted(
    engine: Engine, found: list[Arriving], effects: Sequence[Estimate], cut: Mapping[str, step.Part], days: int
) -> list[Arriving]:
    """With the effects that holdouts show."""
    used = {e.name: e for e in effects if e.used and e.ratio is not None and e.error is not None}
    if not used:
        return found
    query = _sql("recent", start=cut["start"], days=step.number(days), within_s=step.number(WITHIN_S))
    recent, whole = engine.query(query)[0]
    return [
        msgspec.structs.replace(a, lift=Lift(ratio=e.ratio, error=e.error, recent=recent / max(whole, 1)))
        if (e := used.get(a.name)) is not None and e.ratio is not None and e.error is not None else a
        for a in found
    ]  # fmt: skip


def _donors(engine: Engine, program: Program, found: Sequence[Arriving]) -> None:
    """Events to happen again. A text that is never the same twice identifies the event: it gets a mark."""
    texts = [name for name, kind in program.schema.properties.items() if kind == "string"]
    pairs: dict[str, list[str]] = defaultdict(list)
    if found and texts:
        counts = [c for name in texts for c in _counts(name)]
        for name, *numbers in engine.query(_sql("repeats", counts=counts)):
            for place, text in enumerate(texts):
                values, different = numbers[2 * place : 2 * place + 2]
                if values >= 10 and values == different:
                    pairs[name].append(text)
    said: exp.Expr = step.column("properties", "y")
    for name, keys in sorted(pairs.items()):
        marked = [part for key in keys for part in (step.text(key), _marked(key))]
        patch = exp.func("json_object", *marked, dialect=step.DIALECT)
        merged = exp.func(
            "json_merge_patch", exp.cast(step.column("properties", "y"), "json", dialect=step.DIALECT), patch
        )
        said = exp.Case().when(
            exp.EQ(this=step.column("name", "v"), expression=step.text(name)),
            exp.cast(merged, "varchar", dialect=step.DIALECT),
        ).else_(said)  # fmt: skip
    engine.execute(_sql("sim_donor", properties=said))
    engine.execute(_sql("sim_pool", few=step.number(FEW)))


def _counts(name: str) -> list[exp.Expr]:
    column = step.column(f"p_{name}", "e")
    different = exp.Count(this=exp.Distinct(expressions=[column.copy()]))
    return [step.alias(exp.Count(this=column), f"n_{name}"), step.alias(different, f"d_{name}")]


def _marked(key: str) -> exp.Expr:
    """A missing value stays missing: a merge with null takes the key away, and there was none."""
    return exp.DPipe(this=step.column(f"p_{key}", "e"), expression=step.text(f"~{MARK}"))


# --- people who come, and answers to messages ----------------------------------------------------------------


def _newcomers(engine: Engine, log: Log, cut: Mapping[str, step.Part], days: int) -> Newcomers:
    daily = [0] * days
    for day, n in engine.query(_sql("newcomers", **cut)):
        daily[day] = n
    count = sum(daily)
    weekdays, spread = _rhythm(daily, [count / days] * days)
    firsts: dict[int, list[Donor]] = {}
    for pid, offset, within in engine.query(_sql("newcomer_records", **cut, most=step.number(MOST_DONORS))):
        records = log.read(offset - 1, 1)
        if records and records[0].offset == offset and records[0].kind == "call":
            firsts.setdefault(pid, []).append(Donor(within, records[0].body))
    return Newcomers(
        count=count, per_day=rates([(count, days)], spread), dispersion=spread, weekdays=weekdays,
        donors=tuple(tuple(donors) for _, donors in sorted(firsts.items())),
    )  # fmt: skip


def _answering(engine: Engine, cut: Mapping[str, step.Part]) -> tuple[Answering, ...]:
    within = step.number(WITHIN_S)
    engine.execute(_sql("sim_sent", **cut, within_s=within))
    names = [step.text(name) for name in sorted(set(ANSWERS.values()))]
    engine.execute(_sql("sim_answered", since=cut["since"], within_s=within, names=names))
    rows: dict[str, list[dict[str, int]]] = defaultdict(list)
    for row in engine.records(_sql("answers")):
        rows[row.pop("channel")].append(row)
    engine.execute(_sql("sim_echo"))
    engine.execute(_sql("sim_echoes"))
    return tuple(_channel(channel, counted) for channel, counted in sorted(rows.items()))


def _channel(channel: str, rows: Sequence[dict[str, int]]) -> Answering:
    """Of how many: all that were planned, those that did not fail, those that arrived, those that were opened, the rest."""
    trials = {
        "failed": lambda r: r["planned"], "sent": lambda r: r["planned"] - r["failed"],
        "bounced": lambda r: r["planned"] - r["failed"], "clicked": lambda r: r["opened"],
        "blind": lambda r: r["arrived"] - r["opened"],
    }  # fmt: skip
    counts = {
        kind: tuple((row[kind], trials.get(kind, lambda r: r["arrived"])(row)) for row in rows) for kind in ANSWERS
    }
    seen = {kind: groups for kind, groups in counts.items() if any(n for n, _ in groups)}
    return Answering(
        channel=channel, cells=tuple(row["cell"] for row in rows), counts=seen,
        shares={kind: shares(groups) for kind, groups in seen.items()},
    )  # fmt: skip


def _notes(
    program: Program, names: Sequence[str], found: Sequence[Arriving], answering: Sequence[Answering]
) -> Iterable[str]:
    """What the history does not say, and what is therefore left out."""
    unseen = [name for name in names if name not in {a.name for a in found} and name not in SYSTEM_EVENTS]
    if unseen:
        yield f"Nobody did these in the history, so nobody does here: {', '.join(unseen)}."
    known = {a.channel for a in answering}
    silent = sorted({t.channel for t in program.project.templates} - known)
    if silent:
        yield (
            f"No message by {', '.join(silent)} went out early enough to know what people answer; here nobody answers one."
        )
    for channel in answering:
        never = [kind for kind in ("opened", "clicked", "unsubscribed", "bounced") if kind not in channel.shares]
        if never:
            yield f"By {channel.channel} this never happened, so it does not here: {', '.join(never)}."
    if program.hands:
        yield "Nobody works on tasks here: they end when their time is up."


def _instant(at: datetime) -> exp.Expr:
    return step.instant(at.isoformat(" "))


def _sql(name: str, /, **parts: step.Part) -> str:
    return _SCRIPT.step(name, **parts).sql
