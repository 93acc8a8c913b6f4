"""What comes in, as it comes, each record with what became of it. Reads the log and the quarantine only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from cadenza.ledger.log import SqliteLog
from cadenza.ledger.quarantine import Quarantined
from cadenza.ports.ledger import Record

Outcome = Literal["stored", "quarantined", "duplicate", "rejected"]
PAGE = 1_000
LOOKED_BACK = 100_000
"""Records at most that are looked through for the last ones that a filter wants."""
HIDDEN = "•••"
_IDS = ("userId", "anonymousId", "previousId", "groupId")
_PLAIN = frozenset({"type", "event", "occurred_at", "flags"})


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One record. ``at`` (µs): recorded, or come into quarantine; ``offset`` in the log, ``id`` in quarantine."""

    at: int
    source: str
    outcome: Outcome
    offset: int | None = None
    id: int | None = None
    reason: str = ""
    detail: str = ""
    flags: tuple[str, ...] = ()
    kind: str = "call"
    type: str = ""
    event: str = ""
    ids: dict[str, str] = {}
    message_id: str | None = None
    body: dict[str, Any] | str = ""


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """Records that are not kept one by one: ``n`` more of a source since the last look."""

    source: str
    outcome: Outcome
    reason: str
    n: int


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to show; None: whatever it is. ``person``: any identifier, or the e-mail address, in the record."""

    source: str | None = None
    type: str | None = None
    event: str | None = None
    person: str | None = None
    outcome: Outcome | None = None

    def keeps(self, seen: Seen) -> bool:
        """Whether to show a record."""
        return (
            self.source in (None, seen.source) and self.type in (None, seen.type) and self.event in (None, seen.event)
            and self.outcome in (None, seen.outcome) and (self.person is None or self.person in _names(seen))
        )  # fmt: skip

    def counts(self, counted: Counted) -> bool:
        """Whether to say how many: what is not kept one by one has no type, event or person."""
        asked = self.type is None and self.event is None and self.person is None
        return asked and self.source in (None, counted.source) and self.outcome in (None, counted.outcome)


class Tail:
    """One look after another at a log. ``redact``: show no value that may be personal."""

    def __init__(self, log: SqliteLog, wanted: Wanted, redact: bool = False) -> None:
        self._log, self._wanted, self._redact = log, wanted, redact
        self._offset, self._id = log.head().offset, log.quarantined.last_id()
        self._tally = self._counts()

    def last(self, n: int) -> list[Seen]:
        """The last ``n`` records that came before this was made, oldest first."""
        if n <= 0:
            return []
        found: list[Seen] = []
        high = self._offset
        while high > 0 and len(found) < n and self._offset - high < LOOKED_BACK:
            low = max(0, high - PAGE)
            found = self._kept(_of_record(r) for r in self._log.read(low, high - low)) + found
            high = low
        refused = [q for q in self._log.quarantined.list(max(n, PAGE)) if q.id <= self._id]
        return sorted([*found, *self._kept(map(_of_quarantined, refused))], key=_when)[-n:]

    def since(self, at: int) -> list[Seen]:
        """Everything from the instant ``at`` (µs) until this was made; at most LOOKED_BACK records."""
        low, high = 0, self._offset
        while low < high:
            middle = (low + high) // 2
            page = self._log.read(middle, 1)
            if page and page[0].recorded_at < at:
                low = middle + 1
            else:
                high = middle
        low = max(low, self._offset - LOOKED_BACK)
        found = self._kept(_of_record(r) for r in self._log.read(low, self._offset - low)) if low < self._offset else []
        refused = [q for q in self._log.quarantined.list(LOOKED_BACK) if q.at >= at and q.id <= self._id]
        return sorted([*found, *self._kept(map(_of_quarantined, refused))], key=_when)

    def poll(self) -> list[Seen | Counted]:
        """What came since the last look, oldest first; then how many were not kept one by one."""
        records = self._log.read(self._offset, PAGE)
        refused = self._log.quarantined.after(self._id, PAGE)
        self._offset = records[-1].offset if records else self._offset
        self._id = refused[-1].id if refused else self._id
        seen = self._kept([*map(_of_record, records), *map(_of_quarantined, refused)])
        counts, before = self._counts(), self._tally
        self._tally = counts
        more = [
            Counted(source=source, outcome=outcome, reason=reason, n=n - before.get((source, outcome, reason), 0))
            for (source, outcome, reason), n in counts.items()
            if n > before.get((source, outcome, reason), 0)
        ]
        return [*sorted(seen, key=_when), *filter(self._wanted.counts, more)]

    def _kept(self, seen: Iterable[Seen]) -> list[Seen]:
        kept = [one for one in seen if self._wanted.keeps(one)]
        return [redacted(one) for one in kept] if self._redact else kept

    def _counts(self) -> dict[tuple[str, Outcome, str], int]:
        return {
            (source, outcome, reason): n  # type: ignore[misc]
            for source, outcome, reason, n in self._log.tallies.entries()
            if outcome in ("duplicate", "rejected")
        }


def redacted(seen: Seen) -> Seen:
    """The record without any value that may be personal: fields keep their names."""
    body = (
        {k: v if k in _PLAIN else _hidden(v) for k, v in seen.body.items()} if isinstance(seen.body, dict) else HIDDEN
    )
    detail = HIDDEN if seen.detail else ""
    return msgspec.structs.replace(
        seen,
        body=body,
        detail=detail,
        ids=dict.fromkeys(seen.ids, HIDDEN),
        message_id=HIDDEN if seen.message_id else None,
    )


def _hidden(value: Any) -> Any:
    return {name: _hidden(item) for name, item in value.items()} if isinstance(value, dict) else HIDDEN


def _of_record(record: Record) -> Seen:
    body = _read(record.body)
    return Seen(
        at=record.recorded_at, source=record.source, outcome="stored", offset=record.offset, kind=record.kind,
        message_id=record.message_id, flags=tuple(_texts(body, "flags")), **_described(body),
    )  # fmt: skip


def _of_quarantined(item: Quarantined) -> Seen:
    return Seen(
        at=item.at, source=item.source, outcome="quarantined", id=item.id, reason=item.reason, detail=item.detail,
        kind=item.kind, message_id=item.message_id, **_described(_read(item.body)),
    )  # fmt: skip


def _read(body: bytes) -> dict[str, Any] | str:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode("utf-8", errors="replace")
    return value if isinstance(value, dict) else body.decode("utf-8", errors="replace")


def _described(body: dict[str, Any] | str) -> dict[str, Any]:
    if isinstance(body, str):
        return {"body": body}
    ids = {name: str(body[name]) for name in _IDS if isinstance(body.get(name), str | int)}
    kind, event = body.get("type"), body.get("event")
    return {
        "body": body, "ids": ids, "type": kind if isinstance(kind, str) else "", "event": event if isinstance(event, str) else "",
    }  # fmt: skip


def _texts(body: dict[str, Any] | str, name: str) -> list[str]:
    held = body.get(name) if isinstance(body, dict) else None
    return [str(item) for item in held] if isinstance(held, list) else []


def _names(seen: Seen) -> set[str]:
    names = set(seen.ids.values())
    if isinstance(seen.body, dict):
        for holder in ("traits", "properties"):
            held = seen.body.get(holder)
            if isinstance(held, dict) and isinstance(held.get("email"), str):
                names.add(held["email"])
    return names


def _when(seen: Seen) -> tuple[int, bool, int]:
    return seen.at, seen.offset is None, seen.offset or seen.id or 0
