"""Trees back to text: what an author could have written, for plans, explanations and the studio.

``parse(write(tree)) == tree`` for every tree that ``parse`` yields, and ``parse_where`` likewise.
"""

from __future__ import annotations

import re

from cadenza.definitions.expression import (
    Agg,
    AtEntry,
    Binary,
    Coalesce,
    Consented,
    DateReached,
    EventIs,
    Expr,
    Flag,
    InJourney,
    InList,
    InSegment,
    IsNull,
    Like,
    Lit,
    Not,
    OlderThan,
    Prop,
    Scheduled,
    Trait,
    parse,
)  # fmt: skip
from cadenza.errors import ExpressionError

_PRECEDENCE = {"or": 1, "and": 2, "=": 4, "<>": 4, "<": 4, "<=": 4, ">": 4, ">=": 4, "+": 6, "-": 6, "*": 7}
_ATOM = 9
_UNITS = (("week", 604800), ("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def write(tree: Expr) -> str:
    """The text of an expression.

    >>> write(parse("orders>=3 AND (vip or in_segment('x'))"))
    "orders >= 3 and (vip or in_segment('x'))"
    """
    return _write(tree)[0]


def duration_text(seconds: int) -> str:
    """A duration in the largest unit that divides it; weeks only from two on.

    >>> duration_text(172800), duration_text(3600), duration_text(90)
    ('2 days', '1 hour', '90 seconds')
    """
    for name, unit in _UNITS:
        if seconds % unit == 0 and (name != "week" or seconds >= 8 * 604800):
            return f"{seconds // unit} {name}{'' if seconds == unit else 's'}"
    return f"{seconds} seconds"


def _write(tree: Expr) -> tuple[str, int]:
    """The text and how tightly it binds."""
    match tree:
        case Lit():
            return _literal(tree), _ATOM if not (tree.text or "").startswith("-") else 8
        case Trait(name) | Prop(name) | Flag(name):
            return _word(name), _ATOM
        case AtEntry(name):
            return f"entry.{_word(name)}", _ATOM
        case Not(arg):
            return f"not {_operand(arg, 4)}", 3
        case IsNull(arg):
            return f"{_operand(arg, 5)} is null", 4
        case Binary(op, left, right):
            level = _PRECEDENCE[op]
            # comparisons do not chain, and the rest lean to the left
            low = level + 1 if level == 4 else level
            return f"{_operand(left, low)} {op} {_operand(right, level + 1)}", level
        case InList(arg, items):
            return f"{_operand(arg, 5)} in ({', '.join(_literal(item) for item in items)})", 4
        case Like(arg, pattern):
            return f"{_operand(arg, 5)} like {_quoted(pattern)}", 4
        case Coalesce(args):
            return f"coalesce({', '.join(write(arg) for arg in args)})", _ATOM
    return _call(tree), _ATOM


def _operand(tree: Expr, level: int) -> str:
    text, binds = _write(tree)
    return text if binds >= level else f"({text})"


def _literal(lit: Lit) -> str:
    if lit.text is None:
        return "null"
    if lit.type == "timestamp":
        return f"timestamp {_quoted(lit.text)}"
    return _quoted(lit.text) if lit.type == "string" else lit.text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _word(name: str) -> str:
    """A name as a word, or between double quotes where the language would read it as something else."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        try:
            if parse(name) == Trait(name):
                return name
        except ExpressionError:
            pass
    return '"' + name.replace('"', '""') + '"'


def _call(tree: Expr) -> str:
    match tree:
        case Agg(fn, event, prop, where, within):
            name = {"count": "events", "sum": "sum_of", "min": "min_of", "max": "max_of"}.get(fn, fn)
            column = [] if prop is None else [_word(prop)]
            return f"{name}({', '.join([_quoted(event), *column, *_options(where, within)])})"
        case EventIs(name, where):
            return f"event({', '.join([_quoted(name), *_options(where, None)])})"
        case InSegment(name):
            return f"in_segment({_quoted(name)})"
        case InJourney(name):
            return f"in_journey({_quoted(name)})"
        case Consented(purpose, channel):
            return f"consented({_quoted(purpose)}, {_quoted(channel)})"
        case DateReached(arg, _, minus, at):
            before = [f"'{duration_text(abs(minus))} {'before' if minus > 0 else 'after'}'"] if minus else []
            return f"date_reached({', '.join([write(arg), *before, *([_quoted(at)] if at else [])])})"
        case Scheduled(arg, _, cron):
            return f"scheduled({write(arg)}, {_quoted(cron)})"
        case OlderThan(arg, seconds):
            return f"older_than({write(arg)}, '{duration_text(seconds)}')"
    raise AssertionError(f"no text for {tree!r}")


def _options(where: Expr | None, within: int | None) -> list[str]:
    found = [] if where is None else [f"where => {write(where)}"]
    return found if within is None else [*found, f"within => '{duration_text(within)}'"]
