"""Plan and apply: what a changed project would do to whom, counted on the store, and the record that does it.

A plan changes nothing: new columns and recomputed memberships live in temporary tables that stand before the
store's own, so the counts come from the same SQL that deployment runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import msgspec

from cadenza.clock import to_micros
from cadenza.definitions.difference import Change, difference
from cadenza.definitions.graph import flatten
from cadenza.definitions.implied import is_implied
from cadenza.definitions.kinds import Journey
from cadenza.definitions.project import Project, decode, encode, version_of
from cadenza.errors import CadenzaError
from cadenza.ids import ACCOUNTS, fingerprint
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Log, NewRecord
from cadenza.runtime.contract_impact import ContractPlan, contract_plans
from cadenza.runtime.deploy import deploy_body, deployed_versions, everyone_row, run
from cadenza.runtime.step_changes import StepChange, step_changes
from cadenza.sql.expression import Compiler, Needs
from cadenza.sql.program import Program, Version
from cadenza.sql.step import sql
from cadenza.stages import events, identity, journeys, profiles
from cadenza.stages.journeys import migrating


class SegmentPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A segment whose members change: how many there are, will be, enter and leave."""

    name: str
    members: int
    after: int
    entering: int
    leaving: int


class StepFate(msgspec.Struct, frozen=True, kw_only=True):
    """How many rest at a step of a version, and what happens to them: they ``pin`` (finish on their version), ``exit``,
    ``restart``, or stand at the step ``to`` of the new version (``map``)."""

    version: str
    path: str
    people: int
    fate: str
    to: str | None = None


class JourneyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A journey that is added, changed or removed, and what happens to those inside, as it declares. ``steps``: people at
    each step; ``people``: what happens to them; ``step_changes``: what changed, step by step."""

    name: str
    change: str
    in_flight: str
    inside: int
    steps: dict[str, int]
    people: tuple[StepFate, ...] = ()
    step_changes: tuple[StepChange, ...] = ()


class CompiledSql(msgspec.Struct, frozen=True, kw_only=True):
    """The SQL of a condition or trait, over one row per person (alias ``c``)."""

    kind: str
    name: str
    sql: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What applying a project would change. ``persons``: how many there are."""

    fingerprint: str
    deployed: str | None
    changes: tuple[Change, ...]
    persons: int
    segments: tuple[SegmentPlan, ...]
    journeys: tuple[JourneyPlan, ...]
    sql: tuple[CompiledSql, ...]
    contracts: tuple[ContractPlan, ...] = ()


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment: its place in the log. It is in force when the tick has consumed it."""

    fingerprint: str
    offset: int
    at: datetime


def plan(engine: Engine, deployed: Project | None, wanted: Project, log: Log | None = None) -> Plan:
    """What applying ``wanted`` would change. ``engine``: a connection of its own to the store. ``log``: where changed
    contracts are tried on recent records; without it they are not."""
    changes = difference(deployed, wanted)
    program = Program(wanted, _versions(wanted))
    return Plan(
        fingerprint=fingerprint([encode(wanted)]),
        deployed=fingerprint([encode(deployed)]) if deployed is not None else None,
        changes=changes, persons=engine.query(f"SELECT count(*) FROM person WHERE merged_into IS NULL AND pid < {ACCOUNTS}")[0][0],
        segments=tuple(_segments(engine, deployed, program)) if deployed is not None else (),
        journeys=tuple(_journeys(engine, changes, deployed, wanted)), sql=tuple(_compiled(program)),
        contracts=contract_plans(deployed, wanted, log),
    )  # fmt: skip


def apply(log: Log, project: Project, at: datetime) -> Deployed:
    """Append the record that deploys a project at ``at`` (raised where the log is later already)."""
    body = deploy_body(project)
    found = fingerprint([encode(project)])
    record = NewRecord(
        kind="deploy", source="cadenza", message_id=f"deploy:{found}:{log.head().offset}", body=body, at=to_micros(at)
    )
    appended = log.append([record], to_micros(at))[0]
    return Deployed(fingerprint=found, offset=appended.offset, at=at)


def older_project(engine: Engine, version: str) -> Project:
    """The project that was deployed under a fingerprint, or the beginning of one. Raises CadenzaError."""
    rows = engine.query(
        "SELECT fingerprint, any_value(project) FROM deployment WHERE starts_with(fingerprint, ?) GROUP BY fingerprint",
        [version],
    )
    if len(rows) != 1 or len(version) < 4:
        known = [name for (name,) in engine.query("SELECT fingerprint FROM deployment ORDER BY offset_ DESC LIMIT 20")]
        remedy = f"Deployed were, newest first: {', '.join(dict.fromkeys(known)) or 'none'}."
        raise CadenzaError(f"'{version}' names {len(rows)} deployed versions.", remedy=remedy)
    return decode(rows[0][1])


def _versions(project: Project) -> list[Version]:
    return [
        Version(jid=i, journey=journey, graph=flatten(journey), current=True)
        for i, journey in enumerate(project.journeys, start=1)
    ]


def _journeys(
    engine: Engine, changes: tuple[Change, ...], deployed: Project | None, wanted: Project
) -> Iterator[JourneyPlan]:
    inside: dict[str, dict[str, int]] = {}
    for journey, path, n in engine.query(
        "SELECT v.journey, s.path, count(*) FROM enrollment AS e JOIN journey_version AS v ON v.jid = e.jid "
        "JOIN journey_step AS s ON s.jid = e.jid AND s.step = e.step WHERE e.step >= 0 GROUP BY ALL ORDER BY ALL"
    ):
        inside.setdefault(journey, {})[path] = n
    before = {j.name: j for j in deployed.journeys} if deployed else {}
    after = {j.name: j for j in wanted.journeys}
    fates = _Fates(engine, changes, after)
    for change in changes:
        if change.kind != "journeys":
            continue
        steps, old, new = inside.get(change.name, {}), before.get(change.name), after.get(change.name)
        yield JourneyPlan(
            name=change.name, change=change.change, inside=sum(steps.values()), steps=steps,
            in_flight=new.in_flight if new is not None else "pin", people=tuple(fates.of(change.name)),
            step_changes=step_changes(old, new) if old is not None and new is not None else (),
        )  # fmt: skip


class _Fates:
    """What happens to whom, by the rows that a deployment works with."""

    def __init__(self, engine: Engine, changes: tuple[Change, ...], wanted: dict[str, Journey]) -> None:
        named = [change.name for change in changes if change.kind == "journeys"]
        self._versions = deployed_versions(engine, all_=True) if named else []
        self._wanted = wanted
        self._people = engine.query(
            "SELECT e.jid, e.step, count(*) FROM enrollment AS e WHERE e.step >= 0 GROUP BY ALL ORDER BY ALL"
        )

    def of(self, name: str) -> Iterator[StepFate]:
        mine = {v.jid: v for v in self._versions if v.journey.name == name}
        fates = {(m.jid, m.step): m for m in self._migrations(name, list(mine.values()))}
        for jid, step, n in self._people:
            if jid in mine:
                fate = fates.get((jid, step))
                yield StepFate(
                    version=version_of(mine[jid].journey), path=mine[jid].graph.stops[step].path, people=n,
                    fate=fate.fate if fate else "pin", to=fate.to_path if fate and fate.fate == "map" else None,
                )  # fmt: skip

    def _migrations(self, name: str, mine: list[Version]) -> list[migrating.Migration]:
        journey = self._wanted.get(name)
        if journey is None:
            return []
        known = next((v for v in mine if version_of(v.journey) == version_of(journey)), None)
        new = known or Version(jid=0, journey=journey, graph=flatten(journey), current=True)
        return migrating.migrations(mine, new, known is not None)


def _compiled(program: Program) -> Iterator[CompiledSql]:
    compiler = Compiler(program.schema, Needs())
    for name, tree in program.schema.values.items():
        yield CompiledSql(kind="trait", name=name, sql=compiler.stored_value(tree).sql(dialect="duckdb", pretty=True))
    for name, tree in program.segments.items():
        kind = "journey" if is_implied(name) else "segment"
        yield CompiledSql(kind=kind, name=name, sql=compiler.condition(tree).sql(dialect="duckdb", pretty=True))
    for version in program.current():
        entry, ends = version.journey.entry, version.journey.exit
        for part, condition in (("when", entry.when), ("unless", entry.unless), ("goal", ends.goal),
                                ("disqualified", ends.disqualified)):  # fmt: skip
            if condition is not None:
                text = compiler.condition(condition).sql(dialect="duckdb", pretty=True)
                yield CompiledSql(kind="journey", name=f"{version.journey.name}.{part}", sql=text)


# --- memberships under the wanted project -----------------------------------------------------------


def _segments(engine: Engine, deployed: Project, program: Program) -> Iterator[SegmentPlan]:
    """Segments that gain or lose members by the change alone, at the store's horizon."""
    if not program.schema.segments:
        return
    known = {s.name for s in deployed.segments}
    with _shadowed(engine, program):
        horizon = engine.query("SELECT horizon FROM clock")[0][0]
        engine.execute(f"SET VARIABLE horizon = TIMESTAMP '{horizon}'")
        shape = everyone_row(program)
        run(engine, [identity.everyone(), journeys.passages(), *profiles.row(program, shape, events.typed)])
        for name in (n for n in program.schema.segments if not is_implied(n)):
            members, after, entering, leaving = engine.query(
                f'SELECT count(*) FILTER ("s_{name}"), count(*) FILTER ("n_{name}"), '
                f'count(*) FILTER ("n_{name}" AND NOT "s_{name}"), count(*) FILTER ("s_{name}" AND NOT "n_{name}") '
                "FROM w_ctx"
            )[0]
            if entering or leaving or name not in known:
                yield SegmentPlan(name=name, members=members, after=after, entering=entering, leaving=leaving)


@contextmanager
def _shadowed(engine: Engine, program: Program) -> Iterator[None]:
    """Temporary tables with the wanted columns stand before the store's; the store is only read."""
    shadows = [_shadow_profile(engine, program), _shadow_events(engine, program), _shadow_traits(engine, program)]
    try:
        yield
    finally:
        for table in filter(None, shadows):
            engine.execute(f"DROP TABLE IF EXISTS temp.main.{table}")


def _store(engine: Engine) -> str:
    return f'"{engine.query("SELECT current_database()")[0][0]}".main'


def _columns(engine: Engine, table: str) -> dict[str, str]:
    return dict(
        engine.query(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? AND database_name = current_database()",
            [table],
        )
    )


def _shadow_profile(engine: Engine, program: Program) -> str:
    have, wanted = _columns(engine, "profile"), program.schema.profile_columns()
    parts = ["pid", "check_at"]
    for name, kind in wanted.items():
        base = kind.split(" DEFAULT")[0]
        default = "FALSE" if kind.endswith("FALSE") else "NULL"
        parts.append(f'"{name}"' if have.get(name) == base else f'CAST({default} AS {base}) AS "{name}"')
    engine.execute(f"CREATE OR REPLACE TEMP TABLE profile AS SELECT {', '.join(parts)} FROM {_store(engine)}.profile")
    return "profile"


def _shadow_events(engine: Engine, program: Program) -> str | None:
    have, wanted = _columns(engine, "event"), program.schema.event_columns()
    new = {n: k for n, k in wanted.items() if have.get(n) != k}
    if not new:
        return None
    values = []
    for name in new:
        raw = sql(f"""json_extract_string(y.properties, '$."{name[2:]}"')""")
        values.append(f'{events.typed(raw, program.schema.properties[name[2:]]).sql(dialect="duckdb")} AS "{name}"')
    kept = ", ".join(f'e."{c}"' for c in have if c not in new)
    store = _store(engine)
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE event AS SELECT {kept}, {', '.join(values)} FROM {store}.event AS e "
        f"LEFT JOIN {store}.event_payload AS y ON y.offset_ = e.offset_"
    )
    return "event"


def _shadow_traits(engine: Engine, program: Program) -> str | None:
    store = _store(engine)
    known = {t for (t,) in engine.query(f"SELECT DISTINCT trait FROM {store}.trait_value")}
    new = [t for t in program.project.traits if t.from_ is not None and t.name not in known]
    if not new:
        return None
    engine.execute(f"CREATE OR REPLACE TEMP TABLE trait_value AS SELECT * FROM {store}.trait_value")
    for trait in new:
        path = "$." + ".".join(f'"{p}"' for p in (trait.from_ or "").removeprefix("traits.").split("."))
        value = f"json_extract_string(y.traits, '{path}')"
        converts = events.typed(sql(value), trait.type).sql(dialect="duckdb")
        engine.execute(
            f"INSERT INTO temp.main.trait_value SELECT e.pid, e.origin_pid, '{trait.name}', {value}, e.occurred_at, "
            f"e.recorded_at, 0, NULL, e.offset_, 'record' FROM {store}.event AS e JOIN {store}.event_payload AS y "
            f"ON y.offset_ = e.offset_ WHERE y.traits IS NOT NULL AND ({converts}) IS NOT NULL"
        )
    return "trait_value"


__all__ = [
    "CompiledSql",
    "ContractPlan",
    "Deployed",
    "JourneyPlan",
    "Plan",
    "SegmentPlan",
    "StepChange",
    "StepFate",
    "apply",
    "plan",
]
