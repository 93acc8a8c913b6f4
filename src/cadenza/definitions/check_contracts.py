"""What is wrong with contracts: their fields, their embedded schemas, and what they say together."""

from __future__ import annotations

from cadenza.definitions import kinds
from cadenza.definitions.builtin import BUILTIN_CONTRACTS, SYSTEM_PROPERTIES
from cadenza.definitions.contract_fields import PROPERTY_NAME, declared, plain_type, written_properties
from cadenza.definitions.findings import Findings
from cadenza.definitions.json_schema import faults, pattern_fault
from cadenza.definitions.project import Project
from cadenza.definitions.typecheck import CALL_CONTRACTS, NUMBERS


def check_contracts(project: Project, findings: Findings) -> None:
    """Note everything wrong with the contracts of a project."""
    seen: dict[str, tuple[str, str]] = {n: (t, "a built-in event") for n, t in SYSTEM_PROPERTIES.items()}
    folded: dict[str, str] = {name.lower(): name for name in SYSTEM_PROPERTIES}
    builtin = {c.name: c for c in BUILTIN_CONTRACTS}
    names = {contract.name for contract in project.contracts}
    for contract in project.contracts:
        event = CALL_CONTRACTS.get(contract.name, contract.name)
        if event != contract.name and event in names:
            findings.problem(f"'{contract.name}' and '{event}' are contracts of the same calls.", "contracts",
                             contract.name, "", "Keep one of them.")  # fmt: skip
        if not _check_schema(contract, findings):
            continue
        own = builtin.get(event or "")
        for name, prop in declared(contract).items():
            if prop is None or prop.type is None:
                continue
            path = f"properties.{name}"
            if name in contract.properties:
                _check_property(contract, name, prop, findings)
            else:
                path = f"schema.properties.{name}"
            if own and name in own.properties and own.properties[name].type != prop.type:
                what = f"'{name}' of the built-in event '{own.name}' is of type {own.properties[name].type}."
                findings.problem(what, "contracts", contract.name, path, "Leave it out, or rename yours.")
            elif event is not None:
                _one_type(contract, name, prop, path, seen, folded, findings)


def _check_schema(contract: kinds.Contract, findings: Findings) -> bool:
    """Whether the embedded schema can be used."""
    usable = True
    for fault in faults(contract.schema) if contract.schema else ():
        path = f"schema.{fault.path}" if fault.path else "schema"
        tell = findings.problem if fault.grave else findings.warning
        tell(fault.what, "contracts", contract.name, path, fault.remedy)
        usable = usable and not fault.grave
    return usable


def _one_type(
    contract: kinds.Contract, name: str, prop: kinds.Property, path: str,
    seen: dict[str, tuple[str, str]], folded: dict[str, str], findings: Findings,
) -> None:  # fmt: skip
    """A property name is one column of the event table, so it has one type everywhere."""
    kind, where = seen.setdefault(name, (prop.type, f"'{contract.name}'"))
    if kind != prop.type:
        what = f"The property '{name}' is of type {prop.type} here and {kind} in {where}."
        findings.problem(what, "contracts", contract.name, path, "Rename one of them, or give both the same type.")
    first = folded.setdefault(name.lower(), name)
    if first != name:
        what = f"The properties '{name}' and '{first}' differ only in upper and lower case."
        findings.problem(what, "contracts", contract.name, path, "Write both alike, or rename one.")


def _check_property(contract: kinds.Contract, name: str, prop: kinds.Property, findings: Findings) -> None:
    def wrong(key: str, what: str, remedy: str | None = None) -> None:
        findings.problem(what, "contracts", contract.name, f"properties.{name}.{key}", remedy)

    if not PROPERTY_NAME.fullmatch(name):
        remedy = "Names are letters, digits and _; a property of any other name is kept, but cannot be declared."
        findings.problem(f"'{name}' cannot be the name of a declared property.", "contracts", contract.name,
                         f"properties.{name}", remedy)  # fmt: skip
    for key in ("minimum", "maximum"):
        if getattr(prop, key) is not None and prop.type not in NUMBERS:
            wrong(key, f"'{key}' is for numbers; '{name}' is of type {prop.type}.")
    if prop.minimum is not None and prop.maximum is not None and prop.minimum > prop.maximum:
        wrong("minimum", f"The minimum of '{name}' is above its maximum.")
    for key in ("enum", "max_length"):
        if getattr(prop, key) and prop.type != "string":
            wrong(key, f"'{key}' is for strings; '{name}' is of type {prop.type}.")
    for key in ("pattern", "format"):
        if getattr(prop, key) is not None and prop.type != "string":
            wrong(key, f"'{key}' is for strings; '{name}' is of type {prop.type}.")
    if prop.pattern is not None and (said := pattern_fault(prop.pattern)):
        wrong("pattern", f"'{prop.pattern[:60]}' {said}.", "Only patterns that take linear time run.")
    if prop.personal and prop.sensitivity in ("public", "internal"):
        wrong("sensitivity", f"'{name}' is personal and {prop.sensitivity} at once.", "Keep one of them.")
    other = plain_type(written_properties(contract).get(name))
    if other is not None and other != prop.type:
        wrong("type", f"'{name}' is of type {prop.type} here and {other} in 'schema'.", "Say it once.")
