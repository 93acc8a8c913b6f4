"""The expressions of a file source: SQL over one row (or one group of rows) of the file, nothing more.

Parsed by sqlglot in DuckDB's dialect and held to a whitelist: no subquery, no table, file or system
function, no clock, no randomness, no window, nothing whose result depends on the order in which rows
happen to be read. So reading a file again gives the same records.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from cadenza.errors import ExpressionError, near_miss

LINE = "line_number"
"""The column that every file source has besides its own: the row's number in the file, from 1."""

_STRUCTURE = (
    exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.And, exp.Or, exp.Not,
    exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod,
    exp.Neg, exp.DPipe, exp.Is, exp.In, exp.Between, exp.Like, exp.ILike, exp.Case, exp.If, exp.Cast, exp.TryCast,
    exp.DataType, exp.DataTypeParam, exp.Struct, exp.PropertyEQ, exp.Array, exp.Filter, exp.Where, exp.Order,
    exp.Ordered, exp.Distinct, exp.Star, exp.JSONPath, exp.JSONPathKey, exp.JSONPathRoot, exp.JSONPathSubscript,
    exp.Interval, exp.Var, exp.Tuple,
)  # fmt: skip
_SCALARS = (
    exp.Coalesce, exp.Nullif, exp.Trim, exp.Lower, exp.Upper, exp.Length, exp.Left, exp.Right, exp.Substring,
    exp.Replace, exp.SplitPart, exp.StartsWith, exp.Contains, exp.Concat, exp.Round, exp.Abs, exp.Floor, exp.Ceil,
    exp.Greatest, exp.Least, exp.MD5, exp.StrToTime, exp.TimestampTrunc, exp.UnixToTime, exp.JSONExtractScalar,
    exp.RegexpLike, exp.RegexpExtract, exp.Pad,
)  # fmt: skip
_AGGREGATES = (
    exp.Count, exp.Sum, exp.Min, exp.Max, exp.Avg, exp.ArrayAgg, exp.GroupConcat, exp.LogicalOr, exp.LogicalAnd,
)  # fmt: skip
_NAMED = frozenset({"try_strptime", "length", "ends_with"})
_ALLOWED = frozenset((*_STRUCTURE, *_SCALARS, *_AGGREGATES))

_REMEDY = (
    "Allowed: operators, case, cast, try_cast, coalesce, nullif, trim, lower, upper, left, right, substr, replace, "
    "split_part, concat, round, abs, floor, ceil, greatest, least, md5, strptime, try_strptime, date_trunc, epoch_ms, ->>, "
    "regexp_matches, regexp_extract, {...}, [...]; over groups count, sum, min, max, avg, bool_or, bool_and, "
    "list(... order by ...), string_agg(... order by ...)."
)


def parse_mapping(text: str) -> exp.Expr:
    """The tree of one mapping expression. Raises ExpressionError naming the part that is not allowed.

    >>> parse_mapping("sum(Quantity * price)").sql()
    'SUM(Quantity * price)'
    """
    try:
        trees = sqlglot.parse(str(text), dialect="duckdb")
    except SqlglotError as error:
        first = str(error).splitlines()[0].split(". Line")[0]
        raise ExpressionError(f"'{text}' is not an expression: {first}.") from error
    if len(trees) != 1 or trees[0] is None:
        raise ExpressionError(f"'{text}' must be exactly one expression.", remedy=_REMEDY)
    _check(trees[0], text)
    return trees[0]


def _check(tree: exp.Expr, text: str) -> None:
    if isinstance(tree, (exp.Star, exp.PropertyEQ, exp.Var, exp.Tuple)):
        raise _refused(tree, text)
    for node in tree.walk():
        named = isinstance(node, exp.Anonymous) and node.name.lower() in _NAMED
        if type(node) not in _ALLOWED and not named:
            raise _refused(node, text)
        if isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count):
            raise _refused(node, text)
        if isinstance(node, exp.Column) and len(node.parts) > 2:
            raise _refused(node, text)
        if isinstance(node, (exp.ArrayAgg, exp.GroupConcat)) and node.find(exp.Order) is None:
            raise ExpressionError(
                f"'{node.sql(dialect='duckdb')}' in '{text}' has no order.",
                remedy=f"Write it with 'order by', for example 'order by {LINE}'.",
            )


def _refused(node: exp.Expr, text: str) -> ExpressionError:
    shown = node.sql(dialect="duckdb")
    return ExpressionError(f"'{shown}' is not allowed in the mapping '{text}'.", remedy=_REMEDY)


def columns_of(tree: exp.Expr) -> set[tuple[str, str]]:
    """The columns an expression reads, as (lookup or "", name)."""
    return {(column.table, column.name) for column in tree.find_all(exp.Column)}


def check_columns(tree: exp.Expr, known: Iterable[str], text: str) -> None:
    """Raise ExpressionError for a column that neither the file, a lookup (``name.column``) nor the source declares.
    Names compare as SQL does, in any case."""
    names = {name.lower(): name for name in known}
    for table, name in sorted(columns_of(tree)):
        full = f"{table}.{name}" if table else name
        if full.lower() not in names:
            raise ExpressionError(
                f"the mapping '{text}' reads the unknown column '{full}'.", remedy=near_miss(full, names.values())
            )


def has_aggregate(tree: exp.Expr) -> bool:
    """Whether an expression needs a group of rows."""
    return any(isinstance(node, _AGGREGATES) for node in tree.walk())


def is_inexact_in(tree: exp.Expr) -> bool:
    """Whether the result would depend on the order of rows if its type were floating-point."""
    return any(isinstance(node, (exp.Sum, exp.Avg)) for node in tree.walk())
