"""Contracts at the door: does a normalised call look like what its contract says?

Shared by collection and import, so that a record is judged alike whichever way it comes in.
A contract becomes one JSON Schema (2020-12), compiled once; jsonschema-rs has no regular expressions
that can hang. ``null`` and ``""`` count as absent, as real clients send both for "nothing".
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jsonschema_rs
import msgspec

from cadenza.definitions.builtin import BUILTIN_CONTRACTS
from cadenza.definitions.kinds import Contract, Property
from cadenza.definitions.project import Project

_SHOWN = 80
"""Characters of an offending value that a message quotes."""

_NAMES = {"page": "Page Viewed", "screen": "Screen Viewed"}
"""Calls whose contract is named after the event they count as; others without an event: after the call."""
_IN_TRAITS = frozenset({"identify", "group"})


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which a record breaks its contract. ``action`` is what the contract says to do about it."""

    contract: str
    property: str
    rule: str
    message: str
    action: Literal["quarantine", "flag"]

    @builtins.property
    def reason(self) -> str:
        """The reason under which refusals are counted: contract, property and rule, no values."""
        return f"contract: {self.contract}.{self.property} {self.rule}"


class ContractChecker:
    """All contracts of a project, compiled."""

    def __init__(self, project: Project) -> None:
        self._contracts = contracts_in_force(project)
        self._schemas = {
            name: jsonschema_rs.Draft202012Validator(json_schema(contract), validate_formats=True)
            for name, contract in self._contracts.items()
        }

    def covers(self, call: str, event: str | None) -> bool:
        """Whether there is a contract for a call of this type (and, for ``track``, of this event's name)."""
        return _name_of(call, event) in self._contracts

    def acceptor(self, call: str, event: str | None) -> Callable[[dict[str, Any]], bool] | None:
        """The quick question for such calls: is nothing wrong with these fields (``null`` and ``""`` removed)? None when
        there is no contract for them. When it says no, ``check`` says why."""
        schema = self._schemas.get(_name_of(call, event))
        return None if schema is None else schema.is_valid

    def check(self, body: dict[str, Any]) -> list[Violation]:
        """What is wrong with a normalised call body; empty when nothing is, or when no contract covers it."""
        call = str(body.get("type"))
        name, holder = _name_of(call, body.get("event")), "traits" if call in _IN_TRAITS else "properties"
        schema = self._schemas.get(name)
        if schema is None:
            return []
        held = body.get(holder)
        contract = self._contracts[name]
        if held is not None and not isinstance(held, dict):
            message = f"{holder} must be an object, not {_kind_of(held)}."
            return [_violation(contract, holder, "type", message)]
        fields = {key: _judged(value) for key, value in (held or {}).items() if value is not None and value != ""}
        if schema.is_valid(fields):
            return []
        return list(_violations(contract, schema, fields))


def _judged(value: Any) -> Any:
    """What the schema needs to see: of arrays and objects only that they are (their insides are not declared)."""
    return type(value)() if isinstance(value, (list, dict)) else value


def _name_of(call: str, event: Any) -> str:
    return str(event or "") if call == "track" else _NAMES.get(call, call)


def contracts_in_force(project: Project) -> dict[str, Contract]:
    """The project's contracts and the built-in ones by name; where both name an event, the built-in properties hold
    and the project's are added. A built-in contract that requires nothing only flags: it informs, it does not refuse."""
    found = {contract.name: contract for contract in project.contracts}
    for contract in BUILTIN_CONTRACTS:
        mine = found.get(contract.name)
        if mine is not None:
            merged = {**mine.properties, **contract.properties}
            found[contract.name] = msgspec.structs.replace(mine, properties=merged)
        elif any(declared.required for declared in contract.properties.values()):
            found[contract.name] = contract
        else:
            found[contract.name] = msgspec.structs.replace(contract, on_violation="flag")
    return found


def _violation(contract: Contract, name: str, rule: str, message: str) -> Violation:
    return Violation(contract=contract.name, property=name, rule=rule, message=message, action=contract.on_violation)


def _violations(contract: Contract, schema: Any, fields: dict[str, Any]) -> Iterator[Violation]:
    for error in schema.iter_errors(fields):
        rule = error.kind.name
        if rule == "required":
            missing = error.kind.property
            yield _violation(contract, missing, rule, f"{contract.name}: {missing} is required and missing.")
            continue
        name = str(error.instance_path[0]) if error.instance_path else "record"
        declared = contract.properties.get(name)
        shown = "a personal value" if declared is None or declared.personal else _shown(fields.get(name))
        yield _violation(contract, name, rule, f"{contract.name}: {name} {_demand(declared, rule)}; it is {shown}.")


def _demand(declared: Property | None, rule: str) -> str:
    if declared is None:
        return f"breaks the rule {rule}"
    match rule:
        case "type":
            return f"must be of type {declared.type}"
        case "minimum":
            return f"must be at least {declared.minimum:g}"
        case "maximum":
            return f"must be at most {declared.maximum:g}"
        case "enum":
            return f"must be one of {', '.join(repr(item) for item in declared.enum)}"
        case "maxLength":
            return f"must have at most {declared.max_length} characters"
        case "format":
            return "must be an RFC 3339 date and time"
    return f"breaks the rule {rule}"


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _kind_of(value: Any) -> str:
    return {list: "an array", str: "a string", bool: "a boolean"}.get(type(value), "a number")


_JSON_TYPES = {"decimal": "number", "timestamp": "string"}


def json_schema(contract: Contract) -> dict[str, Any]:
    """The contract as JSON Schema 2020-12. Undeclared properties are allowed: they are kept, not judged."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": contract.name,
        "type": "object",
        "properties": {name: _property_schema(item) for name, item in contract.properties.items()},
        "required": [name for name, item in contract.properties.items() if item.required],
    }


def _property_schema(declared: Property) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": _JSON_TYPES.get(declared.type, declared.type)}
    if declared.type == "timestamp":
        schema["format"] = "date-time"
    if declared.minimum is not None:
        schema["minimum"] = declared.minimum
    if declared.maximum is not None:
        schema["maximum"] = declared.maximum
    if declared.enum:
        schema["enum"] = list(declared.enum)
    if declared.max_length is not None:
        schema["maxLength"] = declared.max_length
    return schema
