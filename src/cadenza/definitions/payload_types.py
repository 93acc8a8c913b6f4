"""Types of the payload language, and every conversion made explicit.

A field of the payload is JSON of any type unless the definition declares it. Beside a value of a known type it is
converted to that type; a function converts its arguments. So ``total > 100`` reads the text ``"250.00"`` as a number, as
many systems send their amounts. What runs afterwards needs to know no types.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from cadenza.definitions.expression import Binary, Coalesce, InList, IsNull, Like, Lit, Not, Type
from cadenza.definitions.payload import Apply, Header, Over, Path, parse_payload, shown
from cadenza.definitions.typecheck import NUMBERS, is_timestamp
from cadenza.errors import ExpressionError

PayloadType = Type | Literal["json"]
Want = Literal["condition", "instant", "text", "value", "array"]

_NUMBER = "a number"
_ARGUMENTS: dict[str, tuple[tuple[str, ...], PayloadType]] = {
    "text": (("any",), "string"), "integer": (("integer",), "integer"), "decimal": (("decimal",), "decimal"),
    "boolean": (("boolean",), "boolean"), "timestamp": (("timestamp",), "timestamp"),
    "epoch_seconds": ((_NUMBER,), "timestamp"), "epoch_millis": ((_NUMBER,), "timestamp"),
    "minor_units": ((_NUMBER, "string"), "decimal"),
    "lower": (("string",), "string"), "upper": (("string",), "string"), "trim": (("string",), "string"),
    "replace": (("string",) * 3, "string"), "split_part": (("string", "string", "integer"), "string"),
    "size": (("json",), "integer"),
}  # fmt: skip
_CASTS: dict[str, frozenset[str]] = {
    "text": frozenset(), "integer": frozenset({"string", *NUMBERS}), "decimal": frozenset({"string", *NUMBERS}),
    "boolean": frozenset({"string", "boolean"}), "timestamp": frozenset({"string", "timestamp"}),
}  # fmt: skip
"""Conversions, and the types besides JSON that each takes (``text`` takes any)."""


class PayloadScope(msgspec.Struct, frozen=True):
    """What an expression can name: ``fields`` are declared types by dotted path; ``item``: whether there is an item."""

    fields: dict[str, Type] = {}
    item: bool = False


def read_payload(text: str, want: Want, scope: PayloadScope) -> Any:
    """The typed tree of a text that must be a condition, an instant, a text, an array's path, or any value. Raises
    ExpressionError."""
    typing = _Typing(scope)
    node = parse_payload(text)
    if want == "array":
        if not isinstance(node, Path):
            raise ExpressionError(f"'{text}' is not the path of an array.", remedy="For example 'line_items'.")
        typing.known(node)
        return node
    typed, found = typing.of(node)
    if want == "condition":
        return typing.converted(typed, found, "boolean", f"A condition is expected, but {shown(node)}")
    if want == "instant":
        if found in NUMBERS:
            remedy = f"Write epoch_seconds({text}) or epoch_millis({text})."
            raise ExpressionError(f"An instant is expected, but {shown(node)} is of type {found}.", remedy=remedy)
        return typing.converted(typed, found, "timestamp", f"An instant is expected, but {shown(node)}")
    return Apply("text", (typed,)) if want == "text" and found != "string" else typed


class _Typing:
    """One walk over one expression."""

    def __init__(self, scope: PayloadScope) -> None:
        self._scope = scope

    def known(self, path: Path) -> None:
        """Raise ExpressionError for an ``item`` where there is none."""
        if path.root == "item" and not self._scope.item:
            remedy = "'item' is an element of the array that 'each' names; write payload.item for a field of that name."
            raise ExpressionError("There is no 'item' here.", remedy=remedy)

    def of(self, node: Any) -> tuple[Any, PayloadType | None]:
        """The node with its conversions, and its type. Raises ExpressionError."""
        match node:
            case Lit(text, kind):
                if kind == "timestamp" and not is_timestamp(text or ""):
                    remedy = "Write timestamp '2026-01-31' or '2026-01-31 18:30:00' (UTC)."
                    raise ExpressionError(f"'{text}' is not an instant.", remedy=remedy)
                return node, kind if text is not None else None
            case Path(root, keys):
                self.known(node)
                declared = self._scope.fields.get(".".join(map(str, ("item", *keys) if root == "item" else keys)))
                return (Apply(_cast(declared), (node,)), declared) if declared and root != "element" else (node, "json")
            case Header():
                return node, "string"
            case Over():
                return self._over(node)
            case Apply("concat", args):
                return Apply("concat", tuple(self._text(arg) for arg in args)), "string"
            case Apply("pick", (array, *names)):
                if not all(isinstance(name, Lit) and name.type == "string" for name in names):
                    raise ExpressionError(
                        "pick() wants quoted names after the array.", remedy="pick(line_items, 'sku', 'price')."
                    )
                return Apply("pick", (self._argument("pick", array, "json"), *names)), "json"
            case Apply(fn, args):
                return self._apply(fn, args)
        return self._operator(node)

    def converted(self, node: Any, have: PayloadType | None, want: PayloadType, what: str) -> Any:
        """The node as ``want``: JSON is converted, everything else must be it already. Raises ExpressionError."""
        if have in (want, None) or (have == "integer" and want == "decimal"):
            return node
        if have == "json" or (have == "string" and want == "timestamp"):
            return Apply(_cast(want), (node,))  # type: ignore[arg-type]
        raise ExpressionError(
            f"{what} is of type {have}.", remedy=f"Write {_cast(want)}(...)." if want != "boolean" else None
        )  # type: ignore[arg-type]

    def _text(self, node: Any) -> Any:
        typed, found = self.of(node)
        return typed if found == "string" else Apply("text", (typed,))

    def _argument(self, fn: str, node: Any, want: str) -> Any:
        typed, found = self.of(node)
        if want == "json":
            if found not in ("json", None):
                raise ExpressionError(f"{fn}() wants a part of the payload, but {shown(node)} is of type {found}.")
            return typed
        if want == "any" or (fn in _CASTS and (found in _CASTS[fn] or found == "json")):
            return typed
        if want == _NUMBER:
            if found in NUMBERS or found is None:
                return typed
            if found in ("json", "string"):
                return Apply("decimal", (typed,))
            raise ExpressionError(f"{fn}() wants a number, but {shown(node)} is of type {found}.")
        return self.converted(typed, found, want, f"{fn}() wants {want}, but {shown(node)}")  # type: ignore[arg-type]

    def _apply(self, fn: str, args: tuple[Any, ...]) -> tuple[Any, PayloadType]:
        wants, result = _ARGUMENTS[fn]
        typed = tuple(self._argument(fn, arg, want) for arg, want in zip(args, wants, strict=False))
        if fn == "split_part" and not (isinstance(typed[2], Lit) and int(typed[2].text or 0)):
            raise ExpressionError(
                "The third argument of split_part() is a number, not 0.", remedy="-1 is the last part."
            )
        if fn in _CASTS and isinstance(typed[0], Apply) and typed[0].fn == fn:
            return typed[0], result
        return Apply(fn, typed), result

    def _over(self, node: Over) -> tuple[Any, PayloadType]:
        array = self._argument(f"{node.fn}_of", node.array, "json")
        value = None if node.value is None else self._argument("sum_of", node.value, _NUMBER)
        where = node.where
        if where is not None:
            typed, found = self.of(where)
            where = self.converted(typed, found, "boolean", f"'where' wants a condition, but {shown(node.where)}")
        return Over(node.fn, array, value, where), "decimal" if node.fn == "sum" else "integer"

    def _operator(self, node: Any) -> tuple[Any, PayloadType]:
        match node:
            case Not(arg):
                return Not(self._condition(arg, "not")), "boolean"
            case IsNull(arg):
                return IsNull(self.of(arg)[0]), "boolean"
            case Binary("and" | "or" as op, left, right):
                return Binary(op, self._condition(left, op), self._condition(right, op)), "boolean"
            case Binary("+" | "-" | "*" as op, left, right):
                kinds, sides = [], []
                for side in (left, right):
                    typed, found = self.of(side)
                    if found in ("string", "boolean", "timestamp"):
                        raise ExpressionError(f"'{op}' computes with numbers, but {shown(side)} is of type {found}.")
                    sides.append(Apply("decimal", (typed,)) if found == "json" else typed)
                    kinds.append(found)
                whole = all(kind == "integer" for kind in kinds)
                return Binary(op, *sides), "integer" if whole else "decimal"
            case Binary(op, left, right):
                a, b = self._alike(op, left, right)
                return Binary(op, a, b), "boolean"
            case InList(arg, items):
                typed, found = self.of(arg)
                for item in items:
                    typed, found = self._listed(typed, found, item, arg)
                return InList(typed, items), "boolean"
            case Like(arg, pattern):
                typed, found = self.of(arg)
                return Like(self.converted(typed, found, "string", f"like compares text, but {shown(arg)}"), pattern), "boolean"  # fmt: skip
            case Coalesce(args):
                return self._coalesce(args)
        raise AssertionError(f"no type for {node!r}")

    def _condition(self, node: Any, op: str) -> Any:
        typed, found = self.of(node)
        return self.converted(typed, found, "boolean", f"'{op}' joins conditions, but {shown(node)}")

    def _alike(self, op: str, left: Any, right: Any) -> tuple[Any, Any]:
        """Both sides of a comparison in one type."""
        (a, kind_a), (b, kind_b) = self.of(left), self.of(right)
        if kind_a == kind_b == "json":
            if op not in ("=", "<>"):
                remedy = "Say what they are, for example decimal(...), or declare them in 'fields'."
                raise ExpressionError(
                    f"'{op}' cannot order {shown(left)} and {shown(right)}, which may be anything.", remedy=remedy
                )
            return Apply("text", (a,)), Apply("text", (b,))
        if kind_a == "json" and kind_b is not None:
            a, kind_a = _beside(a, kind_b)
        elif kind_b == "json" and kind_a is not None:
            b, kind_b = _beside(b, kind_a)
        _must_compare(op, left, kind_a, right, kind_b)
        if kind_a == "boolean" and op not in ("=", "<>"):
            raise ExpressionError(f"'{op}' does not order truth values ({shown(left)} and {shown(right)}).")
        return a, b

    def _listed(self, typed: Any, found: Any, item: Lit, arg: Any) -> tuple[Any, Any]:
        """What stands before 'in', beside one of the items."""
        _, kind = self.of(item)
        if found == "json" and kind is not None:
            return _beside(typed, kind)
        _must_compare("in", arg, found, item, kind)
        return typed, found

    def _coalesce(self, args: tuple[Any, ...]) -> tuple[Any, PayloadType]:
        typed = [self.of(arg) for arg in args]
        kinds = {kind for _, kind in typed if kind is not None}
        known = kinds - {"json"}
        if len(known) > 1 and not known <= set(NUMBERS):
            first, second = sorted(known)[:2]
            raise ExpressionError(
                f"coalesce mixes {first} and {second}.", remedy="Convert them, for example text(...)."
            )
        kind: Any = "decimal" if "decimal" in known else next(iter(known), "json")
        cast: list[Any] = [
            Apply(_cast(kind), (node,)) if have == "json" and kind != "json" else node for node, have in typed
        ]
        return Coalesce(tuple(cast)), kind


def _cast(kind: PayloadType) -> str:
    """The function that converts to a type."""
    return "text" if kind == "string" else kind


def _beside(node: Any, kind: PayloadType) -> tuple[Any, PayloadType]:
    """JSON beside a value of a type; beside a whole number it may be any number."""
    kind = "decimal" if kind == "integer" else kind
    return Apply(_cast(kind), (node,)), kind


def _must_compare(op: str, left: Any, a: Any, right: Any, b: Any) -> None:
    if a is None or b is None or a == b or (a in NUMBERS and b in NUMBERS):
        return
    remedy = (
        f"Write timestamp '{right.text}'." if isinstance(right, Lit) and {a, b} == {"timestamp", "string"} else None
    )
    raise ExpressionError(f"'{op}' compares {shown(left)} ({a}) with {shown(right)} ({b}).", remedy=remedy)
