"""Deployment: a project from the log becomes columns, journey versions and dimension tables of the store."""

from __future__ import annotations

import msgspec

from cadenza.definitions.graph import flatten
from cadenza.definitions.kinds import Journey
from cadenza.definitions.project import Project, encode, version_of
from cadenza.errors import StoreError
from cadenza.ids import fingerprint
from cadenza.ports.engine import Engine
from cadenza.sql import zones
from cadenza.sql.columns import Schema
from cadenza.sql.expression import Compiler, Needs
from cadenza.sql.program import Program, Version
from cadenza.sql.step import Step, sql
from cadenza.sql.tables import BY_NAME, TABLES, create_statements
from cadenza.stages import events, identity, journeys, profiles, segments, tasks
from cadenza.stages.journeys import control, migrating

FAR_PAST, FAR_FUTURE = "0001-01-01", "9999-12-31"


class DeployBody(msgspec.Struct):
    """The body of a ``deploy`` record."""

    project: Project
    fingerprint: str


def deploy_body(project: Project) -> bytes:
    """The canonical body of the record that deploys a project."""
    data = encode(project)
    return msgspec.json.encode(DeployBody(project=project, fingerprint=fingerprint([data])), order="sorted")


def prepare(engine: Engine) -> None:
    """Create the tables of an empty store; an existing one is left as it is. StoreError: it is of another catalogue."""
    with engine.transaction():
        _check_columns(engine)
        for statement in create_statements():
            engine.execute(statement)
        if engine.query("SELECT count(*) FROM clock")[0][0] == 0:
            engine.execute(f"INSERT INTO clock VALUES (0, TIMESTAMP '{FAR_PAST}', TIMESTAMP '{FAR_PAST}', 0, 0)")
            engine.append_json("tz_rule", BY_NAME["tz_rule"].columns, zones.rows())


def _check_columns(engine: Engine) -> None:
    """A store that another version of Cadenza made has its tables, perhaps not its columns. The log has everything."""
    found: dict[str, set[str]] = {}
    for table, name in engine.query(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = current_database() AND NOT internal"
    ):
        found.setdefault(table, set()).add(name)
    for table in TABLES:
        lacks = [name for name in table.columns if name not in found.get(table.name, table.columns)]
        if lacks:
            raise StoreError(
                f"the store was made by another version of Cadenza: its table '{table.name}' has no column '{lacks[0]}'.",
                remedy="Run 'cadenza rebuild': it makes the store anew from the log, with the same decisions.",
            )


def load(engine: Engine, copied: Program | None = None) -> Program | None:
    """The program of the last deployment, with older versions that still hold people; None before the first. ``copied``:
    that of a store of which this is a copy; what it generated is used again."""
    if copied is not None:
        _fill_dimensions(engine, copied)
        return copied
    rows = engine.query("SELECT project FROM deployment ORDER BY offset_ DESC LIMIT 1")
    if not rows:
        return None
    project = msgspec.json.decode(rows[0][0], type=Project)
    program = Program(project, deployed_versions(engine))
    _widen_enrollments(engine, program)
    _fill_dimensions(engine, program)
    return program


def deployed_versions(engine: Engine, all_: bool = False) -> list[Version]:
    """The versions in force and older ones that held somebody; ``all_``: all that ever were in force."""
    rows = engine.query(
        "SELECT jid, definition, current FROM journey_version v WHERE ? OR current OR EXISTS "
        "(SELECT 1 FROM enrollment e WHERE e.jid = v.jid) ORDER BY jid", [all_],
    )  # fmt: skip
    found = []
    for jid, definition, current in rows:
        journey = msgspec.json.decode(definition, type=Journey)
        found.append(Version(jid=jid, journey=journey, graph=flatten(journey), current=current))
    return found


def _fill_dimensions(engine: Engine, program: Program) -> None:
    for table, (columns, rows) in program.dimensions().items():
        engine.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({', '.join(f'{c} {k}' for c, k in columns.items())})")
        if rows:
            engine.append_json(table, columns, msgspec.json.encode(rows))


def deploy(engine: Engine, body: bytes, offset: int, recorded_at: str, wave: int,
           controls: journeys.Controls | None = None) -> Program:  # fmt: skip
    """Take over a deployed project at ``recorded_at`` (ISO, naive UTC), inside the tick's transaction. ``controls``: what
    people commanded of its journeys.

    Memberships are recomputed for everyone; a change by deployment triggers no journey.
    """
    try:
        parsed = msgspec.json.decode(body, type=DeployBody)
    except msgspec.MsgspecError as error:
        raise StoreError(
            f"the deployed project cannot be read: {error}", where=f"log record {offset}",
            remedy="It was written by another version of Cadenza; run the version that deployed it.",
        ) from error  # fmt: skip
    project = parsed.project
    engine.query(
        "INSERT INTO deployment VALUES (?, ?::TIMESTAMP, ?, ?)",
        [offset, recorded_at, parsed.fingerprint, encode(project).decode()],
    )
    coming = _renew_versions(engine, project, recorded_at)
    program = Program(project, deployed_versions(engine))
    _migrate(engine, program)
    _fill_dimensions(engine, program)
    _describe_versions(engine, program)
    mapped = _move_people(engine, program, coming, controls or journeys.Controls())
    if program.hands:
        engine.execute(f"SET VARIABLE wave = {wave}::BIGINT")
        run(engine, tasks.deployed(program))
    _recompute(engine, program, wave)
    if mapped:
        run(engine, [migrating.look()])
    return program


def run(engine: Engine, steps: list[Step]) -> None:
    """Execute steps in order."""
    for step in steps:
        engine.execute(step.sql)


def _renew_versions(engine: Engine, project: Project, recorded_at: str) -> dict[int, bool]:
    """New versions for new or changed journeys; the jids of those that come into force, and whether they were before."""
    known = {
        (journey, version): (jid, current)
        for jid, journey, version, current in engine.query("SELECT jid, journey, version, current FROM journey_version")
    }
    engine.execute("UPDATE journey_version SET current = FALSE")
    next_jid = max((jid for jid, _ in known.values()), default=0) + 1
    coming: dict[int, bool] = {}
    for journey in project.journeys:
        version = version_of(journey)
        jid, current = known.get((journey.name, version), (None, False))
        if jid is not None:
            engine.execute("UPDATE journey_version SET current = TRUE WHERE jid = ?", [jid])
            if not current:
                coming[jid] = True
            continue
        engine.query(
            "INSERT INTO journey_version VALUES (?, ?, ?, ?, ?::TIMESTAMP, TRUE, ?)",
            [next_jid, journey.name, version, journey.priority, recorded_at,
             msgspec.json.encode(journey, order="sorted").decode()],
        )  # fmt: skip
        coming[next_jid] = False
        next_jid += 1
    return coming


def _move_people(engine: Engine, program: Program, coming: dict[int, bool], controls: journeys.Controls) -> bool:
    """What the versions that come into force do with those inside others; whether somebody was mapped."""
    found = [
        migration
        for jid, known in coming.items()
        for migration in migrating.migrations(program.versions.values(), program.versions[jid], known)
    ]
    rows = migrating.rows(found)
    if not rows:
        return False
    paused = [
        (name, mode)
        for name, mode in controls.paused.items()
        if mode in control.STANDSTILL and any(program.versions[jid].journey.name == name for jid in coming)
    ]
    for name, mode in paused:
        run(engine, control.resume(name, mode))
    columns = ", ".join(f"{name} {kind}" for name, kind in migrating.COLUMNS.items())
    engine.execute(f"CREATE OR REPLACE TEMP TABLE t_migration ({columns})")
    engine.append_json("t_migration", migrating.COLUMNS, msgspec.json.encode(rows))
    run(engine, migrating.migrate(frozenset(_columns(engine, "enrollment"))))
    for name, mode in paused:
        run(engine, control.pause(name, mode))
    return any(row["fate"] == "map" for row in rows)


def _columns(engine: Engine, table: str) -> dict[str, str]:
    return {
        name: kind
        for name, kind in engine.query(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? AND NOT internal", [table]
        )
    }


def _migrate(engine: Engine, program: Program) -> None:
    """Columns for what the project declares; history is read again for what is new."""
    schema: Schema = program.schema
    for table, wanted in (("profile", schema.profile_columns()), ("event", schema.event_columns())):
        have = _columns(engine, table)
        for name, kind in wanted.items():
            base = kind.split(" DEFAULT")[0]
            if have.get(name) == base:
                continue
            if name in have:
                engine.execute(f'ALTER TABLE {table} DROP COLUMN "{name}"')
            engine.execute(f'ALTER TABLE {table} ADD COLUMN "{name}" {kind}')
            if table == "event":
                _backfill_property(engine, name, schema.properties[name[2:]])
    _backfill_traits(engine, program)
    _widen_enrollments(engine, program)


def _widen_enrollments(engine: Engine, program: Program) -> None:
    """Columns for what the journeys in use keep with a passage. None is ever taken away."""
    have = _columns(engine, "enrollment")
    for name, kind in journeys.kept_columns(program).items():
        if name not in have:
            engine.execute(f'ALTER TABLE enrollment ADD COLUMN "{name}" {kind}')


def _backfill_property(engine: Engine, name: str, kind: str) -> None:
    value = sql(f"""json_extract_string(properties, '$."{name[2:]}"')""")
    tree = events.typed(value, kind)
    engine.execute(
        f'UPDATE event SET "{name}" = {tree.sql(dialect="duckdb")} FROM event_payload AS y '
        "WHERE y.offset_ = event.offset_ AND y.properties IS NOT NULL"
    )


def _backfill_traits(engine: Engine, program: Program) -> None:
    known = {t for (t,) in engine.query("SELECT DISTINCT trait FROM trait_value")}
    for trait in program.project.traits:
        if trait.from_ is None or trait.name in known:
            continue
        path = "$." + ".".join(f'"{p}"' for p in trait.from_.removeprefix("traits.").split("."))
        value = f"json_extract_string(traits, '{path}')"
        converts = events.typed(sql(value), trait.type).sql(dialect="duckdb")
        engine.execute(
            f"INSERT INTO trait_value SELECT pid, origin_pid, '{trait.name}', {value}, occurred_at, recorded_at, 0, NULL, "
            f"offset_, 'record' FROM event JOIN event_payload USING (offset_) WHERE traits IS NOT NULL AND ({converts}) IS NOT NULL"
        )


def _describe_versions(engine: Engine, program: Program) -> None:
    # Versions that hold nobody any more keep their description: what happened in them is still told.
    jids = ", ".join(str(jid) for jid in sorted(program.versions)) or "NULL"
    engine.execute(f"DELETE FROM journey_step WHERE jid IN ({jids})")
    engine.execute(f"DELETE FROM journey_hop WHERE jid IN ({jids})")
    steps, hops = [], []
    for version in program.versions.values():
        for stop in version.graph.stops:
            steps.append({"jid": version.jid, "step": stop.step, "path": stop.path, "kind": stop.kind,
                          "template": " or ".join(stop.candidates) or None})  # fmt: skip
        for hop in version.graph.hops:
            hops.append({"jid": version.jid, "hop": hop.hop, "taken": msgspec.json.encode(hop.taken).decode()})
    if steps:
        engine.append_json("journey_step", BY_NAME["journey_step"].columns, msgspec.json.encode(steps))
        engine.append_json("journey_hop", BY_NAME["journey_hop"].columns, msgspec.json.encode(hops))


def everyone_row(program: Program) -> profiles.Row:
    """The shape that recomputes everything of everyone: a deployment, or a check against increments."""
    needs = Needs()
    stops = journeys.rechecked(program, journeys.every_stop(program), frozenset())
    journeys.boundaries(program, stops, Compiler(program.schema, needs))
    return profiles.Row(
        traits=frozenset(t.name for t in program.project.traits),
        terms=profiles.segment_terms(program) | frozenset(needs.terms.values()), properties=frozenset(),
        journeys=profiles.segment_journeys(program), recompute=True, sent=True, consents=True, suppressions=True,
        segments=True, events=False,
    )  # fmt: skip


def _recompute(engine: Engine, program: Program, wave: int) -> None:
    if engine.query("SELECT count(*) FROM profile")[0][0] == 0:
        return
    engine.execute(f"SET VARIABLE wave = {wave}::BIGINT")
    shape = everyone_row(program)
    run(engine, [identity.everyone(), journeys.passages(), *profiles.row(program, shape, events.typed)])
    changed = changed_segments(engine, program)
    run(engine, segments.memberships(program, changed, deploy=True))
    run(engine, profiles.write_back(program, shape, fresh=False, known=True, changed=True))
    stops = journeys.rechecked(program, journeys.every_stop(program), frozenset())
    if stops:
        run(engine, [journeys.recheck(program, stops)])


def changed_segments(engine: Engine, program: Program, scheduled: bool = False) -> frozenset[tuple[str, bool]]:
    """Which (segment, entered) changes occurred in the wave; ``scheduled``: see ``profiles.Row``."""
    query = segments.summary(program, scheduled)
    if query is None:
        return frozenset()
    counts = engine.query(query)[0]
    return frozenset(pair for pair, count in zip(segments.possible(program, scheduled), counts, strict=True) if count)
