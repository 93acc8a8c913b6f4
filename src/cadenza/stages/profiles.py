"""Profiles: what is known of a person. Builds ``w_ctx``, the one row per person that a wave decides on."""

from __future__ import annotations

import msgspec
from sqlglot import exp

from cadenza.definitions.expression import Agg
from cadenza.sql.columns import consent_column, of_subject
from cadenza.sql.expression import Compiler, Needs, aggregate, term_name
from cadenza.sql.program import RESUMES, Program
from cadenza.sql.step import Script, Step, alias, any_of, case_on, column, number, sql, text

_SCRIPT = Script.beside(__file__, "profiles")

STRONG = ("hard_bounce", "complaint", "legal")
"""Suppressions that hold for every class of message."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What a wave's row must hold.

    ``recompute``: stored traits come from the event table, else from the profile. ``sent``, ``consents``,
    ``suppressions``: the wave changed sent traits, statements, suppressions. ``segments``: evaluate them;
    ``scheduled``: also those in which one is for an instant, at a time of a schedule.
    """

    traits: frozenset[str]
    terms: frozenset[Agg]
    properties: frozenset[str]
    journeys: frozenset[str]
    recompute: bool
    sent: bool
    consents: bool
    suppressions: bool
    segments: bool
    events: bool
    scheduled: bool = False


def take_in(
    program: Program, index_of: dict[str, int], typed, *, traits: bool, consents: bool, suppressions: bool,
    lifted: bool = False,
) -> list[Step]:  # fmt: skip
    """Ledgers of what this wave's records say of a person. ``index_of``: path -> position in the queue's extraction
    lists. ``typed(value, kind)`` converts text. ``lifted``: somebody said that suppressions end."""
    steps = [program.cached("profiles.traits", lambda: _trait_values(program, index_of, typed))] if traits else []
    if consents:
        purposes = sorted({p for p, _ in program.schema.consents}) or [""]
        steps.append(_SCRIPT.step("consent", purposes=[exp.Tuple(expressions=[text(p)]) for p in purposes]))
    if suppressions:
        until = typed(sql("json_extract_string(t.properties, '$.until')"), "timestamp")
        steps.append(program.cached("profiles.suppression", lambda: _SCRIPT.step("suppression", until=until)))
    return [*steps, _SCRIPT.step("unsuppression")] if lifted else steps


def timed() -> str:
    """A query: whether some suppression ends by itself."""
    return _SCRIPT.text("timed")


def _trait_values(program: Program, index_of: dict[str, int], typed) -> Step:
    traits = [(t.name, t.type, f"traits.{t.from_.removeprefix('traits.')}") for t in program.project.traits if t.from_]
    rows = [exp.Tuple(expressions=[text(name), text(kind), number(index_of[path])]) for name, kind, path in traits]
    converts = [
        (text(kind), exp.Not(this=exp.Is(this=exp.paren(typed(column("value", "v"), kind)), expression=exp.Null())))
        for kind in sorted({kind for _, kind, _ in traits})
    ]
    return _SCRIPT.step("trait_value", traits=rows, converts=case_on(column("kind", "v"), converts, exp.false()))


def updates() -> Step:
    """What update steps of due passages set."""
    return _SCRIPT.step("trait_update")


def row(program: Program, shape: Row, typed) -> list[Step]:
    """The steps that build ``w_ctx``."""
    return program.cached(("profiles.row", shape), lambda: _row(program, shape, typed))


def _row(program: Program, shape: Row, typed) -> list[Step]:
    schema, steps, columns, joins = program.schema, [], [], []
    needs = Needs()
    needs.terms = {term_name(a): a for a in sorted(shape.terms, key=term_name)}
    compiler = Compiler(schema, needs)
    stored: dict[str, exp.Expr] = {}
    if shape.recompute:
        stored = {name: compiler.stored_value(tree) for name, tree in schema.values.items()}
    _sent_traits(program, shape, typed, steps, columns, joins)
    columns += [alias(column(f"t_{n}", "p"), f"t_{n}") for n in _stored_names(program, shape) if n not in stored]
    segment_columns = _segments(program, shape, compiler)
    columns += [alias(sql(f'coalesce(p."s_{n}", FALSE)'), f"s_{n}") for n in schema.segments]
    if shape.scheduled:
        columns.append(alias(sql("coalesce(p.check_at <= w.now, FALSE)"), "looked_at"))
    _consents(program, shape, steps, columns, joins)
    _suppressions(program, shape, steps, columns, joins)
    _terms(needs.terms, compiler, steps, columns, joins)
    if shape.journeys:
        _live(program, shape.journeys, steps, columns, joins)
    if shape.properties and shape.events:
        columns += [alias(column(f"p_{n}", "q"), f"e_{n}") for n in sorted(shape.properties)]
        joins.append(_left_join("w_rec", "q", "q.offset_ = w.offset_"))
    elif shape.properties:
        columns += [alias(exp.Null(), f"e_{n}") for n in sorted(shape.properties)]
    values = [
        alias(exp.TryCast(this=tree, to=exp.DataType.build(_sql_type(program, name), dialect="duckdb")), f"t_{name}")
        for name, tree in stored.items()
    ]
    steps.append(_SCRIPT.step("w_ctx", columns=columns, joins=joins, stored=values, segments=segment_columns))
    return steps


def _sql_type(program: Program, trait: str) -> str:
    return program.schema.profile_columns()[f"t_{trait}"]


def _stored_names(program: Program, shape: Row) -> list[str]:
    wanted = shape.traits & program.schema.stored.keys()
    return sorted(program.schema.stored if shape.recompute else wanted)


def _sent_traits(program, shape, typed, steps, columns, joins) -> None:
    names = program.schema.from_traits
    if shape.sent and names:
        latest = [
            alias(typed(sql(
                f"max_by(v.value, (v.occurred_at, v.applied_at, v.origin_pid, v.wave, coalesce(v.eid, 0))) FILTER (WHERE v.trait = '{n}')"
            ), kind), f"t_{n}")
            for n, kind in names.items()
        ]  # fmt: skip
        steps.append(_SCRIPT.step("w_from", columns=latest))
        columns += [alias(column(f"t_{n}", "f"), f"t_{n}") for n in names]
        joins.append(_left_join("w_from", "f", "f.pid = w.pid"))
        return
    columns += [alias(column(f"t_{n}", "p"), f"t_{n}") for n in names if n in shape.traits or shape.recompute]


def _segments(program: Program, shape: Row, compiler: Compiler) -> list[exp.Expr]:
    if not shape.segments:
        return [alias(column(f"s_{n}", "c"), f"n_{n}") for n in program.schema.segments]
    columns = [
        alias(_member(program, name, exp.Coalesce(this=compiler.condition(tree), expressions=[exp.false()])), f"n_{name}")
        for name, tree in program.segments.items() if name not in program.scheduled
    ]  # fmt: skip
    if shape.scheduled:
        columns += [part for name in program.scheduled for part in _momentary(program, name, compiler)]
    edges = [
        _edge(program, name, edge) for name, tree in program.segments.items() for edge in compiler.boundaries(tree)
    ]
    check = (
        exp.Least(this=edges[0], expressions=edges[1:], ignore_nulls=True) if edges else sql("CAST(NULL AS TIMESTAMP)")
    )
    return [*columns, alias(check, "check_at")]


def _momentary(program: Program, name: str, compiler: Compiler) -> list[exp.Expr]:
    """Whether one enters a segment of an instant: in an item that is no record, at a time of the schedule, as a member that
    was to be looked at then or has become one."""
    became = exp.or_(column("looked_at", "c"), exp.not_(column(f"s_{program.scheduled[name]}", "c")))
    due = exp.and_(sql("c.offset_ IS NULL").copy(), became, compiler.condition(program.segments[name]))
    return [
        alias(_member(program, name, exp.Coalesce(this=exp.paren(due), expressions=[exp.false()])), f"n_{name}"),
        alias(exp.false(), f"s_{name}"),
    ]


def _member(program: Program, segment: str, holds: exp.Expr) -> exp.Expr:
    """Persons are in segments of persons, accounts in those of accounts."""
    if program.project.identity.accounts is None:
        return holds
    return exp.and_(of_subject(program.project.segment(segment).subject, "c"), holds)


def _edge(program: Program, segment: str, edge: exp.Expr) -> exp.Expr:
    """When to look again at those whom the segment is about."""
    if program.project.identity.accounts is None:
        return edge
    mine = of_subject(program.project.segment(segment).subject, "c")
    return exp.Case(ifs=[exp.If(this=mine, true=edge)])


def _consents(program, shape, steps, columns, joins) -> None:
    pairs = program.schema.consents
    names = [consent_column(p, c) for p, c in pairs]
    source = "p"
    if shape.consents and pairs:
        in_force = [
            alias(sql(f"bool_and(k.granted) FILTER (WHERE k.purpose = '{_quoted(p)}' AND k.channel = '{_quoted(c)}')"), consent_column(p, c))
            for p, c in pairs
        ]  # fmt: skip
        steps.append(_SCRIPT.step("w_consent", columns=in_force))
        joins.append(_left_join("w_consent", "o", "o.pid = w.pid"))
        source = "o"
    columns += [alias(sql(f'coalesce({source}."{n}", FALSE)'), n) for n in names]


def _quoted(value: str) -> str:
    return value.replace("'", "''")


def _suppressions(program, shape, steps, columns, joins) -> None:
    channels = program.schema.channels
    source = "p"
    if shape.suppressions:
        strong = ", ".join(f"'{s}'" for s in STRONG)
        reasons = [
            alias(sql(f"min_by(s.reason, (s.reason NOT IN ({strong}), s.reason)) FILTER (WHERE s.channel IN ('{_quoted(c)}', '*'))"), f"x_{c}")
            for c in channels
        ]  # fmt: skip
        steps.append(_SCRIPT.step("w_suppression", columns=reasons))
        joins.append(_left_join("w_suppression", "u", "u.pid = w.pid"))
        source = "u"
    columns += [alias(column(f"x_{c}", source), f"x_{c}") for c in channels]


def _terms(terms: dict[str, Agg], compiler: Compiler, steps, columns, joins) -> None:
    if not terms:
        return
    values: list[exp.Expr] = []
    names: list[str] = []
    for name, agg in list(terms.items()):
        value, boundary = aggregate(agg, compiler)
        values.append(alias(value, name))
        names.append(name)
        if boundary is not None:
            values.append(alias(boundary, f"b{name[1:]}"))
            names.append(f"b{name[1:]}")
    events = sorted({agg.event for agg in terms.values()})
    steps.append(_SCRIPT.step("w_terms", terms=values, names=[text(e) for e in events]))
    columns += [alias(column(n, "a"), n) for n in names]
    joins.append(_left_join("w_terms", "a", "a.pid = w.pid"))


def journey_columns(program: Program, journeys: frozenset[str], row_alias: str) -> list[exp.Expr]:
    """One boolean per journey: whether any of the grouped rows belongs to a version of it."""
    found = []
    for name in sorted(journeys):
        jids = [exp.Literal.number(v.jid) for v in program.versions.values() if v.journey.name == name]
        test: exp.Expr = exp.In(this=column("jid", row_alias), expressions=jids) if jids else exp.false()
        if gone := _last_stops(program, name):
            place = sql(f"{row_alias}.jid * {RESUMES} + {row_alias}.step")
            test = exp.and_(test, exp.not_(exp.In(this=exp.paren(place), expressions=gone)))
        found.append(alias(exp.func("bool_or", test), f"j_{name}"))
    return found


def _last_stops(program: Program, journey: str) -> list[exp.Expr]:
    """The stops of the journey at which one has left it already."""
    mine = (version for version in program.versions.values() if version.journey.name == journey)
    return [
        exp.Literal.number(version.jid * RESUMES + stop.step)
        for version in mine
        for stop in version.graph.stops
        if stop.leaving
    ]


def _live(program: Program, journeys: frozenset[str], steps, columns, joins) -> None:
    steps.append(_SCRIPT.step("w_live", journeys=journey_columns(program, journeys, "e")))
    columns += [alias(sql(f'coalesce(l."j_{n}", FALSE)'), f"j_{n}") for n in sorted(journeys)]
    joins.append(_left_join("w_live", "l", "l.pid = w.pid"))


def _left_join(table: str, name: str, on: str) -> exp.Join:
    return exp.Join(this=exp.alias_(exp.to_table(table), name, table=True), side="LEFT", on=sql(on).copy())


def write_back(program: Program, shape: Row, fresh: bool, known: bool, changed: bool) -> list[Step]:
    """The wave's row becomes the profile. ``changed``: some membership changed."""
    key = ("profiles.write_back", shape, fresh, known, changed)
    return program.cached(key, lambda: _write_back(program, shape, fresh, known, changed))


def _write_back(program: Program, shape: Row, fresh: bool, known: bool, changed: bool) -> list[Step]:
    schema = program.schema
    names: dict[str, str] = {}
    if shape.recompute:
        names |= {f"t_{n}": f"t_{n}" for n in schema.stored}
    if shape.sent:
        names |= {f"t_{n}": f"t_{n}" for n in schema.from_traits}
    if shape.consents:
        names |= {consent_column(p, c): consent_column(p, c) for p, c in schema.consents}
    if shape.suppressions:
        names |= {f"x_{c}": f"x_{c}" for c in schema.channels}
    if shape.segments:
        names["check_at"] = "check_at"
        if changed or fresh:
            names |= {f"s_{n}": f"n_{n}" for n in schema.segments}
    steps = []
    if fresh:
        steps.append(_SCRIPT.step("profile_new", columns=[alias(column(v, "c"), k) for k, v in names.items()]))
    if known and names:
        pairs = [
            exp.EQ(this=exp.column(exp.to_identifier(k, quoted=True)), expression=column(v, "c"))
            for k, v in names.items()
        ]
        steps.append(_SCRIPT.step("profile_update", updates=pairs))
    return steps


def membership_changed(program: Program) -> exp.Expr:
    """Whether any membership of a wave's row changed."""
    return any_of(
        exp.NEQ(this=column(f"n_{n}", "c"), expression=column(f"s_{n}", "c")) for n in program.schema.segments
    )


def segment_terms(program: Program) -> frozenset[Agg]:
    """Aggregates that segments and stored traits read."""
    return segment_only_terms(program) | stored_terms(program)


def segment_only_terms(program: Program) -> frozenset[Agg]:
    """Aggregates that segments read themselves."""
    return frozenset(_segment_needs(program).terms.values())


def segment_traits(program: Program) -> frozenset[str]:
    """Traits that segments read."""
    return frozenset(_segment_needs(program).traits)


def segment_journeys(program: Program) -> frozenset[str]:
    """Journeys that segments ask about."""
    return frozenset(_segment_needs(program).journeys)


def _segment_needs(program: Program) -> Needs:
    def make() -> Needs:
        needs = Needs()
        compiler = Compiler(program.schema, needs)
        for tree in program.segments.values():
            compiler.condition(tree)
            compiler.boundaries(tree)
        return needs

    return program.cached("profiles.segment_needs", make)


def stored_terms(program: Program) -> frozenset[Agg]:
    """Aggregates that stored traits are made of."""

    def make() -> frozenset[Agg]:
        needs = Needs()
        compiler = Compiler(program.schema, needs)
        for tree in program.schema.values.values():
            compiler.stored_value(tree)
        return frozenset(needs.terms.values())

    return program.cached("profiles.stored_terms", make)
