"""Effects: decisions become rows for the outbox, and cancellations of what must not go out any more."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from sqlglot import exp

from cadenza.definitions.expression import Trait
from cadenza.sql import jurisdictions
from cadenza.sql.columns import consent_column
from cadenza.sql.expression import Compiler, Needs
from cadenza.sql.program import Program
from cadenza.sql.step import DIALECT, Script, Step, case_on, column, query, sql, text

_SCRIPT = Script.beside(__file__, "effects")

_PAYLOAD = """
SELECT y.offset_, CAST(y.properties AS JSON) AS properties FROM event_payload AS y
WHERE y.offset_ >= (SELECT min(entry_offset) FROM w_verdict) AND y.offset_ <= (SELECT max(entry_offset) FROM w_verdict)
UNION ALL SELECT offset_, CAST(properties AS JSON) FROM t_queue
"""
Sends = frozenset[tuple[int, int]]


def messages(program: Program, sends: Sends) -> list[Step]:
    """A message per send verdict, with its template's variables as they are now."""
    stops = [program.versions[j].graph.stops[s] for j, s in sends]
    names, chosen = frozenset(name for stop in stops for name in stop.candidates), any(stop.templates for stop in stops)
    return program.cached(("effects.messages", names, chosen), lambda: [_messages(program, names, chosen)])


def _messages(program: Program, templates: frozenset[str], chosen: bool) -> Step:
    arms, entry = [], False
    for name in sorted(templates):
        context, uses_entry = _context(program, name)
        entry = entry or uses_entry
        arms.append((text(name), context))
    joins = []
    if entry:
        payload = query(_PAYLOAD).subquery("v")
        joins = [exp.Join(this=payload, side="LEFT", on=sql("v.offset_ = d.entry_offset").copy())]
    tables = {"t_send": "t_choice"} if chosen else None
    return _SCRIPT.step("message", tables, context=case_on(column("template", "d"), arms, text("{}")), entry=joins)


def template_traits(program: Program, sends: Sends) -> frozenset[str]:
    """Traits that the templates of these sends show."""
    known = {t.name for t in program.project.traits}
    names = {name for j, s in sends for name in program.versions[j].graph.stops[s].candidates}
    return frozenset(v[0] for name in names for v in program.variables[name] if v[0] in known)


def _context(program: Program, name: str) -> tuple[exp.Expr, bool]:
    """(JSON of a template's variables, whether it shows properties of the entry's event)."""
    known = {t.name for t in program.project.traits}
    traits = sorted({v[0] for v in program.variables[name]} & known)
    entry = any(v[0] == "entry" for v in program.variables[name])
    pairs = [f"'{t}': {_value(program, t)}" for t in traits]
    pairs.append("'person': {'id': 'p_' || CAST(d.pid AS VARCHAR)}")
    pairs.append("'message': {'id': printf('%016x', d.eid) || s.suffix}")
    if entry:
        shown = sorted({v[1] for v in program.variables[name] if v[0] == "entry" and len(v) > 1})
        parts = ", ".join(f"'{_quoted(p)}': json_extract(v.properties, '$.\"{_quoted(p)}\"')" for p in shown)
        pairs.append(f"'entry': {{{parts}}}" if parts else "'entry': CAST(v.properties AS JSON)")
    return sql("to_json({" + ", ".join(pairs) + "})").copy(), entry


def _quoted(name: str) -> str:
    return name.replace("'", "''")


def _value(program: Program, trait: str) -> str:
    """The SQL of a trait's value in the context of a message; a windowed trait is computed as of now."""
    kind = program.project.trait(trait).type
    value = Compiler(program.schema, Needs()).condition(Trait(trait)).sql(dialect=DIALECT)
    if kind == "timestamp":
        return f"strftime({value}, '%Y-%m-%dT%H:%M:%S.%fZ')"
    if kind == "decimal":
        return f"CAST({value} AS VARCHAR)"
    return value


def cancel_ended() -> Step:
    """Messages of passages that ended by one of the four exits."""
    return _SCRIPT.step("cancel_ended")


def cancel_withdrawn(program: Program) -> Step:
    """Messages that consent or suppression of this wave forbids."""
    return program.cached("effects.withdrawn", lambda: _cancel_withdrawn(program))


def _cancel_withdrawn(program: Program) -> Step:
    suppressed = case_on(
        column("channel", "m"), [(text(c), column(f"x_{c}", "c")) for c in program.schema.channels], exp.Null()
    )
    pairs = sql("m.purpose || '/' || m.channel")
    consented = case_on(
        pairs, [(text(f"{p}/{c}"), column(consent_column(p, c), "c")) for p, c in program.schema.consents], exp.false()
    )
    consented = jurisdictions.consented(program.project.policy, consented, "m", "m")
    return _SCRIPT.step("cancel_withdrawn", suppressed=suppressed, consented=consented)


_SILENT = "m.message_id NOT IN (SELECT message_id FROM message_outcome WHERE message_id IS NOT NULL)"


class Publication(NamedTuple):
    """Queries of what goes to the outbox. ``span``: the first and last row of the messages; ``page``: those between the
    variables ``page_from`` and ``page_to`` as one JSON array; ``cancellations``: one JSON array."""

    span: str
    page: str
    cancellations: str


@lru_cache(maxsize=4)
def publication(started: bool) -> Publication:
    """What to publish: the work of the waves after the variable ``published``, or (``started``) all that no outcome
    is known of."""
    chosen, withdrawn = sql("m.wave > getvariable('published')"), sql("c.wave > getvariable('published')")
    if started:
        chosen = sql(_SILENT)
        withdrawn = sql("c.message_id IN (SELECT message_id FROM message AS m WHERE m.deliverable AND " + _SILENT + ")")
    return Publication(
        _SCRIPT.text("outbox_span", chosen=chosen), _SCRIPT.text("outbox_messages", chosen=chosen),
        _SCRIPT.text("outbox_cancellations", chosen=withdrawn),
    )  # fmt: skip
