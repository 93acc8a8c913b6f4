"""Contracts as a Segment tracking plan (the rules of its Public API), and back.

A rule has a type (``TRACK``, ``IDENTIFY``, ``GROUP``, ``PAGE``, ``SCREEN``, ``COMMON``), a key (the event's name) and a
JSON Schema over the whole call. What Segment has no word for is written under ``x-cadenza``, which it passes over. The
older form (``rules: {events, identify, group, global}``) is read too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cadenza.definitions.foreign_schema import MARK, Imported, contract_marks, contract_of, field_schema, modern, moved
from cadenza.definitions.kinds import Contract
from cadenza.errors import CadenzaError

_DRAFT = "http://json-schema.org/draft-07/schema#"
_TYPES = {"identify": "IDENTIFY", "group": "GROUP", "page": "PAGE", "Page Viewed": "PAGE", "screen": "SCREEN",
          "Screen Viewed": "SCREEN", "context": "COMMON"}  # fmt: skip
_NAMES = {"IDENTIFY": "identify", "GROUP": "group", "PAGE": "page", "SCREEN": "screen", "COMMON": "context"}
_HOLDER = {"IDENTIFY": "traits", "GROUP": "traits", "COMMON": "context"}
_READ = frozenset({"type", "properties", "required", "additionalProperties", "allOf", "$schema", "description", "title", MARK,
                   "$id", "id"})  # fmt: skip

Rule = dict[str, Any]


def write(name: str, contracts: Iterable[Contract]) -> dict[str, Any]:
    """The tracking plan of a project's contracts."""
    return {"name": name, "type": "LIVE", "rules": [_rule(contract) for contract in contracts]}


def _rule(contract: Contract) -> Rule:
    kind = _TYPES.get(contract.name, "TRACK")
    holder = _HOLDER.get(kind, "properties")
    fields: dict[str, Any] = {
        "type": "object",
        "properties": {name: field_schema(field) for name, field in contract.properties.items()},
    }
    if required := [name for name, field in contract.properties.items() if field.required]:
        fields["required"] = required
    if contract.actions.undeclared_field is not None and not contract.schema:
        fields["additionalProperties"] = False
    if contract.schema:
        fields["allOf"] = [moved(contract.schema, "#", f"#/properties/{holder}/allOf/0")]
    schema: dict[str, Any] = {"$schema": _DRAFT, "type": "object", "properties": {holder: fields}}
    if required or contract.schema.get("required"):
        schema["required"] = [holder]
    if contract.description:
        schema["description"] = contract.description
    marks = contract_marks(contract)
    if kind != "TRACK" and contract.name != _NAMES[kind]:
        marks["name"] = contract.name
    if marks:
        schema[MARK] = marks
    rule: Rule = {"type": kind, "version": 1, "jsonSchema": schema}
    return {"key": contract.name, **rule} if kind == "TRACK" else rule


def read(plan: Any) -> Imported:
    """The contracts of a tracking plan, and what of it was not taken over. Raises CadenzaError when it is none."""
    contracts: dict[str, Contract] = {}
    notes: list[str] = []
    for kind, key, schema, description in _rules(plan):
        contract = _contract(kind, key, modern(schema), description, notes)
        if contract.name in contracts:
            notes.append(f"'{contract.name}' is there more than once; the last version is taken.")
        contracts[contract.name] = contract
    return Imported(tuple(contracts[name] for name in sorted(contracts)), tuple(notes))


def _rules(plan: Any) -> Iterator[tuple[str, str, Any, str]]:
    """(type, key, schema of the call, description) of each rule, whichever form the plan has."""
    while isinstance(plan, dict) and "rules" not in plan:
        plan = next((plan[key] for key in ("data", "trackingPlan", "tracking_plan") if key in plan), None)
    rules = plan.get("rules") if isinstance(plan, dict) else None
    if isinstance(rules, list):
        for rule in rules:
            if not isinstance(rule, dict) or not isinstance(rule.get("jsonSchema"), dict):
                raise CadenzaError(
                    "a rule of the tracking plan has no 'jsonSchema'.", remedy="Export it again from Segment."
                )
            kind = str(rule.get("type", "TRACK")).upper()
            if kind != "TRACK" and kind not in _NAMES:
                raise CadenzaError(
                    f"'{kind[:40]}' is not a type of rule.", remedy=f"Known: TRACK, {', '.join(_NAMES)}."
                )
            yield kind, str(rule.get("key") or ""), rule["jsonSchema"], ""
    elif isinstance(rules, dict):
        for event in rules.get("events") or ():
            yield "TRACK", str(event.get("name", "")), event.get("rules") or {}, str(event.get("description") or "")
        for name, kind in (("identify", "IDENTIFY"), ("group", "GROUP"), ("global", "COMMON")):
            if rules.get(name):
                yield kind, "", rules[name], ""
    else:
        raise CadenzaError(
            "this is not a Segment tracking plan: it has no 'rules'.", remedy="Export it by the Public API."
        )


def _contract(kind: str, key: str, schema: dict[str, Any], description: str, notes: list[str]) -> Contract:
    said = dict(schema.get(MARK, {})) if isinstance(schema.get(MARK), dict) else {}
    name = said.pop("name", None) or _NAMES.get(kind) or key
    if not name:
        raise CadenzaError("a TRACK rule has no 'key'.", remedy="Give it the event's name.")
    holder = _HOLDER.get(kind, "properties")
    parts: dict[str, Any] = found if isinstance(found := schema.get("properties"), dict) else {}
    held = parts.get(holder, {})
    held = held if isinstance(held, dict) else {}
    others = [one for one in parts if one != holder and parts[one] not in ({}, {"type": "object"}, True)]
    notes += [f"'{name}': what is said of '{one}' is not taken over." for one in others]
    fields, required = held.get("properties"), held.get("required")
    rest = {one: value for one, value in held.items() if one not in _READ}
    branches = held.get("allOf", [])
    if len(branches) == 1 and not rest:
        rest = branches[0]
    elif branches:
        rest["allOf"] = branches
    rest = moved(moved(rest, f"#/properties/{holder}/allOf/0", "#"), f"#/properties/{holder}", "#")
    if isinstance(outer := schema.get("$defs"), dict):
        rest["$defs"] = {**outer, **rest.get("$defs", {})}
    if held.get("additionalProperties") is False:
        said.setdefault("actions", {}).setdefault("undeclared_field", "flag")
    elif "additionalProperties" in held and held["additionalProperties"] not in (True, {}):
        rest["additionalProperties"] = held["additionalProperties"]
        rest["properties"] = dict.fromkeys(fields or {}, True) | rest.get("properties", {})
    said["description"] = str(schema.get("description") or description or held.get("description") or "")
    return contract_of(name, fields or {}, required if isinstance(required, list) else [], rest, said)
