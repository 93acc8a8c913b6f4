"""The SQL that turns a declared file into records: read, join lookups, derive, group, map, make JSON.

Everything is a sqlglot tree in DuckDB's dialect. The author's expressions enter as trees that
``definitions/mapping.py`` has checked; paths and texts enter as literals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
import sqlglot
from sqlglot import exp

from cadenza.definitions.kinds import Lookup, RecordMapping, Source
from cadenza.definitions.mapping import LINE, parse_mapping
from cadenza.sql.wall_clock import wall_micros

LINES, FILE, ROW, RECORD, REFUSED, REJECT = (
    "import_line", "import_file", "import_row", "import_record", "import_refused", "import_reject",
)  # fmt: skip
Offsets = list[tuple[datetime, int]]

_READERS = {
    "parquet": f"SELECT * EXCLUDE (file_row_number), file_row_number + 1 AS {LINE} "
               "FROM read_parquet(:path, file_row_number = TRUE)",
    # Text files are read as text and in their order; the mapping casts what it needs.
    "csv": f"SELECT *, row_number() OVER () AS {LINE} FROM read_csv(:path, header = TRUE, all_varchar = TRUE, "
           f"store_rejects = TRUE, rejects_table = '{REJECT}', rejects_scan = 'import_reject_scan')",
    "jsonl": f"SELECT line, row_number() OVER () AS {LINE} FROM read_csv(:path, header = FALSE, auto_detect = FALSE, "
             "columns = {'line': 'VARCHAR'}, delim = '\x01', quote = '', escape = '')",
}  # fmt: skip
_IS_OBJECT = "CASE WHEN json_valid(line) THEN json_type(line) = 'OBJECT' ELSE FALSE END"
KEYS_OF_LINES = f"SELECT DISTINCT unnest(json_keys(line)) AS key FROM {LINES} WHERE {_IS_OBJECT} ORDER BY key"
_ZONED = r"\d{2}:\d{2}.*(Z|[+-]\d{2}(:?\d{2})?)$"


def _tree(sql: str, **values: exp.Expr | str) -> exp.Expr:
    """A query from its text, with ``:name`` places filled by trees or text literals."""
    filled = {name: exp.Literal.string(v) if isinstance(v, str) else v for name, v in values.items()}
    return exp.replace_placeholders(sqlglot.parse_one(sql, dialect="duckdb"), **filled)


def text(tree: exp.Expr) -> str:
    return tree.sql(dialect="duckdb")


def create(name: str, query: exp.Expr, kind: str = "TABLE") -> str:
    """CREATE OR REPLACE TEMP TABLE (or VIEW) AS ..."""
    tree = exp.Create(
        this=exp.to_table(name), kind=kind, replace=True, expression=query,
        properties=exp.Properties(expressions=[exp.TemporaryProperty()]),
    )  # fmt: skip
    return text(tree)


def read_lines(source: Source, path: str) -> exp.Expr:
    """The file's rows with their line numbers."""
    return _tree(_READERS[source.format or "parquet"], path=path)


def all_lines(source: Source, columns: Sequence[str]) -> exp.Query:
    """The file's rows as columns."""
    return fields_of_lines(columns) if source.format == "jsonl" else exp.select("*").from_(LINES)


def every_line() -> exp.Select:
    return exp.select("*").from_(FILE)


def describe(table: str) -> str:
    """Columns of a table or view and their types."""
    return text(exp.Describe(this=exp.to_table(table)))


def keys_twice(table: str, key: str) -> str:
    """Keys of a lookup that stand in more than one row."""
    column = exp.column(key, quoted=True)
    many = exp.GT(this=exp.Count(this=exp.Star()), expression=exp.Literal.number(1))
    return text(exp.select(column).from_(table).group_by(column.copy()).having(many).order_by(column.copy()).limit(5))


def lookup_misses(index: int, lookup: Lookup) -> str:
    """How many different values the rows look up in vain."""
    wanted = exp.select(exp.alias_(exp.cast(mapping(lookup.on), "varchar"), "k")).distinct().from_(FILE).subquery("w")
    there = exp.EQ(this=exp.column(lookup.key, table="t", quoted=True), expression=exp.column("k", table="w"))
    known = exp.select("1").from_(exp.alias_(exp.to_table(lookup_table(index)), "t", table=True)).where(there)
    given = exp.Not(this=exp.Is(this=exp.column("k"), expression=exp.Null()))
    missing = exp.Not(this=exp.Exists(this=known))
    return text(exp.select(exp.Count(this=exp.Star())).from_(wanted).where(given, missing))


def fields_of_lines(keys: Sequence[str]) -> exp.Select:
    """JSON lines as columns of text, one per top-level key."""
    line = exp.column("line")
    fields = [
        exp.alias_(exp.func("json_extract_string", line.copy(), exp.Literal.string(_json_path(key))), key, quoted=True)
        for key in keys
    ]
    query = exp.select(*fields, LINE).from_(LINES)
    return query.where(sqlglot.condition(_IS_OBJECT, dialect="duckdb"))


def _json_path(key: str) -> str:
    return '$."' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def lookup_table(index: int) -> str:
    return f"import_lookup_{index}"


def read_lookup(path: str) -> exp.Expr:
    return _tree("SELECT * FROM read_csv(:path, header = TRUE, all_varchar = TRUE)", path=path)


def flatten(tree: exp.Expr) -> exp.Expr:
    """``zones.time_zone`` -> the column "zones.time_zone" of the joined rows."""

    def rename(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column) and node.table:
            return exp.column(f"{node.table}.{node.name}", quoted=True)
        return node

    return tree.transform(rename)


def mapping(sql: str) -> exp.Expr:
    """An author's expression, checked and flattened."""
    return flatten(parse_mapping(sql))


def joined(source: Source, lookup_columns: Mapping[str, Sequence[str]], base: exp.Query) -> exp.Expr:
    """Rows with the columns of every lookup and the derived columns."""
    rows = exp.select("*").from_(base.subquery("r"))
    for index, (name, lookup) in enumerate(source.lookups.items()):
        # Renamed before the join, so that a column of the file and one of the lookup may have one name.
        renamed = exp.select(
            *[
                exp.alias_(exp.column(column, quoted=True), f"{name}.{column}", quoted=True)
                for column in lookup_columns[name]
            ]
        ).from_(lookup_table(index))
        match = exp.EQ(
            this=exp.column(f"{name}.{lookup.key}", quoted=True), expression=exp.cast(mapping(lookup.on), "varchar")
        )
        rows = rows.join(renamed.subquery(f"l{index}"), on=match, join_type="left")
    for name, sql in source.columns.items():
        derived = exp.alias_(mapping(sql), name, quoted=True)
        rows = exp.select("*", derived).from_(rows.subquery("d"))
    return rows


def without_duplicates(columns: Sequence[str]) -> exp.Expr:
    """Rows that differ from every earlier one in some column of the file."""
    return (
        exp.select("*").from_(FILE).qualify(exp.EQ(
            this=exp.Window(
                this=exp.RowNumber(), partition_by=[exp.column(c, quoted=True) for c in columns],
                order=exp.Order(expressions=[exp.Ordered(this=exp.column(LINE))]),
            ),
            expression=exp.Literal.number(1),
        ))
    )  # fmt: skip


def count_lines(columns: Sequence[str]) -> str:
    """How many rows, and how many of them repeat an earlier one in every column of the file."""
    distinct = exp.select(*[exp.column(c, quoted=True) for c in columns]).distinct().from_(FILE)
    counted = exp.select(exp.Count(this=exp.Star())).from_(distinct.subquery("d"))
    total = exp.select(exp.Count(this=exp.Star())).from_(FILE)
    return text(exp.select(total.subquery(), counted.subquery()))


def control_totals(source: Source) -> str:
    """One row: every control total over the whole file."""
    return text(exp.select(*[mapping(control.sql) for control in source.controls.values()]).from_(FILE))


def count_groups(source: Source) -> str:
    query = exp.select(exp.Count(this=exp.Star()))
    if not source.group_by:
        return text(query.from_(ROW))
    groups = exp.select(*[mapping(key) for key in source.group_by]).distinct().from_(ROW)
    return text(query.from_(groups.subquery("g")))


class Field(msgspec.Struct, frozen=True):
    """A column of a mapped table and the place of its value in the body; ``sql`` is the author's."""

    column: str
    holder: str
    key: str
    sql: str


_IDS = {"userId": "user_id", "anonymousId": "anonymous_id", "groupId": "group_id", "previousId": "previous_id"}


def fields_of(record: RecordMapping) -> list[Field]:
    """What a record mapping puts into the body besides its type, event and time."""
    ids = [(key, getattr(record, attribute)) for key, attribute in _IDS.items()]
    found = [Field(f"id_{key}", "", key, sql) for key, sql in ids if sql is not None]
    for holder, values in (("properties", record.properties), ("traits", record.traits)):
        found += [Field(f"{holder}_{i}", holder, key, values[key]) for i, key in enumerate(sorted(values))]
    return found


def label_of(record: RecordMapping) -> str:
    """What reports call the records of a mapping."""
    return record.event or record.call


def mapped_table(rank: int) -> str:
    return f"import_mapped_{rank}"


def mapped(source: Source, record: RecordMapping) -> exp.Expr:
    """Every record of one mapping, its values still typed: line, message_id, happened, and the fields' columns."""
    group = [mapping(key) for key in source.group_by]
    line = exp.Min(this=exp.column(LINE)) if group else exp.column(LINE)
    query = exp.select(
        exp.alias_(line, "line"),
        exp.alias_(exp.cast(mapping(record.message_id), "varchar"), "message_id"),
        exp.alias_(mapping(record.timestamp), "happened"),
        *[exp.alias_(mapping(field.sql), field.column, quoted=True) for field in fields_of(record)],
    ).from_(ROW)
    if record.when is not None:
        keep = mapping(record.when)
        query = query.having(keep) if group else query.where(keep)
    if record.once_per is not None:
        query = query.select(exp.alias_(mapping(record.once_per), "once"))
    if group:
        query = query.group_by(*group)
    return query if record.once_per is None else _first_per_once(query)


def _first_per_once(query: exp.Select) -> exp.Select:
    order = exp.Order(expressions=[exp.Ordered(this=exp.column(c)) for c in ("happened", "line")])
    window = exp.Window(this=exp.RowNumber(), partition_by=[exp.column("once")], order=order)
    first = exp.EQ(this=window, expression=exp.Literal.number(1))
    known = exp.Not(this=exp.Is(this=exp.column("once"), expression=exp.Null()))
    return exp.select("* EXCLUDE (once)", dialect="duckdb").from_(query.subquery("q")).where(known).qualify(first)


def local_range(tables: Mapping[str, Sequence[str]]) -> str:
    """The least and greatest local time in the given columns of the given mapped tables."""
    parts = [
        exp.select(*[
            exp.alias_(bound(this=_try_timestamp(exp.column(column, quoted=True))), name)
            for bound, name in ((exp.Min, "low"), (exp.Max, "high"))
        ]).from_(table)
        for table, columns in tables.items() for column in columns
    ]  # fmt: skip
    both = parts[0] if len(parts) == 1 else exp.union(*parts, distinct=False)
    return text(exp.select(exp.Min(this=exp.column("low")), exp.Max(this=exp.column("high"))).from_(both.subquery("b")))


NAIVE = ("TIMESTAMP", "DATE")
ZONED = "TIMESTAMP WITH TIME ZONE"
FLOATS = ("DOUBLE", "FLOAT")


def micros_of(column: str, kind: str, offsets: Offsets) -> exp.Expr:
    """Microseconds UTC of a column of the given type; text may carry an offset or not."""
    value = exp.column(column, quoted=True)
    if kind == ZONED:
        return exp.func("epoch_us", value)
    if kind != "VARCHAR":
        return wall(value, offsets)
    zoned = exp.func("epoch_us", exp.TryCast(this=value.copy(), to=exp.DataType.build("timestamptz")))
    naive = wall(_try_timestamp(value.copy()), offsets)
    carries = exp.func("regexp_matches", value.copy(), exp.Literal.string(_ZONED))
    return exp.Case(ifs=[exp.If(this=carries, true=zoned)], default=naive)


def _try_timestamp(value: exp.Expr) -> exp.Expr:
    return exp.TryCast(this=value, to=exp.DataType.build("timestamp"))


def wall(value: exp.Expr, offsets: Offsets) -> exp.Expr:
    return wall_micros(exp.cast(value, "timestamp"), offsets)


def _json_value(field: Field, kind: str, offsets: Offsets) -> exp.Expr:
    """The JSON text of a value; NULL where it is absent ("" and what is not a number are absent too)."""
    value: exp.Expr = exp.column(field.column, quoted=True)
    if not field.holder:
        value, kind = exp.cast(value, "varchar"), "VARCHAR"
    if kind in NAIVE or kind == ZONED:
        instant = exp.func("make_timestamp", micros_of(field.column, kind, offsets))
        value = exp.func("strftime", instant, exp.Literal.string("%Y-%m-%dT%H:%M:%S.%fZ"))
    elif kind == "VARCHAR":
        value = exp.func("nullif", value, exp.Literal.string(""))
    elif kind in FLOATS:
        value = exp.Case(ifs=[exp.If(this=exp.func("isfinite", value), true=value.copy())])
    return exp.cast(exp.func("to_json", value), "varchar")


def _member(key: str, value: exp.Expr) -> exp.Expr:
    """``"key":value``; NULL when the value is."""
    prefix = exp.Literal.string(msgspec.json.encode(key).decode() + ":")
    return exp.DPipe(this=prefix, expression=value)


def _object(members: Sequence[exp.Expr]) -> exp.Expr:
    """A JSON object of the members that are not NULL: concat_ws leaves NULLs out, so nothing is ever null."""
    inside = exp.Anonymous(this="concat_ws", expressions=[exp.Literal.string(","), *members])
    opened = exp.DPipe(this=exp.Literal.string("{"), expression=inside)
    return exp.DPipe(this=opened, expression=exp.Literal.string("}"))


def bodies(rank: int, record: RecordMapping, kinds: Mapping[str, str], offsets: Offsets) -> exp.Select:
    """The records of one mapped table as canonical JSON (members sorted), one column each: rank, line,
    message_id, instant, body. ``kinds``: the types of the mapped table's columns."""
    at = micros_of("happened", kinds["happened"], offsets)
    members = {
        "type": exp.Literal.string(f'"{record.call}"'),
        "occurred_at": exp.cast(exp.column("instant"), "varchar"),
    }
    if record.event is not None:
        members["event"] = exp.Literal.string(msgspec.json.encode(record.event).decode())
    held: dict[str, list[exp.Expr]] = {}
    for field in fields_of(record):
        value = _json_value(field, kinds[field.column], offsets)
        if field.holder:
            held.setdefault(field.holder, []).append(_member(field.key, value))
        else:
            members[field.key] = value
    members |= {holder: _object(inside) for holder, inside in held.items()}
    body = _object([_member(key, members[key]) for key in sorted(members)])
    timed = exp.select("*", exp.alias_(at, "instant")).from_(mapped_table(rank))
    return exp.select(
        exp.alias_(exp.Literal.number(rank), "rank"), "line", "message_id", "instant", exp.alias_(body, "body")
    ).from_(timed.subquery("t"))


def all_records(parts: Sequence[exp.Select]) -> exp.Expr:
    """All records of the import, numbered from 1 in the order in which they are appended."""
    union = parts[0] if len(parts) == 1 else exp.union(*parts, distinct=False)
    order = [
        exp.Ordered(this=exp.column("instant"), nulls_first=True),
        exp.Ordered(this=exp.column("rank")),
        exp.Ordered(this=exp.column("line")),
    ]
    number = exp.Window(this=exp.RowNumber(), order=exp.Order(expressions=order))
    return exp.select(exp.alias_(number, "n"), "*").from_(union.subquery("u")).order_by("n")


FORGET_REJECTS = (f"DROP TABLE IF EXISTS {REJECT}", "DROP TABLE IF EXISTS import_reject_scan")
UNREADABLE_CSV = (
    f"SELECT line, min(csv_line) AS csv_line, string_agg(DISTINCT error_message, '; ' ORDER BY error_message) "
    f"FROM {REJECT} GROUP BY line ORDER BY line"
)
UNREADABLE_JSON = (
    f"SELECT {LINE}, line, 'not a JSON object' FROM {LINES} WHERE line IS NOT NULL AND NOT {_IS_OBJECT} ORDER BY {LINE}"
)
CREATE_REFUSED = f"CREATE OR REPLACE TEMP TABLE {REFUSED} (rank INTEGER, line BIGINT)"
CHUNK = f"SELECT rank, line, message_id, instant, body FROM {RECORD} WHERE n > ? AND n <= ? ORDER BY n"
BOUNDS = f"SELECT count(*), min(instant), max(instant) FROM {RECORD}"
MADE = f"SELECT rank, count(*) FROM {RECORD} GROUP BY rank ORDER BY rank"


def without_record(source: Source, ranks: Sequence[int]) -> str:
    """How many groups (or rows) gave no record at all."""
    lines = [exp.select("line").from_(mapped_table(rank)) for rank in ranks]
    made = lines[0] if len(lines) == 1 else exp.union(*lines)
    line = exp.Min(this=exp.column(LINE)) if source.group_by else exp.column(LINE)
    groups = exp.select(exp.alias_(line, "line")).from_(ROW)
    if source.group_by:
        groups = groups.group_by(*[mapping(key) for key in source.group_by])
    missing = (
        exp.select(exp.Count(this=exp.Star()))
        .from_(groups.subquery("g"))
        .join(made.subquery("m"), using="line", join_type="anti")
    )
    return text(missing)


def sums(rank: int, columns: Sequence[str]) -> str:
    """One row: for each exact decimal column of a mapped table its sum, then that of the refused records."""
    refused = exp.Not(this=exp.Is(this=exp.column("line", table="f"), expression=exp.Null()))
    totals = [exp.Sum(this=exp.column(c, table="m", quoted=True)) for c in columns]
    parts = [exp.Filter(this=t.copy(), expression=exp.Where(this=refused.copy())) for t in totals]
    mine = exp.select("line").from_(REFUSED).where(exp.EQ(this=exp.column("rank"), expression=exp.Literal.number(rank)))
    query = exp.select(*totals, *parts).from_(exp.alias_(exp.to_table(mapped_table(rank)), "m", table=True))
    on = exp.EQ(this=exp.column("line", table="f"), expression=exp.column("line", table="m"))
    return text(query.join(mine.subquery("f"), on=on, join_type="left"))
