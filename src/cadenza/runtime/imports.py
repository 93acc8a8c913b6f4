"""Import: a declared file becomes records of the log.

The file is read, joined, grouped and turned into bodies by SQL in a scratch engine; here they are judged by
their contracts and appended in chunks, oldest first. Record ids come from the file, so importing again
stores nothing twice. What is not stored is counted under its reason: nothing vanishes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

import msgspec

from cadenza.clock import Clock, to_micros
from cadenza.definitions.kinds import RecordMapping, Source
from cadenza.definitions.mapping import LINE, check_columns, has_aggregate, is_inexact_in, parse_mapping
from cadenza.definitions.project import Project
from cadenza.errors import ExpressionError, StoreError, TerminalError, near_miss
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Log, NewRecord, Refused
from cadenza.runtime.contracts import ContractChecker, Judgement, judged
from cadenza.sql import file_source as fs
from cadenza.sql.wall_clock import wall_offsets

CHUNK = 5_000
"""Records appended in one durable step."""
MAX_ID = 100
"""Characters of a message id."""


class ImportProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an import is. ``per_second``: records appended a second; ``eta_s``: seconds left at that rate."""

    source: str
    done: int
    total: int
    per_second: float
    eta_s: float


class ControlResult(msgspec.Struct, frozen=True, kw_only=True):
    """A control total of the file: what it came to, what was expected (None: only shown), whether they agree."""

    name: str
    sql: str
    expect: str | None
    found: str
    ok: bool


class RecordCount(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the records of one mapping: made = stored + duplicate + conflict + quarantined.

    ``sums``: for each exact decimal property the total over all records made; ``refused_sums``: that part of
    it which lies in quarantine."""

    label: str
    made: int
    stored: int
    duplicate: int
    conflict: int
    quarantined: int
    sums: dict[str, Decimal] = {}
    refused_sums: dict[str, Decimal] = {}


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """An import, accounted for. Instants are µs since 1970 UTC."""

    source: str
    file: str
    lines: int
    unreadable_lines: int
    exact_duplicate_lines: int
    duplicates: str
    """``keep`` or ``drop``, as the source declares."""
    groups: int
    without_record: int
    """Groups (or rows) that no mapping turned into a record."""
    records: tuple[RecordCount, ...]
    quarantined: dict[str, int]
    flagged: dict[str, int]
    lookup_misses: dict[str, int]
    controls: tuple[ControlResult, ...]
    first_at: int | None
    last_at: int | None
    late: bool
    """The log already held later records, so these were recorded later than they happened."""
    seconds: float

    @property
    def made(self) -> int:
        return sum(count.made for count in self.records)

    @property
    def stored(self) -> int:
        return sum(count.stored for count in self.records)

    @property
    def duplicate(self) -> int:
        return sum(count.duplicate for count in self.records)

    @property
    def conflict(self) -> int:
        return sum(count.conflict for count in self.records)

    @property
    def conserved(self) -> bool:
        """Whether every record made and every unreadable line is stored, known, in conflict or in quarantine."""
        refused = sum(self.quarantined.values())
        return self.made + self.unreadable_lines == self.stored + self.duplicate + self.conflict + refused

    @property
    def reconciled(self) -> bool:
        """Whether every control total came to what the source declares."""
        return all(control.ok for control in self.controls)


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A file made into records in the scratch engine, nothing appended yet."""

    source: Source
    file: Path
    lines: int
    exact_duplicate_lines: int
    groups: int
    without_record: int
    controls: tuple[ControlResult, ...]
    lookup_misses: dict[str, int]
    unreadable: tuple[tuple[int, str, str], ...]
    """Lines that are no rows: number, text, what is wrong."""
    total: int
    first_at: int | None
    last_at: int | None
    kinds: dict[int, dict[str, str]]


def import_source(
    project: Project, source_name: str, folder: Path, engine: Engine, log: Log, clock: Clock,
    progress: Callable[[ImportProgress], None] | None = None,
) -> ImportReport:  # fmt: skip
    """Read a file source and append its records; see the module. ``engine`` is a scratch engine, not the store.

    Raises TerminalError (no such source or file, a mapping that does not run) before anything is appended.
    """
    prepared = prepare_import(project, source_name, folder, engine)
    return append_prepared(project, prepared, engine, log, clock, progress)


def first_instant(project: Project, source_name: str, folder: Path, engine: Engine) -> int | None:
    """When (µs) the earliest record of a file source happened; None when it has none. Appends nothing."""
    return prepare_import(project, source_name, folder, engine).first_at


# --- reading -----------------------------------------------------------------------------------


def prepare_import(project: Project, source_name: str, folder: Path, engine: Engine) -> Prepared:
    """Make the records of a file source in the engine's temporary tables. Raises TerminalError."""
    source = _source(project, source_name)
    file = _existing(folder, source.path or "", f"source '{source_name}'")
    try:
        return _prepare(source, file, folder, engine)
    except ExpressionError as error:
        raise TerminalError(error.what, where=f"source '{source_name}'", remedy=error.remedy) from error
    except ZoneInfoNotFoundError as error:
        raise TerminalError(
            f"'{source.time_zone}' is not a time zone.", where=f"source '{source_name}'",
            remedy="Use an IANA name such as 'Europe/London'.",
        ) from error  # fmt: skip
    except StoreError as error:
        raise TerminalError(
            f"'{source.path}' cannot be read as declared: {_gist(error)}", where=f"source '{source_name}'",
            remedy="Mend the mapping; try_cast(...) turns what does not convert into nothing, for the contract to judge.",
        ) from error  # fmt: skip


def _gist(error: StoreError) -> str:
    return " ".join(line.strip() for line in error.what.split("LINE 1:")[0].splitlines() if line.strip())


def _source(project: Project, name: str) -> Source:
    files = {source.name: source for source in project.sources if source.kind == "file"}
    if name not in files:
        raise TerminalError(f"there is no file source '{name}'.", remedy=near_miss(name, files))
    if not files[name].path or not files[name].records:
        raise TerminalError("a file source needs a path and at least one record.", where=f"source '{name}'")
    return files[name]


def _existing(folder: Path, path: str, where: str) -> Path:
    file = (folder / path).resolve()
    if not file.is_file():
        raise TerminalError(
            f"the file '{path}' does not exist.", where=where, remedy="Paths are relative to the project folder."
        )
    return file


def _prepare(source: Source, file: Path, folder: Path, engine: Engine) -> Prepared:
    unreadable, own = _read(source, file, engine)
    lookups = _read_lookups(source, folder, engine)
    known = [*own, LINE, *(f"{name}.{column}" for name, columns in lookups.items() for column in columns)]
    _check_mappings(source, known)
    base = fs.joined(source, lookups, fs.all_lines(source, own))
    engine.execute(fs.create(fs.FILE, base, "TABLE" if source.format != "parquet" else "VIEW"))
    lines, distinct = engine.query(fs.count_lines(own))[0]
    rows = fs.every_line() if source.duplicates == "keep" else fs.without_duplicates(own)
    engine.execute(fs.create(fs.ROW, rows, "VIEW" if source.duplicates == "keep" else "TABLE"))
    for rank, record in enumerate(source.records):
        engine.execute(fs.create(fs.mapped_table(rank), fs.mapped(source, record)))
    kinds = {rank: _kinds(engine, fs.mapped_table(rank)) for rank in range(len(source.records))}
    _check_kinds(source, kinds)
    offsets = _offsets(source, kinds, engine)
    parts = [fs.bodies(rank, record, kinds[rank], offsets) for rank, record in enumerate(source.records)]
    engine.execute(fs.create(fs.RECORD, fs.all_records(parts)))
    total, first_at, last_at = engine.query(fs.BOUNDS)[0]
    return Prepared(
        source=source, file=file, lines=lines + len(unreadable), exact_duplicate_lines=lines - distinct,
        groups=engine.query(fs.count_groups(source))[0][0],
        without_record=engine.query(fs.without_record(source, range(len(source.records))))[0][0],
        controls=_controls(source, engine), lookup_misses=_lookup_misses(source, lookups, engine),
        unreadable=unreadable, total=total, first_at=first_at, last_at=last_at, kinds=kinds,
    )  # fmt: skip


def _read(source: Source, file: Path, engine: Engine) -> tuple[tuple[tuple[int, str, str], ...], list[str]]:
    """Read the file's lines; returns the lines that are no rows and the names of the columns."""
    for statement in fs.FORGET_REJECTS:
        engine.execute(statement)
    lines = fs.read_lines(source, str(file))
    engine.execute(fs.create(fs.LINES, lines, "VIEW" if source.format == "parquet" else "TABLE"))
    if source.format == "jsonl":
        keys = [row[0] for row in engine.query(fs.KEYS_OF_LINES)]
        return tuple(engine.query(fs.UNREADABLE_JSON)), keys
    own = [name for name in _kinds(engine, fs.LINES) if name != LINE]
    return (tuple(engine.query(fs.UNREADABLE_CSV)) if source.format == "csv" else ()), own


def _read_lookups(source: Source, folder: Path, engine: Engine) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {}
    for index, (name, lookup) in enumerate(source.lookups.items()):
        where = f"lookup '{name}' of source '{source.name}'"
        table = fs.lookup_table(index)
        engine.execute(fs.create(table, fs.read_lookup(str(_existing(folder, lookup.path, where)))))
        columns[name] = list(_kinds(engine, table))
        if lookup.key not in columns[name]:
            raise TerminalError(
                f"'{lookup.path}' has no column '{lookup.key}'.",
                where=where,
                remedy=near_miss(lookup.key, columns[name]),
            )
        twice = [str(row[0]) for row in engine.query(fs.keys_twice(table, lookup.key))]
        if twice:
            raise TerminalError(
                f"'{lookup.path}' holds some keys more than once: {', '.join(twice[:5])}.", where=where,
                remedy="A lookup has one row per key.",
            )  # fmt: skip
    return columns


def _kinds(engine: Engine, table: str) -> dict[str, str]:
    return {row[0]: row[1] for row in engine.query(fs.describe(table))}


# --- checks before anything runs ---------------------------------------------------------------


def _check_mappings(source: Source, known: list[str]) -> None:
    """Every expression parses, reads known columns only, and aggregates only where there are groups."""
    for lookup in source.lookups.values():
        _check_one(lookup.on, known, aggregates=False)
    for name, sql in source.columns.items():
        _check_one(sql, known, aggregates=False)
        known = [*known, name]
    for sql in source.group_by:
        _check_one(sql, known, aggregates=False)
    for control in source.controls.values():
        _check_one(control.sql, known, aggregates=True)
    for record in source.records:
        for sql in _expressions(record):
            _check_one(sql, known, aggregates=bool(source.group_by))


def _expressions(record: RecordMapping) -> Iterator[str]:
    yield record.message_id
    yield record.timestamp
    yield from (sql for sql in (record.when, record.once_per) if sql is not None)
    yield from (field.sql for field in fs.fields_of(record))


def _check_one(sql: str, known: list[str], *, aggregates: bool) -> None:
    tree = parse_mapping(sql)
    check_columns(tree, known, sql)
    if has_aggregate(tree) and not aggregates:
        raise ExpressionError(f"'{sql}' needs groups of rows.", remedy="Declare group_by, or take the aggregate out.")


def _check_kinds(source: Source, kinds: dict[int, dict[str, str]]) -> None:
    for rank, record in enumerate(source.records):
        happened = kinds[rank]["happened"]
        if happened not in (*fs.NAIVE, fs.ZONED, "VARCHAR"):
            raise ExpressionError(
                f"the timestamp '{record.timestamp}' is of type {happened}.",
                remedy="Make it a timestamp, for example with strptime(...) or to_timestamp(seconds).",
            )
        for field in fs.fields_of(record):
            if kinds[rank][field.column] in fs.FLOATS and is_inexact_in(parse_mapping(field.sql)):
                raise ExpressionError(
                    f"'{field.sql}' adds floating-point numbers, so its last digits depend on the order of rows.",
                    remedy="Cast to an exact type first, for example cast(price as decimal(18, 3)).",
                )


def _offsets(source: Source, kinds: dict[int, dict[str, str]], engine: Engine) -> fs.Offsets:
    """The UTC offsets of the source's zone over the local times that its records hold."""
    local = {
        fs.mapped_table(rank): [column for column, kind in columns.items() if kind in fs.NAIVE]
        + (["happened"] if columns["happened"] == "VARCHAR" else [])
        for rank, columns in kinds.items()
    }
    if not any(local.values()):
        low = high = None
    else:
        low, high = engine.query(fs.local_range(local))[0]
    if low is None or high is None:
        low = high = datetime(1970, 1, 1)
    return wall_offsets(source.time_zone, low, high)


def _controls(source: Source, engine: Engine) -> tuple[ControlResult, ...]:
    if not source.controls:
        return ()
    found = engine.query(fs.control_totals(source))[0]
    return tuple(
        ControlResult(
            name=name, sql=control.sql, expect=control.expect, found=str(value),
            ok=control.expect is None or _same(control.expect, str(value)),
        )
        for (name, control), value in zip(source.controls.items(), found, strict=True)
    )  # fmt: skip


def _same(expect: str, found: str) -> bool:
    try:
        return Decimal(expect.replace(",", "").replace("_", "")) == Decimal(found)
    except InvalidOperation:
        return expect == found


def _lookup_misses(source: Source, lookups: dict[str, list[str]], engine: Engine) -> dict[str, int]:
    """For each lookup, how many values of the rows it does not know."""
    return {
        name: engine.query(fs.lookup_misses(index, lookup))[0][0]
        for index, (name, lookup) in enumerate(source.lookups.items())
    }


# --- appending ---------------------------------------------------------------------------------

_Row = tuple[int, int, str | None, int | None, str]


class _Appender:
    """Judges and appends the rows of one import, and keeps the accounts."""

    def __init__(self, project: Project, prepared: Prepared, log: Log, clock: Clock) -> None:
        self._source = prepared.source
        self._checker = ContractChecker(project)
        self._log = log
        self._clock = clock
        self._labels = [fs.label_of(record) for record in prepared.source.records]
        self.statuses: Counter[tuple[int, str]] = Counter()
        self.quarantined: Counter[str] = Counter()
        self.flagged: Counter[str] = Counter()
        self.refused_rows: list[tuple[int, int]] = []

    def append(self, rows: Sequence[_Row]) -> None:
        """Append one chunk: refused rows to quarantine, the others to the log."""
        now = to_micros(self._clock.now())
        accepted: list[tuple[int, NewRecord]] = []
        refused: list[Refused] = []
        for rank, line, message_id, at, body in rows:
            encoded = body.encode()
            reason, detail, judgement = self._judge(rank, message_id, at, encoded, now)
            if reason is None:
                accepted.append((rank, self._record(message_id, at, _marked(encoded, judgement))))
                continue
            refused.append(Refused(
                source=self._source.name, reason=reason, detail=f"line {line}: {detail}", body=encoded,
                message_id=message_id, form="record", imported=True,
            ))  # fmt: skip
            self.quarantined[reason] += 1
            self.statuses[rank, "quarantined"] += 1
            self.refused_rows.append((rank, line))
        if refused:
            self._log.quarantine(refused, now)
        results = self._log.append([record for _, record in accepted], now) if accepted else []
        for (rank, _), result in zip(accepted, results, strict=True):
            self.statuses[rank, result.status] += 1

    def quarantine_lines(self, lines: Sequence[tuple[int, str, str]]) -> None:
        """Keep the lines of the file that are no rows."""
        refused = [
            Refused(
                source=self._source.name, reason="unreadable_line", detail=f"line {number}: {what}",
                body=(line or "").encode(), message_id=f"{self._source.name}:line:{number}:{_digest(line or '')}"[:MAX_ID],
                form="text", imported=True,
            )
            for number, line, what in lines
        ]  # fmt: skip
        if refused:
            self._log.quarantine(refused, to_micros(self._clock.now()))
            self.quarantined["unreadable_line"] += len(refused)

    def _record(self, message_id: str | None, at: int | None, body: bytes) -> NewRecord:
        return NewRecord(
            kind="call", source=self._source.name, message_id=str(message_id), body=body, at=at, imported=True
        )

    def _judge(
        self, rank: int, message_id: str | None, at: int | None, body: bytes, now: int
    ) -> tuple[str | None, str, Judgement]:
        """The reason to refuse a row (or None), its detail, and how it is kept where it breaks its contract."""
        if not message_id:
            return "no_message_id", "the mapping's message_id is empty.", _UNMARKED
        if len(message_id) > MAX_ID:
            return "message_id_too_long", f"'{message_id[:40]}...' has more than {MAX_ID} characters.", _UNMARKED
        if at is None:
            return "bad_timestamp", "the timestamp is missing or cannot be read.", _UNMARKED
        if at > now:
            return "future_timestamp", "the timestamp lies in the future.", _UNMARKED
        if not self._checker.covers(self._source.records[rank].call, self._source.records[rank].event):
            return None, "", _UNMARKED
        violations = self._checker.check(msgspec.json.decode(body))
        if not violations:
            return None, "", _UNMARKED
        judgement = judged(violations)
        if judgement.outcome != "keep":
            # A file is read once and nobody is there to send again: what a contract rejects is set aside, too.
            return judgement.reason, judgement.detail, _UNMARKED
        self.flagged.update({violation.reason for violation in violations})
        return None, "", judgement


_UNMARKED = Judgement("keep", "", "", [], frozenset())


def _marked(body: bytes, judgement: Judgement) -> bytes:
    """The body with its flags and without what its contract drops, members sorted: decoding would round exact
    decimals."""
    if not judgement.flags:
        return body
    raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    raw["flags"] = msgspec.Raw(msgspec.json.encode(sorted(judgement.flags)))
    for holder in ("properties", "traits") if judgement.dropped else ():
        if holder in raw:
            fields = msgspec.json.decode(raw[holder], type=dict[str, msgspec.Raw])
            kept = {name: value for name, value in fields.items() if name not in judgement.dropped}
            raw[holder] = msgspec.Raw(msgspec.json.encode(kept))
    return msgspec.json.encode(raw, order="sorted")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def append_prepared(
    project: Project, prepared: Prepared, engine: Engine, log: Log, clock: Clock,
    progress: Callable[[ImportProgress], None] | None = None,
) -> ImportReport:  # fmt: skip
    """Append what ``prepare_import`` made, and account for it."""
    began = clock.monotonic()
    late = prepared.first_at is not None and log.head().recorded_at >= prepared.first_at
    _announce_replay(prepared, log, clock)
    appender = _Appender(project, prepared, log, clock)
    appender.quarantine_lines(prepared.unreadable)
    for done in range(0, prepared.total, CHUNK):
        rows = engine.query(fs.CHUNK, [done, done + CHUNK])
        appender.append(rows)  # type: ignore[arg-type]
        if progress is not None:
            progress(_progress(prepared, done + len(rows), clock.monotonic() - began))
    return _report(prepared, appender, engine, late, clock.monotonic() - began)


def _announce_replay(prepared: Prepared, log: Log, clock: Clock) -> None:
    """Before history comes in: nothing planned from here on is deliverable, until a ``live`` command.

    The id holds the file's content, so reading the same file again adds nothing and another file does."""
    if prepared.first_at is None:
        return
    command = NewRecord(
        kind="command", source=prepared.source.name, message_id=f"replay:{_file_digest(prepared.file)}",
        body=b'{"command":"replay"}', at=prepared.first_at - 1, imported=True,
    )  # fmt: skip
    log.append([command], to_micros(clock.now()))


def _progress(prepared: Prepared, done: int, elapsed: float) -> ImportProgress:
    rate = done / elapsed if elapsed > 0 else 0.0
    eta = (prepared.total - done) / rate if rate > 0 else 0.0
    return ImportProgress(source=prepared.source.name, done=done, total=prepared.total, per_second=rate, eta_s=eta)


def _report(prepared: Prepared, appender: _Appender, engine: Engine, late: bool, seconds: float) -> ImportReport:
    refused = [{"rank": rank, "line": line} for rank, line in appender.refused_rows]
    engine.execute(fs.CREATE_REFUSED)
    if refused:
        engine.append_json(fs.REFUSED, {"rank": "INTEGER", "line": "BIGINT"}, msgspec.json.encode(refused))
    made = dict(engine.query(fs.MADE))
    counts = tuple(
        _count(prepared, rank, made.get(rank, 0), appender, engine) for rank in range(len(prepared.source.records))
    )
    return ImportReport(
        source=prepared.source.name, file=str(prepared.source.path), lines=prepared.lines,
        unreadable_lines=len(prepared.unreadable), exact_duplicate_lines=prepared.exact_duplicate_lines,
        duplicates=prepared.source.duplicates, groups=prepared.groups, without_record=prepared.without_record,
        records=counts, quarantined=dict(sorted(appender.quarantined.items())),
        flagged=dict(sorted(appender.flagged.items())), lookup_misses=prepared.lookup_misses,
        controls=prepared.controls, first_at=prepared.first_at, last_at=prepared.last_at,
        late=late and any(count.stored for count in counts), seconds=seconds,
    )  # fmt: skip


def _count(prepared: Prepared, rank: int, made: int, appender: _Appender, engine: Engine) -> RecordCount:
    record = prepared.source.records[rank]
    exact = [
        field for field in fs.fields_of(record)
        if field.holder == "properties" and prepared.kinds[rank][field.column].startswith("DECIMAL")
    ]  # fmt: skip
    totals: tuple[Any, ...] = ()
    if exact:
        totals = engine.query(fs.sums(rank, [field.column for field in exact]))[0]
    names = [field.key for field in exact]
    known = {status: appender.statuses[rank, status] for status in ("stored", "duplicate", "conflict", "quarantined")}
    return RecordCount(
        label=fs.label_of(record), made=made, **known,
        sums={name: Decimal(value or 0) for name, value in zip(names, totals, strict=False)},
        refused_sums={name: Decimal(value or 0) for name, value in zip(names, totals[len(names) :], strict=True)},
    )  # fmt: skip
