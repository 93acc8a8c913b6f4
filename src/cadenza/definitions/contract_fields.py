"""What a contract says of its fields, whichever way it is written: short, or as JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cadenza.definitions.json_schema import DIALECT
from cadenza.definitions.kinds import Contract, Property

PROPERTY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
"""Names that a declared field may have: they become columns."""
CALLS = ("identify", "group", "page", "screen")
"""Contracts of these names speak of calls, not of track events."""
CONTEXT = "context"
"""The contract of this name speaks of the context of every call."""

_JSON_TYPES = {"decimal": "number", "timestamp": "string"}
_OUTER, _INNER = "urn:cadenza:contract", "urn:cadenza:contract:schema"
"""So that ``#/$defs`` inside the written schema means the written schema."""


def declared(contract: Contract) -> dict[str, Property]:
    """The fields of a contract: the short ones, then those on top of its schema that have one plain type."""
    found = dict(contract.properties)
    required = contract.schema.get("required")
    for name, schema in written_properties(contract).items():
        kind = plain_type(schema)
        if name not in found and kind is not None and PROPERTY_NAME.fullmatch(name):
            found[name] = Property(
                type=kind, required=isinstance(required, list) and name in required,
                description=str(schema.get("description", "")),
            )  # fmt: skip
    return found


def written_properties(contract: Contract) -> dict[str, Any]:
    """The schemas of the fields on top of the embedded schema; none where it is not yet one."""
    found = contract.schema.get("properties")
    return found if isinstance(found, dict) else {}


def plain_type(schema: Any) -> Any:
    """The type of a field in the words of the short form; None where it has several, or none."""
    said = schema.get("type") if isinstance(schema, dict) else None
    if isinstance(said, list):
        rest = [one for one in said if one != "null"]
        said = rest[0] if len(rest) == 1 else None
    if said == "string" and schema.get("format") == "date-time":
        return "timestamp"
    return {"number": "decimal", "null": None}.get(said, said) if isinstance(said, str) else None


def json_schema(contract: Contract) -> dict[str, Any]:
    """The contract as one JSON Schema 2020-12 over the fields of a record, ``null`` and ``""`` left out.

    Undeclared fields are allowed, unless the contract says what to do with them.
    """
    closed = contract.actions.undeclared_field is not None
    if contract.schema and not contract.properties and not closed:
        return {"$schema": DIALECT, "title": contract.name, **contract.schema}
    schema: dict[str, Any] = {
        "$schema": DIALECT,
        "title": contract.name,
        "type": "object",
        "properties": {name: property_schema(item) for name, item in contract.properties.items()},
        "required": [name for name, item in contract.properties.items() if item.required],
    }
    if closed:
        schema["properties"] |= {name: True for name in _more_names(contract)}
        schema["patternProperties"] = {name: True for name in contract.schema.get("patternProperties", {})}
        schema["additionalProperties"] = False
    if contract.schema:
        written = {key: value for key, value in contract.schema.items() if key != "$schema"}
        return {"$id": _OUTER, **schema, "allOf": [{"$id": _INNER, **written}]}
    return schema


def _more_names(contract: Contract) -> Iterator[str]:
    return (name for name in written_properties(contract) if name not in contract.properties)


def property_schema(field: Property) -> dict[str, Any]:
    """One field of the short form as JSON Schema."""
    schema: dict[str, Any] = {"type": _JSON_TYPES.get(field.type, field.type)}
    if field.type == "timestamp":
        schema["format"] = "date-time"
    said = {"minimum": field.minimum, "maximum": field.maximum, "pattern": field.pattern, "format": field.format,
            "maxLength": field.max_length}  # fmt: skip
    schema |= {key: value for key, value in said.items() if value is not None}
    if field.enum:
        schema["enum"] = list(field.enum)
    return schema
