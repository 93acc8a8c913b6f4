"""What a new version of a contract means for records: whether those that kept the old one keep the new one, and the
other way round; and whether that is what the contract promises.

``backward``: every record that keeps the version in force keeps the new one, so nothing that is sent today is refused
tomorrow. ``forward``: every record that keeps the new version keeps the one in force, so whoever reads by the old one
can read on. Both are proven from the schemas (``inclusion.py``); what cannot be proven counts as broken.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from cadenza.definitions.contract_fields import declared, json_schema
from cadenza.definitions.inclusion import gaps
from cadenza.definitions.kinds import Contract
from cadenza.definitions.project import Project, version_of

Compatibility = Literal["none", "backward", "forward", "full"]
_MOST_BREAKS = 20


class ContractChange(msgspec.Struct, frozen=True, kw_only=True):
    """A contract that is changed. ``promised`` is what the new version declares, ``holds`` what is proven of it.

    ``breaks``: what the promise does not allow, in words. ``fields``: those whose declaration differs. ``refused``: why
    it is not applied; None when it is."""

    name: str
    old_version: str
    new_version: str
    promised: Compatibility
    holds: Compatibility
    breaks: tuple[str, ...]
    fields: tuple[str, ...]
    refused: str | None


def contract_changes(old: Project | None, new: Project) -> tuple[ContractChange, ...]:
    """Every contract that is there in both projects and differs, by name."""
    before = {contract.name: contract for contract in old.contracts} if old else {}
    pairs = [(before[contract.name], contract) for contract in new.contracts if contract.name in before]
    return tuple(_change(was, now) for was, now in pairs if version_of(was) != version_of(now))


def _change(old: Contract, new: Contract) -> ContractChange:
    one, other = json_schema(old), json_schema(new)
    backward, forward = gaps(one, other), gaps(other, one)
    holds: Compatibility = "none"
    if not backward:
        holds = "backward" if forward else "full"
    elif not forward:
        holds = "forward"
    breaks: list[str] = []
    if new.compatibility in ("backward", "full"):
        breaks += [f"what kept the version in force may break the new one: {gap}" for gap in backward]
    if new.compatibility in ("forward", "full"):
        breaks += [f"what keeps the new version may break the one in force: {gap}" for gap in forward]
    return ContractChange(
        name=new.name, old_version=old.version, new_version=new.version, promised=new.compatibility, holds=holds,
        breaks=tuple(breaks[:_MOST_BREAKS]), fields=changed_fields(old, new), refused=_refused(old, new, breaks),
    )  # fmt: skip


def changed_fields(old: Contract, new: Contract) -> tuple[str, ...]:
    """Fields that are added, removed or declared otherwise; those of the schemas too."""
    before, after = declared(old), declared(new)
    found = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    was, now = old.schema.get("properties", {}), new.schema.get("properties", {})
    found |= {name for name in {*was, *now} if was.get(name) != now.get(name)}
    return tuple(sorted(found))


def _refused(old: Contract, new: Contract, breaks: list[str]) -> str | None:
    if breaks:
        return f"The contract '{new.name}' promises to be {new.compatibility} compatible, but {breaks[0]}."
    if new.version and new.version == old.version:
        return f"The contract '{new.name}' is changed, but its version is still {new.version}."
    return None
