"""What a changed contract would do: who reads the fields that change, and how many recent records would break it.

The records are those of the log, judged by the contracts as they would be; nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from cadenza.definitions.compatibility import ContractChange, contract_changes
from cadenza.definitions.difference import difference
from cadenza.definitions.kinds import Contract
from cadenza.definitions.lineage import Reader, readers
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError
from cadenza.ports.ledger import Log, Record
from cadenza.runtime.contracts import ContractChecker, canonical, judged

RECENT_RECORDS = 100_000
RECENT_US = 30 * 86_400 * 1_000_000
"""How far back records are judged: so many records of the log, and so long before the last of them."""
_PAGE = 5_000
_decode = msgspec.json.Decoder().decode


class BreakingContract(CadenzaError):
    """A contract does not keep its promise towards the version in force. Mend it, or promise less."""


class FieldReaders(msgspec.Struct, frozen=True, kw_only=True):
    """A field that changes, and everything that reads it."""

    field: str
    readers: tuple[Reader, ...]


class RecentRecords(msgspec.Struct, frozen=True, kw_only=True):
    """Recent records that a contract judges: how many, and how many of them break it, by reason and by what would
    become of them (``keep`` is kept and marked)."""

    judged: int
    failing: int
    reasons: dict[str, int]
    outcomes: dict[str, int]


class ContractPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A contract that is added, changed or removed. ``compatibility`` is None unless it is changed."""

    name: str
    change: str
    compatibility: ContractChange | None
    fields: tuple[FieldReaders, ...]
    recent: RecentRecords | None


def contract_plans(deployed: Project | None, wanted: Project, log: Log | None) -> tuple[ContractPlan, ...]:
    """One plan for each contract that differs, by name. Without a log no records are judged."""
    changes = [change for change in difference(deployed, wanted) if change.kind == "contracts"]
    if not changes:
        return ()
    by_name = {change.name: change for change in contract_changes(deployed, wanted)}
    recent = (
        _judged(log, wanted, [change.name for change in changes]) if log is not None and deployed is not None else {}
    )
    was = {contract.name: contract for contract in deployed.contracts} if deployed else {}
    return tuple(
        ContractPlan(
            name=change.name, change=change.change, compatibility=by_name.get(change.name), recent=recent.get(change.name),
            fields=tuple(_fields(deployed, wanted, change.name, was.get(change.name), by_name.get(change.name))),
        )
        for change in changes
    )  # fmt: skip


def refuse_breaking(deployed: Project | None, wanted: Project) -> None:
    """Raise BreakingContract when a contract breaks its promise towards the version in force."""
    refused = [change.refused for change in contract_changes(deployed, wanted) if change.refused is not None]
    if refused:
        raise BreakingContract(
            " ".join(refused),
            remedy="Mend it, give it a new version, or declare 'compatibility' as it is; 'cadenza plan' shows all.",
        )


def _fields(
    deployed: Project | None, wanted: Project, name: str, old: Contract | None, change: ContractChange | None
) -> Iterator[FieldReaders]:
    """Fields that change and are read by something, in the project as it is and as it would be."""
    names = change.fields if change is not None else tuple(old.properties) if old is not None else ()
    for field in names:
        found = {
            (reader.kind, reader.name): reader
            for project in (deployed, wanted) if project is not None
            for reader in readers(project, name, field)
        }  # fmt: skip
        if found:
            yield FieldReaders(field=field, readers=tuple(found[key] for key in sorted(found)))


def _judged(log: Log, wanted: Project, names: list[str]) -> dict[str, RecentRecords]:
    """Recent records of the contracts in question, judged by the wanted project."""
    checker = ContractChecker(wanted)
    counts: dict[str, Counter[str]] = {canonical(name): Counter() for name in names}
    reasons: dict[str, Counter[str]] = {name: Counter() for name in counts}
    for record in recent_records(log):
        body = _decode(record.body)
        event = body.get("event") if body.get("type") == "track" else None
        speaking = checker.contract_of(str(body.get("type")), event)
        for name in (speaking, "context"):
            if name not in counts:
                continue
            violations = (
                checker.check_context(body.get("context")) if name == "context" else checker.check(_fields_of(body))
            )
            counts[name]["judged"] += 1
            if violations:
                counts[name][judged(violations).outcome] += 1
                reasons[name].update({violation.reason for violation in violations})
    return {name: _recent(counts[canonical(name)], reasons[canonical(name)]) for name in names}


def _fields_of(body: dict[str, Any]) -> dict[str, Any]:
    """A stored body as the checker judges it: the traits of a group are stored as properties."""
    return {**body, "traits": body.get("properties")} if body.get("type") == "group" else body


def _recent(counts: Counter[str], reasons: Counter[str]) -> RecentRecords:
    outcomes = {outcome: counts[outcome] for outcome in ("keep", "quarantine", "reject") if counts[outcome]}
    ordered = dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
    return RecentRecords(judged=counts["judged"], failing=sum(outcomes.values()), reasons=ordered, outcomes=outcomes)


def recent_records(
    log: Log, most: int = RECENT_RECORDS, since: int | None = None, source: str | None = None
) -> Iterator[Record]:
    """Calls of the log, oldest first, of the last ``most`` records, not recorded before ``since`` (µs; None: 30 days
    before the last record). Reads page by page."""
    head = log.head()
    first = max(head.offset - most, 0)
    since = head.recorded_at - RECENT_US if since is None else since
    while first < head.offset:
        page = log.read(first, _PAGE)
        if not page:
            return
        first = page[-1].offset
        for record in page:
            if record.kind == "call" and record.recorded_at >= since and (source is None or record.source == source):
                yield record
