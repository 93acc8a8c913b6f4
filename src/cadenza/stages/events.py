"""The first room of the river: records of the log become the queue of a tick and the events of persons."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache

from sqlglot import exp

from cadenza.ids import ACCOUNTS
from cadenza.sql.program import Program
from cadenza.sql.step import Script, Step, alias, column, number, sql, text

_SCRIPT = Script.beside(__file__, "events")

MOST_LANES = 250_000
"""Of one wave. Others take their turn in the next."""
_NAMED = ("userId", "anonymousId", "previousId", "groupId", "person")
_ABOVE = number(ACCOUNTS)
_SPACE = " \t\n\r\f\v"
_SHAPE = {
    "type": "VARCHAR",
    "event": "VARCHAR",
    "occurred_at": "VARCHAR",
    "properties": "JSON",
    "traits": "JSON",
} | dict.fromkeys(_NAMED, "VARCHAR")


def path_index(program: Program) -> dict[str, int]:
    """The position (from 1) in the list ``s`` of ``t_queue`` of each path that identifiers and traits are taken from."""
    return program.cached("events.path_index", lambda: {path: i for i, path in enumerate(_paths(program), start=1)})


def _paths(program: Program) -> list[str]:
    elsewhere, traits = _dotted(program)
    return [*_NAMED, *elsewhere, *traits]


def _dotted(program: Program) -> tuple[list[str], list[str]]:
    """(paths anywhere in a body, paths under ``traits``)."""
    identity = program.project.identity
    paths = [i.source for i in identity.identifiers if "." in i.source]
    paths += [identity.accounts.source] if identity.accounts is not None else []
    paths += [f"traits.{t.from_.removeprefix('traits.')}" for t in program.project.traits if t.from_]
    unique = dict.fromkeys(paths)
    return [p for p in unique if not p.startswith("traits.")], [p for p in unique if p.startswith("traits.")]


def _json_paths(paths: Iterable[str]) -> exp.Expr:
    quoted = ["$." + ".".join(f'"{part}"' for part in path.split(".")) for path in paths]
    return exp.Array(expressions=[text(path) for path in quoted])


_TYPED = {
    "string": "{v}",
    "integer": "CASE WHEN regexp_full_match({v}, '-?[0-9]+') THEN TRY_CAST({v} AS BIGINT) END",
    "decimal": "CASE WHEN regexp_full_match({v}, '-?[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]+)?') "
    "THEN TRY_CAST({v} AS DECIMAL(18,4)) END",
    "boolean": "CASE {v} WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END",
    "timestamp": "CASE WHEN regexp_full_match({v}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([T ][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}(\\.[0-9]+)?)?)?(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)?') "
    "THEN TRY_CAST({v} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' END",
}  # fmt: skip


def typed(value: exp.Expr, kind: str) -> exp.Expr:
    """Text as a value of the language's type; what does not convert is NULL."""
    tree = sql(_TYPED[kind].format(v="v_")).copy()
    if isinstance(tree, exp.Column):
        return value.copy()
    for node in list(tree.find_all(exp.Column)):
        if node.name == "v_":
            node.replace(value.copy())
    return tree


def queue(program: Program, carried: bool, named: exp.Expr) -> list[Step]:
    """The queue of a tick; ``carried``: an earlier tick left records over; ``named``: whether the ``value`` of a row ``i``
    may name an account."""
    return program.cached(("events.queue", carried), lambda: _queue(program, carried, named))


def _queue(program: Program, carried: bool, named: exp.Expr) -> list[Step]:
    elsewhere, traits = _dotted(program)
    names = list(program.schema.properties)
    fixed: exp.Expr = exp.Array(expressions=[sql(f'x.b."{name}"').copy() for name in _NAMED])
    if elsewhere:
        fixed = exp.func("list_concat", fixed, _texts(sql("x.body"), elsewhere))
    columns = [
        alias(typed(sql(f"list_extract(x.p, {index})"), program.schema.properties[name]), f"p_{name}")
        for index, name in enumerate(names, start=1)
    ]
    steps = [_SCRIPT.step("t_carried")] if carried else []
    queue_ = _SCRIPT.step(
        "t_queue", shape=text(json.dumps(_SHAPE)), fixed=fixed, properties=_json_paths(names), columns=columns,
        traits=_texts(sql("x.b.traits"), [path.removeprefix("traits.") for path in traits]),
    )  # fmt: skip
    if program.project.identity.accounts is None:
        return [*steps, queue_]
    index = path_index(program)
    accounts = _SCRIPT.step(
        "t_queue_accounts", fixed=number(len(_NAMED) + len(elsewhere)), group_index=number(index["groupId"]),
        account_index=number(index[program.project.identity.accounts.source]), space=text(_SPACE), usable=named, above=_ABOVE,
        traits=_texts(sql("q.properties"), [path.removeprefix("traits.") for path in traits]),
    )  # fmt: skip
    return [*steps, queue_, accounts, *([_SCRIPT.step("accounts_carried")] if carried else [])]


def queued() -> str:
    """A query: how many records are queued, those of accounts included."""
    return "SELECT count(*) FROM t_queue"


def kept_accounts() -> Step:
    """What the records kept until the first deployment say of accounts has its own turns, too."""
    return _SCRIPT.step("kept_accounts", above=_ABOVE)


def _texts(document: exp.Expr, paths: list[str]) -> exp.Expr:
    """The texts at the paths of a JSON document, as a list; NULL without a document."""
    if not paths:
        return sql("CAST([] AS VARCHAR[])")
    return exp.func("json_extract_string", document.copy(), _json_paths(paths), dialect="duckdb")


def no_records() -> Step:
    """The empty queue."""
    return _SCRIPT.step("t_queue_none")


def items(program: Program, several: bool) -> Step:
    """Which queued records are items, with their lanes. ``several``: more than one record is queued."""
    name = "t_item" if several else "t_item_one"
    return program.cached(
        ("events.items", several), lambda: _SCRIPT.step(name, reactive=[text(n) for n in sorted(program.reactive)])
    )


def left(records: bool, rechecked: bool) -> str:
    """A query: how many items are left, the earliest timer of a passage and of a segment, whether aliases are queued.
    ``rechecked``: some passages have to be looked at when time alone may change what they wait for."""
    return _SCRIPT.text("left_records" if records else "left", wakes=_wakes(rechecked))


@lru_cache(maxsize=2)
def _wakes(rechecked: bool) -> exp.Expr:
    """When a passage's next timer is due; NULL for one that has ended."""
    return sql("CASE WHEN step >= 0 THEN least(wake_at, check_at) END" if rechecked else "wake_at")


def set_aside() -> Step:
    """The records that nothing reacts to."""
    return _SCRIPT.step("t_passive")


def next_items(records: bool, timers: bool, rechecked: bool) -> Step:
    """The next item of every lane."""
    if not timers:
        return _SCRIPT.step("w_next_records", most=number(MOST_LANES))
    return _SCRIPT.step("w_next" if records else "w_next_timers", most=number(MOST_LANES), wakes=_wakes(rechecked))


def wave_records(alone: bool) -> list[Step]:
    """The wave's records, which leave the queue. ``alone``: the one record of the tick."""
    if alone:
        return [_SCRIPT.step("w_rec_alone"), _SCRIPT.step("items_done")]
    return [_SCRIPT.step("w_rec"), _SCRIPT.step("item_done")]


def wave_timers(rechecked: bool) -> Step:
    """The persons of the wave that have a timer due."""
    return _SCRIPT.step("w_timer", wakes=_wakes(rechecked))


def append(program: Program, outcomes: bool) -> list[Step]:
    """The wave's records become events; delivery outcomes are noted."""
    return program.cached(("events.append", outcomes), lambda: _append(program, outcomes))


def _append(program: Program, outcomes: bool) -> list[Step]:
    columns = [column(f"p_{name}", "q") for name in program.schema.properties]
    steps = [_SCRIPT.step("event", columns=columns)]
    return [*steps, _SCRIPT.step("outcome")] if outcomes else steps


def passive(owners: exp.Expr) -> list[Step]:
    """Records that nothing reacts to, appended at the end of a tick with the persons known by then."""
    return [_SCRIPT.step("passive_ready"), _SCRIPT.step("passive_person", owners=owners), _SCRIPT.step("passive_done")]


def carry(had: bool, leave: bool, passive: bool, accounts: bool = False) -> list[Step]:
    """Keep what was processed. ``had``: something was carried over before; ``leave``: something is left; ``passive``:
    some records were set aside; ``accounts``: records speak of accounts."""
    cleared = [_SCRIPT.step("carry_clear")] if had else []
    if not leave:
        return [_SCRIPT.step("payload"), *cleared]
    steps = [] if passive else [_SCRIPT.step("t_passive_none")]
    carry_over = _SCRIPT.step("carry_over_accounts", above=_ABOVE) if accounts else _SCRIPT.step("carry_over")
    return [*steps, _SCRIPT.step("payload_done"), *cleared, carry_over]
