"""Calls: questions to services outside. What is asked, what became of the answers, and what is not asked any more."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from sqlglot import exp

from cadenza.definitions.builtin import CALL_EVENTS
from cadenza.definitions.expression import Trait
from cadenza.definitions.kinds import Call
from cadenza.sql import jurisdictions
from cadenza.sql.columns import consent_column
from cadenza.sql.expression import Compiler, Needs
from cadenza.sql.program import RESUMES, Program
from cadenza.sql.step import Part, Script, Step, case_on, column, number, query, sql, text

_SCRIPT = Script.beside(__file__, "calls")

STRONG = ("hard_bounce", "complaint", "legal")
"""Suppressions of the destination's channel that hold for calls with a purpose."""
Stops = frozenset[tuple[int, int]]
"""(jid, step) of calls."""
Kills = tuple[tuple[str | None, str | None], ...]
"""(journey, channel) of the kill switches that drop what would go out."""

_PAYLOAD = """
SELECT y.offset_, CAST(y.properties AS JSON) AS properties FROM event_payload AS y
WHERE y.offset_ >= (SELECT min(entry_offset) FROM moves_) AND y.offset_ <= (SELECT max(entry_offset) FROM moves_)
UNION ALL SELECT offset_, CAST(properties AS JSON) FROM t_queue
"""
_SILENT = "k.call_id NOT IN (SELECT message_id FROM message_outcome WHERE message_id IS NOT NULL)"


# --- answers --------------------------------------------------------------------------------------------


def answered(program: Program, typed: Callable[[exp.Expr, str], exp.Expr]) -> list[Step]:
    """What services answered in this wave, and what that sets. ``typed(value, kind)`` converts text."""
    return program.cached("calls.answered", lambda: _answered(program, typed))


def _answered(program: Program, typed: Callable[[exp.Expr, str], exp.Expr]) -> list[Step]:
    answer = _SCRIPT.step("w_answer", names=[text(name) for name in CALL_EVENTS])
    stops = (stop for version in program.versions.values() for stop in version.graph.stops)
    kinds = {trait.name: trait.type for trait in program.project.traits}
    wanted = {kinds[name] for stop in stops if stop.call for name in stop.call.answer if name in kinds}
    if not wanted:
        return [answer, _SCRIPT.step("call_answer_plain")]
    converts = [
        (text(kind), exp.Not(this=exp.Is(this=exp.paren(typed(column("value", "v"), kind)), expression=exp.Null())))
        for kind in sorted(wanted)
    ]
    fits = case_on(column("kind", "v"), converts, exp.false())
    return [
        answer,
        _SCRIPT.step("w_answer_value", fits=fits),
        _SCRIPT.step("call_answer"),
        _SCRIPT.step("answer_trait"),
    ]


def go_on(told: bool, due: bool) -> list[Step]:
    """Passages go on whose call was answered or has failed (``told``: in this wave), or is over (``due``)."""
    return [*([_SCRIPT.step("call_go")] if told else []), *([_SCRIPT.step("call_go_due")] if due else [])]


# --- questions ------------------------------------------------------------------------------------------


def put(program: Program, stops: Stops, events: frozenset[str], kills: Kills, after: bool) -> list[Step]:
    """A call for each passage that comes to one of these stops, from the wave's moves or (``after``) from those after
    its sends. ``kills``: no call is made in their reach."""
    key = ("calls.put", stops, events, kills, after)
    return program.cached(key, lambda: _put(program, stops, events, kills, after))


def _put(program: Program, stops: Stops, events: frozenset[str], kills: Kills, after: bool) -> list[Step]:
    compiler = Compiler(program.schema, Needs(), events)
    arms, entry, purposes = [], False, set[tuple[str, str]]()
    channels = {d.name: d.channel for d in program.project.destinations}
    for jid, step in sorted(stops):
        call = program.versions[jid].graph.stops[step].call
        assert call is not None
        entry = entry or any(source.startswith("entry.") for source in call.body.values())
        purposes |= {(call.purpose, channels.get(call.destination, ""))} if call.purpose else set()
        arms.append((number(jid * RESUMES + step), _context(program, call, compiler)))
    context = case_on(sql(f"m.jid * {RESUMES} + m.to_step"), arms, text("{}"))
    joins: Part = []
    if entry:
        joins = [exp.Join(this=_payload(after).subquery("v"), side="LEFT", on=sql("v.offset_ = m.entry_offset").copy())]
    refused = _refused(program, purposes, kills)
    renamed = {"w_move": "w_move_after"} if after else None
    steps = [_SCRIPT.step("call", renamed, context=context, refused=refused, joins=joins)]
    return [*steps, _SCRIPT.step("call_refused", renamed)] if purposes or kills else steps


def _payload(after: bool) -> exp.Select | exp.SetOperation:
    """What the records said that started the passages."""
    found = query(_PAYLOAD)
    for table in list(found.find_all(exp.Table)):
        if table.name == "moves_":
            table.replace(exp.to_table("w_move_after" if after else "w_move"))
    return found


_JSON = {
    "decimal": "CAST(TRY_CAST(v_ AS DECIMAL(18,4)) AS VARCHAR)",
    "timestamp": "strftime(v_, '%Y-%m-%dT%H:%M:%S.%fZ')",
}
"""How a trait's value stands in the JSON that is sent, where not as it is."""


def _context(program: Program, call: Call, compiler: Compiler) -> exp.Expr:
    """The JSON object that is sent."""
    types = {trait.name: trait.type for trait in program.project.traits}
    pairs: list[exp.Expr] = []
    for name, source in call.body.items():
        value: exp.Expr = exp.Null()
        if source.startswith("entry."):
            value = sql(f"json_extract(v.properties, '$.\"{source.removeprefix('entry.')}\"')").copy()
        elif source in types:
            # A version that is kept for those inside it may name a trait that the project has no longer.
            value = _value(compiler.condition(Trait(source)), types[source])
        pairs += [text(name), value]
    return exp.cast(exp.Anonymous(this="json_object", expressions=pairs), "varchar", dialect="duckdb")


def _value(value: exp.Expr, kind: str) -> exp.Expr:
    if kind not in _JSON:
        return value
    tree = sql(_JSON[kind]).copy()
    for node in list(tree.find_all(exp.Column)):
        node.replace(exp.paren(value.copy()))
    return tree


def _refused(program: Program, purposes: set[tuple[str, str]], kills: Kills) -> exp.Expr:
    """Why a call is not made; NULL: it is."""
    ifs = []
    for journey, channel in kills:
        jids = [number(v.jid) for v in program.versions.values() if v.journey.name == journey]
        covered = [exp.In(this=sql("m.jid").copy(), expressions=jids)] if journey is not None and jids else []
        covered += [exp.EQ(this=sql("t.channel").copy(), expression=text(channel))] if channel is not None else []
        if journey is None or jids:
            ifs.append(exp.If(this=exp.and_(*covered) if covered else exp.true(), true=text("killed")))
    if purposes:
        suppressed = exp.In(this=_suppressed(program, "t"), expressions=[text(reason) for reason in STRONG])
        asked = sql("t.purpose IS NOT NULL")
        ifs.append(exp.If(this=exp.and_(asked.copy(), suppressed), true=text("suppressed")))
        denied = exp.not_(exp.paren(_consented(program, "t")))
        ifs.append(exp.If(this=exp.and_(asked.copy(), denied), true=text("no_consent")))
    nothing = exp.cast(exp.Null(), "varchar", dialect="duckdb")
    return exp.Case(ifs=ifs, default=nothing) if ifs else nothing


def _suppressed(program: Program, row: str) -> exp.Expr:
    """The reason for which the channel of a row is suppressed for the person; NULL without one."""
    reasons = [(text(channel), column(f"x_{channel}", "c")) for channel in program.schema.channels]
    return case_on(column("channel", row), reasons, exp.Null())


def _consented(program: Program, row: str) -> exp.Expr:
    """Whether the person has consented to the purpose of a row, for its channel."""
    pairs = [(text(f"{p}/{c}"), column(consent_column(p, c), "c")) for p, c in program.schema.consents]
    granted = case_on(sql(f"{row}.purpose || '/' || {row}.channel"), pairs, exp.false())
    return jurisdictions.consented(program.project.policy, granted, "c", row)


# --- what is not asked any more ---------------------------------------------------------------------------


@lru_cache(maxsize=2)
def cancel(reason: str) -> Step:
    """Calls not handed over of passages that ended by an exit (``ended``), or wait no longer (``unanswered``)."""
    return _SCRIPT.step(f"cancel_{reason}", told=_SCRIPT.query("told"))


def cancel_withdrawn(program: Program) -> Step:
    """Calls that consent or suppression of this wave forbids."""
    return program.cached("calls.withdrawn", lambda: _cancel_withdrawn(program))


def _cancel_withdrawn(program: Program) -> Step:
    return _SCRIPT.step(
        "cancel_withdrawn", suppressed=_suppressed(program, "k"), consented=exp.paren(_consented(program, "k")),
        strong=[text(reason) for reason in STRONG], told=_SCRIPT.query("told"),
    )  # fmt: skip


def stopped() -> Step:
    """Calls of the journey that was just stopped."""
    return _SCRIPT.step("cancel_stopped")


def killed(journey: str | None, channel: str | None) -> Step:
    """Calls in the reach of a kill switch."""
    return _SCRIPT.step("cancel_killed", journey=text(journey), channel=text(channel))


@lru_cache(maxsize=2)
def publication(started: bool) -> tuple[str, str, str]:
    """Queries of what to publish of calls: span, page and cancellations, as ``effects.Publication`` says it of messages."""
    chosen, withdrawn = sql("k.wave > getvariable('published')"), exp.false()
    if started:
        chosen = sql(_SILENT)
        withdrawn = sql(f"n.message_id IN (SELECT k.call_id FROM service_call AS k WHERE k.deliverable AND {_SILENT})")
    return (
        _SCRIPT.text("outbox_span", chosen=chosen), _SCRIPT.text("outbox_calls", chosen=chosen),
        _SCRIPT.text("outbox_cancellations", chosen=withdrawn),
    )  # fmt: skip
