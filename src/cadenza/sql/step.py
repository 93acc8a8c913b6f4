"""The grammar of work: a Step is one query and the one table it writes.

Stage SQL lives in ``.sql`` files of named templates. A template is parsed once; ``:name`` placeholders are
replaced by trees (never by text), a placeholder in a list may become several items or none, and a table
called ``slot_name`` becomes a query or a list of joins. What a step reads
is derived from its tree, so order, lineage and ownership follow from the same list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec
import sqlglot
from sqlglot import exp

from cadenza.errors import CadenzaError
from cadenza.ids import ACCOUNTS

DIALECT = "duckdb"
Part = exp.Expr | Sequence[exp.Expr]

_SLOT = "slot_"
_MARK = "placed_here_"
_HEADER = re.compile(r"^-- name: (\w+)\n((?:-- .*\n)*)", re.MULTILINE)


class StepError(CadenzaError):
    """A step's template and its parts do not fit; a mistake in a stage, not in a project."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One statement. ``writes`` is the table it makes, appends to or updates; ``reads`` all others it names."""

    name: str
    room: str
    writes: str
    reads: frozenset[str]
    sql: str


class _Rendered(msgspec.Struct, frozen=True):
    """A template's SQL, cut at its placeholders: ``texts[i]`` comes before the part called ``names[i]``."""

    texts: tuple[str, ...]
    names: tuple[str, ...]
    writes: str
    reads: frozenset[str]


class Script:
    """The named templates of one ``.sql`` file, which belongs to one room."""

    def __init__(self, room: str, text: str) -> None:
        self.room = room
        self._trees: dict[str, exp.Expr] = {}
        self._purposes: dict[str, str] = {}
        self._plain: dict[tuple[str, tuple[tuple[str, str], ...]], Step] = {}
        self._rendered: dict[tuple[str, tuple[tuple[str, str], ...]], _Rendered | None] = {}
        headers = list(_HEADER.finditer(text))
        for header, following in zip(headers, [*headers[1:], None], strict=True):
            body = text[header.end() : following.start() if following else len(text)].strip().rstrip(";")
            self._trees[header[1]] = _with_constants(sqlglot.parse_one(body, dialect=DIALECT))
            self._purposes[header[1]] = " ".join(line[3:] for line in header[2].splitlines())

    @classmethod
    def beside(cls, module_file: str, room: str) -> "Script":
        """The script with the module's name and the ending ``.sql``."""
        return cls(room, Path(module_file).with_suffix(".sql").read_text(encoding="utf-8"))

    def names(self) -> tuple[str, ...]:
        return tuple(self._trees)

    def query(self, name: str) -> exp.Expr:
        """A template that is a query without placeholders, to fill a slot of another."""
        return self._trees[name].copy()

    def text(self, name: str, /, **parts: Part) -> str:
        """A query's SQL, with its placeholders replaced."""
        return self.step(name, **parts).sql

    def step(self, name: str, tables: dict[str, str] | None = None, /, **parts: Part) -> Step:
        """The template with its placeholders replaced and ``tables`` renamed. Raises StepError when a
        placeholder is left or unknown."""
        key = (name, tuple(tables.items()) if tables else ())
        if not parts:
            if key not in self._plain:
                self._plain[key] = self._make(name, tables, {})
            return self._plain[key]
        if key not in self._rendered:
            self._rendered[key] = self._render(name, tables)
        rendered = self._rendered[key]
        # Generating a large template anew costs more than running it; its parts are small.
        if rendered is not None and set(parts) == set(rendered.names) and not _absent(parts):
            return self._joined(name, rendered, parts)
        return self._make(name, tables, parts)

    def _render(self, name: str, tables: dict[str, str] | None) -> _Rendered | None:
        """The template generated once, with marks for its placeholders; None when it has slots."""
        tree = self._trees[name].copy()
        if tables:
            _rename(tree, tables)
        if any(t.name.startswith(_SLOT) for t in tree.find_all(exp.Table)):
            return None
        names: list[str] = []
        for node in list(tree.find_all(exp.Placeholder)):
            _spot(node).replace(exp.column(f"{_MARK}{len(names)}{_MARK}"))
            names.append(node.name)
        cut = re.split(f"{_MARK}([0-9]+){_MARK}", tree.sql(dialect=DIALECT))
        order = tuple(names[int(index)] for index in cut[1::2])
        return _Rendered(texts=tuple(cut[::2]), names=order, writes=written(tree), reads=read(tree))

    def _joined(self, name: str, rendered: _Rendered, parts: dict[str, Part]) -> Step:
        texts, reads = {}, set(rendered.reads)
        for key, part in parts.items():
            items = [part] if isinstance(part, exp.Expr) else part
            texts[key] = ", ".join(item.sql(dialect=DIALECT) for item in items)
            reads |= {table.name for item in items for table in item.find_all(exp.Table)}
        joined = "".join(text_ + texts[key] for text_, key in zip(rendered.texts, rendered.names, strict=False))
        return Step(
            name=name, room=self.room, writes=rendered.writes, reads=frozenset(reads), sql=joined + rendered.texts[-1]
        )  # fmt: skip

    def _make(self, name: str, tables: dict[str, str] | None, parts: dict[str, Part]) -> Step:
        tree = self._trees[name].copy()
        if tables:
            _rename(tree, tables)
        slots = {t.name[5:]: t for t in tree.find_all(exp.Table) if t.name.startswith(_SLOT)}
        found = {node.name for node in tree.find_all(exp.Placeholder)} | set(slots)
        if found != set(parts):
            raise StepError(f"step '{name}' has placeholders {sorted(found)}, was given {sorted(parts)}.")
        for slot, table in slots.items():
            _fill(table, parts[slot])
        for node in list(tree.find_all(exp.Placeholder)):
            if node.name in parts:
                _replace(node, parts[node.name])
        return Step(name=name, room=self.room, writes=written(tree), reads=read(tree), sql=tree.sql(dialect=DIALECT))


def _with_constants(tree: exp.Expr) -> exp.Expr:
    """``:first_account`` in any script is the number from which on accounts stand."""
    for node in list(tree.find_all(exp.Placeholder)):
        if node.name == "first_account":
            node.replace(number(ACCOUNTS))
    return tree


def _absent(parts: dict[str, Part]) -> bool:
    """Whether some part is an empty list, which takes a comma of its template with it."""
    return any(not isinstance(part, exp.Expr) and not part for part in parts.values())


def _rename(tree: exp.Expr, tables: dict[str, str]) -> None:
    for table in tree.find_all(exp.Table):
        if table.name in tables:
            table.set("this", exp.to_identifier(tables[table.name]))
    for column_ in tree.find_all(exp.Column):
        if column_.table in tables:
            column_.set("table", exp.to_identifier(tables[column_.table]))


def _fill(table: exp.Table, part: Part) -> None:
    """A table slot takes a query; a joined one (``JOIN slot_x ON TRUE``) takes a list of joins."""
    if isinstance(part, exp.Expr):
        table.replace(exp.Subquery(this=part.copy(), alias=exp.TableAlias(this=exp.to_identifier(table.alias))))
        return
    join = table.parent
    if not isinstance(join, exp.Join) or join.parent is None:
        raise StepError(f"slot '{table.name}' is not joined, so it takes a query.")
    owner, key = join.parent, join.arg_key or ""
    items: list[exp.Expr] = []
    for item in owner.args[key]:
        items.extend(p.copy() for p in part) if item is join else items.append(item)
    owner.set(key, items)


def _replace(node: exp.Expr, part: Part) -> None:
    if isinstance(part, exp.Expr):
        node.replace(part.copy())
        return
    node = _spot(node)
    parent, key = node.parent, node.arg_key or ""
    if parent is None or not isinstance(parent.args.get(key), list):
        raise StepError(f"placeholder ':{node.name}' is not in a list, so it takes one part.")
    items: list[exp.Expr] = []
    for item in parent.args[key]:
        items.extend(p.copy() for p in part) if item is node else items.append(item)
    parent.set(key, items)


def _spot(node: exp.Expr) -> exp.Expr:
    """What a list takes the place of: VALUES :rows parses as one row that holds the placeholder."""
    within = node.parent
    return within if isinstance(within, exp.Tuple) and isinstance(within.parent, exp.Values) else node


def written(tree: exp.Expr) -> str:
    """The table a statement writes."""
    target = tree.this
    if isinstance(target, exp.Schema):
        target = target.this
    return target.name if isinstance(target, exp.Table) else ""


def read(tree: exp.Expr) -> frozenset[str]:
    """The tables a statement reads (not its CTEs; what it writes only if it also reads it)."""
    ctes = {cte.alias for cte in tree.find_all(exp.CTE)}
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    return frozenset(table.name for table in tree.find_all(exp.Table) if table is not target and table.name not in ctes)


@lru_cache(maxsize=4096)
def sql(text: str) -> exp.Expr:
    """A scalar SQL expression as a tree (cached; copied where it is placed)."""
    return sqlglot.parse_one(text, dialect=DIALECT)


def query(text: str) -> exp.Select | exp.SetOperation:
    """A SELECT (or a UNION) as a tree of its own."""
    tree = sql(text).copy()
    assert isinstance(tree, exp.Select | exp.SetOperation)
    return tree


def subquery(text: str, parts: dict[str, exp.Expr]) -> exp.Expr:
    """A query as a value, with expressions in the place of the bare columns that are named like them."""
    tree = query(text)
    for node in list(tree.find_all(exp.Column)):
        if node.name in parts and not node.table:
            node.replace(parts[node.name].copy())
    return tree.subquery()


def column(name: str, table: str | None = None) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True), table=table)


def text(value: str | None) -> exp.Expr:
    return exp.Literal.string(value) if value is not None else exp.Null()


def number(value: int) -> exp.Expr:
    return exp.Literal.number(value) if value >= 0 else exp.Neg(this=exp.Literal.number(-value))


def instant(micros_iso: str) -> exp.Expr:
    """A TIMESTAMP literal (naive UTC)."""
    return exp.cast(exp.Literal.string(micros_iso), "timestamp", dialect=DIALECT)


def alias(tree: exp.Expr, name: str) -> exp.Expr:
    return exp.alias_(tree.copy(), exp.to_identifier(name, quoted=True))


def all_of(parts: Iterable[exp.Expr]) -> exp.Expr:
    items = list(parts)
    return exp.and_(*items) if items else exp.true()


def any_of(parts: Iterable[exp.Expr]) -> exp.Expr:
    items = list(parts)
    return exp.or_(*items) if items else exp.false()


def case_on(subject: exp.Expr, arms: Sequence[tuple[exp.Expr, exp.Expr]],
            otherwise: exp.Expr) -> exp.Expr:  # fmt: skip
    """CASE subject WHEN .. THEN .. ELSE .. END; without arms just ``otherwise``."""
    if not arms:
        return otherwise
    return exp.Case(
        this=subject.copy(),
        ifs=[exp.If(this=when.copy(), true=then.copy()) for when, then in arms], default=otherwise.copy(),
    )  # fmt: skip


def readers_of(steps: Iterable[Step], table: str) -> tuple[Step, ...]:
    """The steps that read a table."""
    return tuple(step for step in steps if table in step.reads)
