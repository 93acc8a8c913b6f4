"""The payload language: expressions over one JSON payload, as the webhooks of a source are mapped with.

It is the expression language (``expression.py``: the same operators, literals and three-valued logic) with its own
leaves: paths into the payload instead of traits, and the functions that JSON of other systems needs. ``parse_payload``
reads a text; ``payload_types.py`` checks it and makes every conversion explicit; ``runtime/webhooks`` runs it.

A word is a field of the payload: ``customer.email``, ``line_items[0].sku`` (from 0; -1 is the last),
``properties['a key']``. ``payload`` is the whole and ``item`` the element of ``each``. What is not there is null, and so
are JSON's ``null`` and ``""``.
"""

from __future__ import annotations

from typing import Any, Literal

from sqlglot import exp

from cadenza.definitions.expression import Lit, Node, arguments, children, parse_with, structured
from cadenza.errors import ExpressionError, near_miss

Root = Literal["payload", "item", "element"]


class Path(Node, frozen=True, tag="path"):
    """A place in the payload, in the ``item``, or in the ``element`` that ``sum_of`` and ``count_of`` look at."""

    root: Root
    keys: tuple[str | int, ...]


class Header(Node, frozen=True, tag="header"):
    """A header of the request, its name in lower case."""

    name: str


class Apply(Node, frozen=True, tag="apply"):
    """A function of ``FUNCTIONS``, ``concat``, or a conversion that was made explicit."""

    fn: str
    args: tuple[Any, ...]


class Over(Node, frozen=True, tag="over"):
    """``sum`` of ``value``, or ``count``, over the elements of an array for which ``where`` is TRUE."""

    fn: Literal["sum", "count"]
    array: Any
    value: Any = None
    where: Any = None


FUNCTIONS: dict[str, tuple[int, int, str]] = {
    "text": (1, 1, "The value as text."),
    "integer": (1, 1, "A whole number, of a number or its text."),
    "decimal": (1, 1, "An exact number, of a number or its text."),
    "boolean": (1, 1, "A truth value, of `true`, `false` or their texts."),
    "timestamp": (1, 1, "An instant, of ISO 8601 text; without an offset it is UTC."),
    "epoch_seconds": (1, 1, "An instant, of seconds since 1970."),
    "epoch_millis": (1, 1, "An instant, of milliseconds since 1970."),
    "minor_units": (1, 2, "`minor_units(amount, currency)`: cents to an amount; currencies without cents are known."),
    "lower": (1, 1, "Text in lower case."),
    "upper": (1, 1, "Text in upper case."),
    "trim": (1, 1, "Text without blanks at its ends."),
    "replace": (3, 3, "`replace(text, 'from', 'to')`."),
    "split_part": (3, 3, "`split_part(text, '/', -1)`: a part of text, from 1; -1 is the last."),
    "pick": (2, 20, "`pick(array, 'a', 'b')`: of an object, or of each object of an array, only these keys."),
    "size": (1, 1, "How many elements an array has."),
    "sum_of": (2, 2, "`sum_of(array, amount, where => kind = 'refund')`: words are keys of the elements."),
    "count_of": (1, 1, "`count_of(array, where => ...)`: how many elements."),
    "header": (1, 1, "`header('X-Topic')`: a header of the request; most schemes do not sign headers."),
}
"""Functions of the payload language: name -> (fewest, most positional arguments, what it gives)."""

_NAMED: dict[type[exp.Expr], tuple[str, tuple[str, ...]]] = {
    exp.Lower: ("lower", ("this",)), exp.Upper: ("upper", ("this",)), exp.Trim: ("trim", ("this",)),
    exp.Timestamp: ("timestamp", ("this",)), exp.Replace: ("replace", ("this", "expression", "replacement")),
    exp.SplitPart: ("split_part", ("this", "delimiter", "part_index")), exp.ArraySize: ("size", ("this",)),
}  # fmt: skip
"""Functions that the parser knows by itself."""


def parse_payload(text: str, element: bool = False) -> Any:
    """The tree of a text of the payload language; ``element``: its words are keys of an array's element.
    Raises ExpressionError naming what is not allowed.

    >>> parse_payload("customer.email").keys
    ('customer', 'email')
    """
    return parse_with(str(text), _element if element else _payload, below)


def below(node: Any) -> tuple[Any, ...]:
    """The direct operands of a node."""
    match node:
        case Path() | Header():
            return ()
        case Apply(_, args):
            return args
        case Over(_, array, value, where):
            return tuple(part for part in (array, value, where) if part is not None)
    return children(node)


def shown(node: Any) -> str:
    """A node as it is named in a problem."""
    match node:
        case Path(root, keys):
            words = [f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys]
            path = "".join(words).removeprefix(".")
            return f"'{path}'" if root != "item" and path else f"'{root}{''.join(words)}'"
        case Header(name):
            return f"header('{name}')"
        case Apply("concat", _):
            return "the result of '||'"
        case Apply(fn, args):
            return f"{fn}({shown(args[0]).strip(chr(39))})"
        case Over(fn, array):
            return f"{fn}_of({shown(array).strip(chr(39))})"
        case Lit(text, "string"):
            return f"'{text}'"
        case Lit(text, _):
            return str(text)
    return "the condition"


# --- parts ----------------------------------------------------------------------------------------


def _payload(tree: exp.Expr, text: str) -> Any:
    return _leaf(tree, text, element=False)


def _element(tree: exp.Expr, text: str) -> Any:
    return _leaf(tree, text, element=True)


def _leaf(tree: exp.Expr, text: str, element: bool) -> Any:
    if isinstance(tree, exp.Column | exp.Dot | exp.Bracket):
        return _rooted(_keys(tree, text), element)
    if isinstance(tree, exp.DPipe):
        return Apply("concat", tuple(_below(part, text, element) for part in (tree.this, tree.expression)))
    named = _NAMED.get(type(tree))
    if named is not None:
        fn, names = named
        if any(value for key, value in tree.args.items() if key not in names and key not in ("safe", "dialect")):
            raise _miscounted(fn, text)
        return Apply(fn, tuple(_below(tree.args[name], text, element) for name in names if tree.args.get(name)))
    if isinstance(tree, exp.Anonymous):
        return _function(tree, text, element)
    remedy = f"Allowed: operators, ||, in, between, like, is null, coalesce, and {', '.join(sorted(FUNCTIONS))}."
    raise ExpressionError(f"'{tree.sql(dialect='duckdb')}' is not allowed in the expression '{text}'.", remedy=remedy)


def _below(tree: exp.Expr, text: str, element: bool) -> Any:
    return structured(tree, text, _element if element else _payload)


def _rooted(keys: tuple[str | int, ...], element: bool) -> Path:
    if keys[0] in ("payload", "item"):
        return Path(keys[0], keys[1:])  # type: ignore[arg-type]
    return Path("element" if element else "payload", keys)


def _keys(tree: exp.Expr, text: str) -> tuple[str | int, ...]:
    """The keys of a path, outermost first."""
    match tree:
        case exp.Column():
            return tuple(part.name for part in tree.parts)
        case exp.Dot(expression=exp.Identifier() as name):
            return (*_keys(tree.this, text), name.name)
        case exp.Bracket(expressions=[index]):
            return (*_keys(tree.this, text), _index(index, text))
    raise ExpressionError(
        f"'{tree.sql(dialect='duckdb')}' is not a path, in the expression '{text}'.",
        remedy="A path is made of names and [numbers]; put a name that SQL knows in double quotes.",
    )


def _index(tree: exp.Expr, text: str) -> str | int:
    if isinstance(tree, exp.Literal) and tree.is_string:
        return str(tree.this)
    sign, number = (-1, tree.this) if isinstance(tree, exp.Neg) else (1, tree)
    if not isinstance(number, exp.Literal) or number.is_string or not str(number.this).isdigit():
        raise ExpressionError(f"An index is a number or a quoted name, in the expression '{text}'.")
    # The parser counts DuckDB's lists from 1; here they are counted as JSON is, from 0.
    return sign * int(number.this) + 1


def _function(tree: exp.Anonymous, text: str, element: bool) -> Any:
    fn = tree.name.lower()
    if fn not in FUNCTIONS:
        raise ExpressionError(
            f"There is no function '{fn}' in the expression '{text}'.", remedy=near_miss(fn, FUNCTIONS)
        )
    positional, named = arguments(tree, text)
    low, high, _ = FUNCTIONS[fn]
    known = ("where",) if fn in ("sum_of", "count_of") else ()
    if not low <= len(positional) <= high or set(named) - set(known):
        raise _miscounted(fn, text)
    if fn == "header":
        name = positional[0]
        if not (isinstance(name, exp.Literal) and name.is_string):
            raise ExpressionError(f"header() wants a quoted name, in the expression '{text}'.")
        return Header(str(name.this).lower())
    array = _below(positional[0], text, element)
    if fn in ("sum_of", "count_of"):
        value = _below(positional[1], text, element=True) if fn == "sum_of" else None
        where = _below(named["where"], text, element=True) if "where" in named else None
        return Over("sum" if fn == "sum_of" else "count", array, value, where)
    return Apply(fn, (array, *(_below(part, text, element) for part in positional[1:])))


def _miscounted(fn: str, text: str) -> ExpressionError:
    low, high, meaning = FUNCTIONS[fn]
    count = str(low) if low == high else f"{low} to {high}"
    return ExpressionError(f"{fn}() in '{text}' takes {count} argument(s).", remedy=meaning)
