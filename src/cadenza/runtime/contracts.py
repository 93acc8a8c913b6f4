"""Contracts at the door: does a normalised call look like what its contract says, and what follows when not?

Shared by collection and import, so that a record is judged alike whichever way it comes in. A contract becomes one
JSON Schema (2020-12), compiled once; its patterns run in linear time. ``null`` and ``""`` count as absent, as real
clients send both for "nothing".
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Literal

import msgspec

from cadenza.definitions.builtin import BUILTIN_CONTRACTS
from cadenza.definitions.contract_fields import CALLS, CONTEXT, declared, json_schema, written_properties
from cadenza.definitions.json_schema import compiled
from cadenza.definitions.kinds import Action, Contract, Property
from cadenza.definitions.project import Project

__all__ = ["ContractChecker", "Judgement", "Violation", "contracts_in_force", "json_schema"]

_SHOWN = 80
"""Characters of an offending value or name that a message quotes."""
_MOST_ERRORS = 1_000
"""Errors of one record that are looked at; one with more is set aside, whatever its contract says."""
_MOST_TOLD = 20
"""Violations of one record that are told of."""

_NAMES = {"page": "Page Viewed", "screen": "Screen Viewed"}
"""Calls whose contract is named after the event they count as; others without an event: after the call."""
_IN_TRAITS = frozenset({"identify", "group"})
_RESERVED = frozenset({*CALLS, CONTEXT})
_MISSING = frozenset({"required", "dependentRequired", "minProperties"})
_UNDECLARED = frozenset({"additionalProperties", "unevaluatedProperties", "propertyNames"})


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which a record breaks its contract. ``action`` is what the contract says to do about it."""

    contract: str
    property: str
    rule: str
    message: str
    action: Action
    declared: bool = True

    @builtins.property
    def reason(self) -> str:
        """The reason under which refusals are counted: contract, field and rule. No values, and no names that a sender
        made up, so that there are few reasons."""
        if not self.contract:
            return self.rule
        return f"contract: {self.contract}.{self.property if self.declared else '*'} {self.rule}"

    @builtins.property
    def flag(self) -> str:
        """How the record itself is marked; the field by name."""
        mark = f"contract: {self.contract}.{_short(self.property)} {self.rule}" if self.contract else self.reason
        return f"{mark}, dropped" if self.action == "drop_field" and self.rule not in _MISSING else mark


class Judgement(msgspec.Struct, frozen=True):
    """What becomes of a record that breaks its contract. The gravest action decides: reject, quarantine, keep.

    ``reason`` and ``detail`` are of the gravest violations; a record that is kept loses ``dropped`` (names of fields)
    and gets ``flags``."""

    outcome: Literal["keep", "quarantine", "reject"]
    reason: str
    detail: str
    flags: list[str]
    dropped: frozenset[str]


def judged(violations: Iterable[Violation]) -> Judgement:
    """What follows from the violations of one record; there is at least one."""
    found = list(violations)
    actions = {violation.action for violation in found}
    outcome: Literal["keep", "quarantine", "reject"] = "keep"
    if "reject" in actions:
        outcome = "reject"
    elif "quarantine" in actions:
        outcome = "quarantine"
    grave = found if outcome == "keep" else [violation for violation in found if violation.action == outcome]
    detail = " ".join(violation.message for violation in grave[:_MOST_TOLD])
    flags = list(dict.fromkeys(violation.flag for violation in found[:_MOST_TOLD]))
    if len(found) > _MOST_TOLD:
        flags.append(f"contract: {found[0].contract} broken in {len(found) - _MOST_TOLD} more ways")
    dropped: frozenset[str] = frozenset()
    if outcome == "keep":  # what is set aside is set aside whole
        dropped = frozenset(v.property for v in found if v.action == "drop_field" and v.rule not in _MISSING)
    return Judgement(outcome, grave[0].reason, detail, flags, dropped)


class ContractChecker:
    """All contracts of a project, compiled."""

    def __init__(self, project: Project) -> None:
        self._contracts = contracts_in_force(project)
        self._schemas = {name: compiled(json_schema(contract)) for name, contract in self._contracts.items()}
        self._fields = {name: _known_fields(contract) for name, contract in self._contracts.items()}
        self._undeclared_events = project.undeclared_events

    def covers(self, call: str, event: str | None) -> bool:
        """Whether there is something to judge in a call of this type (and, for ``track``, of this event's name)."""
        return _name_of(call, event) in self._contracts or self._unplanned(call)

    def contract_of(self, call: str, event: str | None) -> str:
        """The name of the contract that judges such calls, whether or not there is one."""
        return _name_of(call, event)

    def acceptor(self, call: str, event: str | None) -> Callable[[dict[str, Any]], bool] | None:
        """The quick question for such calls: is nothing wrong with these fields (``null`` and ``""`` removed)? None when
        there is nothing to judge. When it says no, ``check`` says why."""
        schema = self._schemas.get(_name_of(call, event))
        if schema is None:
            return _never if self._unplanned(call) else None
        return schema.is_valid

    def check(self, body: dict[str, Any]) -> list[Violation]:
        """What is wrong with a normalised call body; empty when nothing is, or when no contract covers it."""
        call = str(body.get("type"))
        name, holder = _name_of(call, body.get("event")), "traits" if call in _IN_TRAITS else "properties"
        if name not in self._schemas:
            return [self._unknown_event(name)] if self._unplanned(call) else []
        return self._check(name, holder, body.get(holder))

    def check_context(self, context: dict[str, Any] | None) -> list[Violation]:
        """What is wrong with the context of a call, its traits left out."""
        return self._check(CONTEXT, CONTEXT, context) if CONTEXT in self._schemas else []

    def _check(self, name: str, holder: str, held: Any) -> list[Violation]:
        contract, schema = self._contracts[name], self._schemas[name]
        if held is not None and not isinstance(held, dict):
            message = f"{holder} must be an object, not {_kind_of(held)}."
            action = contract.actions.type or contract.on_violation
            return [Violation(contract=name, property=holder, rule="type", message=message, action=action)]
        fields = {key: value for key, value in (held or {}).items() if value is not None and value != ""}
        if schema.is_valid(fields):
            return []
        found: dict[tuple[str, str], Violation] = {}
        try:
            errors = list(islice(schema.iter_errors(fields), _MOST_ERRORS))
        except ValueError:  # the validator's own limit, far above what collection lets pass
            errors = []
        mistyped: set[tuple[Any, ...]] = set()
        if len(errors) > 1:
            mistyped = {tuple(error.instance_path) for error in errors if error.kind.name == "type"}
        for error in errors:
            if mistyped and error.kind.name != "type" and tuple(error.instance_path) in mistyped:
                continue  # what else is wrong with it follows from the type
            for violation in _violations(contract, self._fields[name], error, fields):
                found.setdefault((violation.property, violation.rule), violation)
        if len(errors) in (0, _MOST_ERRORS):
            message = f"{name}: the record breaks its contract in {_MOST_ERRORS:,} places or more, or nests too deep."
            action = "reject" if contract.on_violation == "reject" else "quarantine"
            found["record", "errors"] = Violation(
                contract=name, property="record", rule="errors", message=message, action=action
            )
        return list(found.values())

    def _unplanned(self, call: str) -> bool:
        return call == "track" and self._undeclared_events != "allow"

    def _unknown_event(self, name: str) -> Violation:
        action: Any = self._undeclared_events
        message = f"No contract speaks of the event '{_short(name)}'."
        return Violation(contract="", property="event", rule="undeclared_event", message=message, action=action)


def canonical(name: str) -> str:
    """The name under which a contract is in force: that of the event, for contracts named after a call.

    >>> canonical('page')
    'Page Viewed'
    """
    return _NAMES.get(name, name)


def _never(fields: dict[str, Any]) -> bool:
    """The acceptor of events that no contract speaks of, where the project wants to know."""
    return False


def _name_of(call: str, event: Any) -> str:
    """The contract's name. A track event may be called as a call is; no contract speaks of it then."""
    if call != "track":
        return _NAMES.get(call, call)
    name = str(event or "")
    return "" if name in _RESERVED else name


def contracts_in_force(project: Project) -> dict[str, Contract]:
    """The project's contracts and the built-in ones by name; where both name an event, the built-in properties hold
    and the project's are added. A built-in contract that requires nothing only flags: it informs, it does not refuse."""
    renamed = ((canonical(contract.name), contract) for contract in project.contracts)
    found = {name: msgspec.structs.replace(contract, name=name) for name, contract in renamed}
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


def _known_fields(contract: Contract) -> dict[str, Property | None]:
    """The fields that a contract names, with what is declared of them."""
    return {**dict.fromkeys(written_properties(contract)), **declared(contract)}


def _violations(
    contract: Contract, known: dict[str, Property | None], error: Any, fields: dict[str, Any]
) -> Iterator[Violation]:
    """What one error of the validator says, field by field."""
    rule = error.kind.name
    path = [str(part) for part in error.instance_path]
    if not path and rule in ("additionalProperties", "unevaluatedProperties"):
        for name in error.kind.unexpected:
            message = f"{contract.name}: {_short(name)} is not declared."
            yield _violation(contract, known, name, rule, message)
        return
    if not path and rule == "required":
        name = error.kind.property
        yield _violation(contract, known, name, rule, f"{contract.name}: {name} is required and missing.")
        return
    name = path[0] if path else "record"
    field = known.get(name)
    demand = _demand(field, rule) if len(path) == 1 else f"breaks the rule {rule}"
    at = _short("/".join(path)) if len(path) > 1 else _short(name)
    shown = ""
    if path:
        shown = "; it is " + ("a personal value" if field is None or field.is_personal else _shown(fields.get(name)))
    yield _violation(contract, known, name, rule, f"{contract.name}: {at} {demand}{shown}.")


def _violation(contract: Contract, known: dict[str, Property | None], name: str, rule: str, message: str) -> Violation:
    field = known.get(name)
    by_rule = contract.actions.value
    if rule in _MISSING:
        by_rule = contract.actions.missing
    elif rule == "type":
        by_rule = contract.actions.type
    elif rule in _UNDECLARED and name not in known:
        by_rule = contract.actions.undeclared_field
    action = (field.on_violation if field else None) or by_rule or contract.on_violation
    return Violation(
        contract=contract.name, property=name, rule=rule, message=message, action=action,
        declared=name in known or name == "record",
    )  # fmt: skip


def _demand(declared: Property | None, rule: str) -> str:
    if declared is None:
        return f"breaks the rule {rule}"
    match rule:
        case "type":
            return f"must be of type {declared.type}"
        case "minimum" if declared.minimum is not None:
            return f"must be at least {declared.minimum:g}"
        case "maximum" if declared.maximum is not None:
            return f"must be at most {declared.maximum:g}"
        case "enum" if declared.enum:
            return f"must be one of {', '.join(repr(item) for item in declared.enum)}"
        case "pattern" if declared.pattern is not None:
            return f"must match {declared.pattern}"
        case "maxLength" if declared.max_length is not None:
            return f"must have at most {declared.max_length} characters"
        case "format" if declared.type == "timestamp":
            return "must be an RFC 3339 date and time"
        case "format" if declared.format is not None:
            return f"must have the form {declared.format}"
    return f"breaks the rule {rule}"


def _shown(value: Any) -> str:
    return _short(msgspec.json.encode(value).decode())


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _kind_of(value: Any) -> str:
    return {list: "an array", str: "a string", bool: "a boolean"}.get(type(value), "a number")
