"""The first room of the river: records of the log become the queue of a tick and the events of persons."""

from __future__ import annotations

from sqlglot import exp

from cadenza.sql.program import Program
from cadenza.sql.step import Script, Step, alias, column, sql, text

_SCRIPT = Script.beside(__file__, "events")

PATHS = ("type", "event", "occurred_at", "properties", "traits", "userId", "anonymousId", "previousId", "groupId", "person")
"""The first entries of the extraction lists ``s`` (text) and ``j`` (JSON) of ``t_queue``, from 1."""


def json_paths(program: Program) -> list[str]:
    """All JSON paths extracted from a body, in order: PATHS, identifiers' sources, traits, properties."""
    dotted = [i.source for i in program.project.identity.identifiers if "." in i.source]
    dotted += [f"traits.{_source(t.from_)}" for t in program.project.traits if t.from_]
    return [*PATHS, *dict.fromkeys(dotted), *(f"properties.{name}" for name in program.schema.properties)]


def _source(from_: str) -> str:
    return from_.removeprefix("traits.")


def path_index(program: Program, path: str) -> int:
    """The position (from 1) of a path in the extraction lists."""
    return json_paths(program).index(path) + 1


def as_text(index: int, row: str) -> exp.Expression:
    """Entry ``index`` as text; NULL for objects and arrays."""
    return sql(
        f"CASE WHEN left(CAST(list_extract({row}.j, {index}) AS VARCHAR), 1) IN ('{{', '[') THEN NULL "
        f"ELSE list_extract({row}.s, {index}) END"
    )


_TYPED = {
    "string": "{v}",
    "integer": "CASE WHEN regexp_full_match({v}, '-?[0-9]+') THEN TRY_CAST({v} AS BIGINT) END",
    "decimal": "CASE WHEN regexp_full_match({v}, '-?[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]+)?') "
    "THEN TRY_CAST({v} AS DECIMAL(18,4)) END",
    "boolean": "CASE {v} WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END",
    "timestamp": "CASE WHEN regexp_full_match({v}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([T ][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}(\\.[0-9]+)?)?)?(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)?') "
    "THEN TRY_CAST({v} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' END",
}  # fmt: skip


def typed(value: exp.Expression, kind: str) -> exp.Expression:
    """Text as a value of the language's type; what does not convert is NULL."""
    tree = sql(_TYPED[kind].format(v="v_")).copy()
    if isinstance(tree, exp.Column):
        return value.copy()
    for node in list(tree.find_all(exp.Column)):
        if node.name == "v_":
            node.replace(value.copy())
    return tree


def raw() -> Step:
    """The empty table that the tick fills with the log's records."""
    return _SCRIPT.step("t_raw")


def queue(program: Program, carried: bool) -> list[Step]:
    """The queue of a tick; ``carried``: an earlier tick left records over."""
    return program.cached(("events.queue", carried), lambda: _queue(program, carried))


def _queue(program: Program, carried: bool) -> list[Step]:
    paths = json_paths(program)
    keys = ["$." + ".".join(f'"{part}"' for part in path.split(".")) for path in paths]
    columns = [
        alias(typed(as_text(paths.index(f"properties.{name}") + 1, "x"), kind), f"p_{name}")
        for name, kind in program.schema.properties.items()
    ]
    steps = [_SCRIPT.step("t_carried")] if carried else []
    return [
        *steps, _SCRIPT.step("t_extract", paths=exp.Array(expressions=[text(k) for k in keys])),
        _SCRIPT.step("t_queue", columns=columns), _SCRIPT.step("t_payload"), _SCRIPT.step("t_done"),
    ]  # fmt: skip


def extracted() -> str:
    """The statement that drops the extraction once identifiers and traits are taken from it."""
    return "DROP TABLE IF EXISTS t_extract"


def items(program: Program) -> Step:
    """Which queued records are items, with their lanes."""
    return program.cached(
        "events.items", lambda: _SCRIPT.step("t_item", reactive=[text(n) for n in sorted(program.reactive)])
    )


def next_items(records: bool, timers: bool) -> Step:
    """The next item of every lane."""
    return _SCRIPT.step("w_next" if records and timers else "w_next_records" if records else "w_next_timers")


def wave_records() -> list[Step]:
    return [_SCRIPT.step("w_rec"), _SCRIPT.step("item_done"), _SCRIPT.step("mark_done")]


def wave_timers() -> Step:
    return _SCRIPT.step("w_timer")


def append(program: Program, outcomes: bool) -> list[Step]:
    """The wave's records become events; delivery outcomes are noted."""
    return program.cached(("events.append", outcomes), lambda: _append(program, outcomes))


def _append(program: Program, outcomes: bool) -> list[Step]:
    columns = [column(f"p_{name}", "q") for name in program.schema.properties]
    steps = [_SCRIPT.step("event", columns=columns)]
    return [*steps, _SCRIPT.step("outcome")] if outcomes else steps


def passive(owners: exp.Expression) -> list[Step]:
    """Records that nothing reacts to, appended at the end of a tick with the persons known by then."""
    return [_SCRIPT.step("passive_ready"), _SCRIPT.step("passive_person", owners=owners), _SCRIPT.step("mark_done")]


def carry(had: bool, leave: bool) -> list[Step]:
    """Keep what was not processed. ``had``: something was carried over before; ``leave``: something is left."""
    steps = [_SCRIPT.step("payload"), *([_SCRIPT.step("carry_clear")] if had else [])]
    return [*steps, _SCRIPT.step("carry_over")] if leave else steps


