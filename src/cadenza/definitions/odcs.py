"""Contracts as an Open Data Contract Standard 3.1 document (Bitol), and back.

One document holds the tracking plan: each contract is an object of its ``schema``, each field a property.
``classification`` is the sensitivity, an enum is a quality rule (``invalidValues``); what the standard has no word for
are custom properties whose names begin with ``cadenza``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cadenza.definitions.foreign_schema import Imported, contract_marks, contract_of
from cadenza.definitions.kinds import Contract, Property
from cadenza.errors import CadenzaError

API_VERSION = "v3.1.0"
_TYPES = {"decimal": "number"}
_OPTIONS = {
    "minimum": "minimum",
    "maximum": "maximum",
    "pattern": "pattern",
    "format": "format",
    "maxLength": "max_length",
}
"""The standard's word -> ours."""
_SENSITIVITIES = {
    "public": "public", "internal": "internal", "personal": "personal", "pii": "personal", "sensitive": "sensitive",
    "confidential": "sensitive", "restricted": "sensitive", "secret": "secret",
}  # fmt: skip
_FIELD_CUSTOM = ("purposes", "owner", "on_violation", "personal")
_CONTRACT_CUSTOM = ("version", "compatibility", "owner", "on_violation", "actions", "schema")


def write(name: str, contracts: Iterable[Contract]) -> dict[str, Any]:
    """The document of a project's contracts."""
    listed = list(contracts)
    document: dict[str, Any] = {
        "apiVersion": API_VERSION, "kind": "DataContract", "id": name, "name": name, "version": "1.0.0", "status": "active",
        "schema": [_object(contract) for contract in listed],
    }  # fmt: skip
    owners = {contract.owner for contract in listed}
    if len(owners) == 1 and (owner := owners.pop()):
        document["team"] = {"name": owner}
    return document


def _object(contract: Contract) -> dict[str, Any]:
    found: dict[str, Any] = {"name": contract.name, "logicalType": "object", "physicalType": "event"}
    if contract.description:
        found["description"] = contract.description
    found["properties"] = [_property(name, field) for name, field in contract.properties.items()]
    marks = contract_marks(contract)
    if contract.schema:
        marks["schema"] = contract.schema
    return found | _custom(marks)


def _property(name: str, field: Property) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "logicalType": _TYPES.get(field.type, field.type)}
    if field.required:
        found["required"] = True
    if field.description:
        found["description"] = field.description
    if field.sensitivity is not None or field.personal:
        found["classification"] = field.sensitivity_class
    if options := {word: value for word, ours in _OPTIONS.items() if (value := getattr(field, ours)) is not None}:
        found["logicalTypeOptions"] = options
    if field.enum:
        found["quality"] = [
            {"type": "library", "metric": "invalidValues", "arguments": {"validValues": list(field.enum)}, "mustBe": 0}
        ]
    marks = {key: value for key in _FIELD_CUSTOM if (value := getattr(field, key))}
    if field.personal and field.sensitivity is not None:
        marks["sensitivity"] = field.sensitivity
    return found | _custom({key: list(value) if isinstance(value, tuple) else value for key, value in marks.items()})


def _custom(marks: dict[str, Any]) -> dict[str, Any]:
    listed = [{"property": f"cadenza.{key}", "value": value} for key, value in marks.items()]
    return {"customProperties": listed} if listed else {}


def read(document: Any) -> Imported:
    """The contracts of a document, and what of it was not taken over. Raises CadenzaError when it is none."""
    if not isinstance(document, dict) or document.get("kind") != "DataContract":
        raise CadenzaError("this is not an ODCS data contract: 'kind' is not DataContract.")
    if not str(document.get("apiVersion", "")).startswith("v3."):
        raise CadenzaError(f"ODCS {document.get('apiVersion')} is not read.", remedy="Bring it to version 3 first.")
    objects = document.get("schema")
    if not isinstance(objects, list):
        raise CadenzaError("the data contract has no 'schema'.")
    notes: list[str] = []
    found: dict[str, Contract] = {}
    for one in objects:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise CadenzaError("an object of the 'schema' has no 'name'.")
        found[one["name"]] = _contract(one, document, notes)
    notes += [f"'{key}' of the document is not taken over." for key in ("slaProperties", "roles", "servers", "price")
              if document.get(key)]  # fmt: skip
    return Imported(tuple(found[name] for name in sorted(found)), tuple(notes))


def _contract(one: dict[str, Any], document: dict[str, Any], notes: list[str]) -> Contract:
    name = one["name"]
    said = {key: value for key, value in _marks(one).items() if key in _CONTRACT_CUSTOM}
    team = document.get("team")
    if "owner" not in said and isinstance(team, dict) and team.get("name") and not said:
        said["owner"] = str(team["name"])
    rest = said.pop("schema", {})
    said["description"] = str(one.get("description") or "")
    if one.get("quality"):
        notes.append(f"'{name}': quality rules of the whole are not taken over.")
    members = [member for member in one.get("properties") or () if isinstance(member, dict) and "name" in member]
    fields = {str(member["name"]): _schema(member, f"{name}.{member['name']}", notes) for member in members}
    required = [str(member["name"]) for member in members if member.get("required") is True]
    return contract_of(name, fields, required, rest if isinstance(rest, dict) else {}, said)


def _schema(member: dict[str, Any], where: str, notes: list[str], depth: int = 0) -> dict[str, Any]:
    """A property as JSON Schema, our words under ``x-cadenza``."""
    if depth > 40:
        raise CadenzaError(f"'{where[:80]}' nests too deep.", remedy="Make it flatter.")
    kind = member.get("logicalType")
    schema: dict[str, Any] = {} if kind is None else {"type": kind}
    if kind in ("date", "time"):
        schema = {"type": "string", "format": kind}
    elif kind == "timestamp":
        schema = {"type": "string", "format": "date-time"}
    elif kind is None:
        notes.append(f"'{where}' has no logicalType; any value is allowed.")
    options = member.get("logicalTypeOptions")
    if isinstance(options, dict) and kind not in ("date", "time", "timestamp"):
        said_format = kind == "string" or "format" not in options
        schema |= {key: value for key, value in options.items() if key != "format" or said_format}
    for rule in member.get("quality") or ():
        values = rule.get("arguments", {}).get("validValues") if isinstance(rule, dict) else None
        if isinstance(values, list) and rule.get("mustBe") == 0:
            schema["enum"] = values
        else:
            notes.append(f"'{where}': a quality rule is not taken over.")
    if member.get("description"):
        schema["description"] = str(member["description"])
    if kind == "object" and isinstance(inner := member.get("properties"), list):
        named = [one for one in inner if isinstance(one, dict) and "name" in one]
        schema["properties"] = {
            str(one["name"]): _schema(one, f"{where}.{one['name']}", notes, depth + 1) for one in named
        }
        if required := [str(one["name"]) for one in named if one.get("required") is True]:
            schema["required"] = required
    if kind == "array" and isinstance(items := member.get("items"), dict):
        schema["items"] = _schema(items, f"{where}[]", notes, depth + 1)
    marks = {key: value for key, value in _marks(member).items() if key in (*_FIELD_CUSTOM, "sensitivity")}
    if (label := member.get("classification")) is not None and not marks.get("personal"):
        if (known := _SENSITIVITIES.get(str(label).lower())) is not None:
            marks["sensitivity"] = known
        else:
            notes.append(f"'{where}': the classification '{str(label)[:40]}' is not one of ours.")
    return {**schema, "x-cadenza": marks} if marks else schema


def _marks(node: dict[str, Any]) -> dict[str, Any]:
    listed = node.get("customProperties")
    return {
        str(one["property"]).removeprefix("cadenza."): one.get("value")
        for one in listed if isinstance(one, dict) and str(one.get("property", "")).startswith("cadenza.")
    } if isinstance(listed, list) else {}  # fmt: skip
