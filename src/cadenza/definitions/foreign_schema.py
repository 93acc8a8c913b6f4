"""What the exchange formats of contracts share: fields to and from JSON Schema, and older drafts made new.

A field that the short form can say becomes a short field; whatever else there is goes into the contract's schema, so
that nothing a format says is lost.
"""

from __future__ import annotations

from typing import Any

import msgspec

from cadenza.definitions.contract_fields import PROPERTY_NAME, plain_type, property_schema
from cadenza.definitions.json_schema import NAMED, ONE, SEVERAL
from cadenza.definitions.kinds import Contract, Property
from cadenza.errors import CadenzaError

MARK = "x-cadenza"
"""The keyword under which we write what JSON Schema has no word for."""
_SHORT = frozenset(
    {"type", "enum", "minimum", "maximum", "pattern", "format", "maxLength", "description", "title", MARK}
)
_FORMATS = frozenset({"email", "uuid", "uri", "date", "time", "ipv4", "ipv6"})
_UNSAID = ("sensitivity", "purposes", "owner", "on_violation", "personal")
_DEEPEST = 60


class Imported(msgspec.Struct, frozen=True):
    """Contracts read from another format, and what of it has no place in them, in words."""

    contracts: tuple[Contract, ...]
    notes: tuple[str, ...]


def field_schema(field: Property) -> dict[str, Any]:
    """A short field as JSON Schema, with what that has no word for under ``x-cadenza``."""
    schema = property_schema(field)
    if field.description:
        schema["description"] = field.description
    if unsaid := {name: getattr(field, name) for name in _UNSAID if getattr(field, name)}:
        schema[MARK] = msgspec.to_builtins(unsaid)
    return schema


def short_field(name: str, schema: Any, required: bool) -> Property | None:
    """The short field that says the same as a JSON Schema; None when there is none."""
    kind = plain_type(schema)
    if kind is None or isinstance(schema["type"], list) or not PROPERTY_NAME.fullmatch(name) or set(schema) - _SHORT:
        return None
    texts, numbers = kind == "string", kind in ("integer", "decimal")
    form = None if kind == "timestamp" else schema.get("format")
    enum = schema.get("enum", [])
    if (form is not None and (form not in _FORMATS or not texts)) or not all(isinstance(one, str) for one in enum):
        return None
    if (any(key in schema for key in ("enum", "pattern", "maxLength")) and not texts) or (
        any(key in schema for key in ("minimum", "maximum")) and not numbers
    ):
        return None
    said = schema.get(MARK, {})
    try:
        return msgspec.convert({
            **{key: value for key, value in said.items() if key in _UNSAID}, "type": kind, "required": required,
            "minimum": schema.get("minimum"), "maximum": schema.get("maximum"), "enum": enum, "format": form,
            "pattern": schema.get("pattern"), "max_length": schema.get("maxLength"),
            "description": str(schema.get("description", "")),
        }, Property)  # fmt: skip
    except msgspec.ValidationError:
        return None


def contract_of(
    name: str, fields: dict[str, Any], required: list[str], rest: dict[str, Any], said: dict[str, Any]
) -> Contract:
    """A contract from the JSON Schemas of its fields and the ``rest`` of its schema; ``said``: what else there is of it,
    by our names. Raises CadenzaError when that is not usable."""
    properties: dict[str, Property] = {}
    written: dict[str, Any] = {}
    for field, schema in fields.items():
        short = short_field(field, schema, field in required)
        if short is None:
            written[field] = schema
        else:
            properties[field] = short
    schema = dict(rest)
    if written:
        schema["properties"] = {**written, **schema.get("properties", {})}
    if others := [field for field in required if field not in properties]:
        schema["required"] = [*schema.get("required", []), *others]
    parts = {"name": name, "properties": msgspec.to_builtins(properties), "schema": schema}
    try:
        return msgspec.convert({**said, **parts}, Contract)
    except msgspec.ValidationError as error:
        raise CadenzaError(f"what is said of the contract '{name}' cannot be read: {error}.") from None


def contract_marks(contract: Contract) -> dict[str, Any]:
    """What no exchange format has a word for, by our names; defaults left out."""
    marks: dict[str, Any] = {
        "version": contract.version, "compatibility": contract.compatibility, "owner": contract.owner,
        "on_violation": contract.on_violation,
    }  # fmt: skip
    defaults = {"compatibility": "none", "on_violation": "quarantine"}
    found = {key: value for key, value in marks.items() if value and value != defaults.get(key)}
    if actions := msgspec.to_builtins(contract.actions):
        found["actions"] = actions
    return found


def modern(schema: Any, depth: int = 0) -> Any:
    """A JSON Schema of an older draft as 2020-12: the same rules under the newer keywords. Raises CadenzaError when it
    nests too deep."""
    if depth > _DEEPEST:
        raise CadenzaError(f"a schema nests more than {_DEEPEST} levels deep.", remedy="Make it flatter.")
    if isinstance(schema, list):
        return [modern(item, depth + 1) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in (*NAMED, "definitions", "dependencies") and isinstance(value, dict):
            found[key] = {name: modern(item, depth + 1) for name, item in value.items()}
        elif key in (*SEVERAL, *ONE, "additionalItems"):
            found[key] = modern(value, depth + 1)
        elif key not in ("$schema", "$id", "id"):
            found[key] = value
    if isinstance(ref := found.get("$ref"), str):
        found["$ref"] = ref.replace("#/definitions/", "#/$defs/")
    if isinstance(named := found.pop("definitions", None), dict):
        found["$defs"] = {**named, **found.get("$defs", {})}
    elif named is not None:
        found["definitions"] = named
    if isinstance(found.get("items"), list):
        found["prefixItems"] = found.pop("items")
        if "additionalItems" in found:
            found["items"] = found.pop("additionalItems")
    if isinstance(depends := found.get("dependencies"), dict) and not depends.get("type"):
        del found["dependencies"]
        found |= {"dependentRequired": lists} if (lists := _of(depends, list)) else {}
        found |= {"dependentSchemas": maps} if (maps := _of(depends, dict)) else {}
    return found


def _of(values: dict[str, Any], kind: type) -> dict[str, Any]:
    return {key: value for key, value in values.items() if isinstance(value, kind)}


def moved(schema: Any, old: str, new: str) -> Any:
    """The schema with its local references moved: those that begin with ``old`` begin with ``new``.

    >>> moved({'$ref': '#/$defs/a'}, '#', '#/properties/x')
    {'$ref': '#/properties/x/$defs/a'}
    """
    if isinstance(schema, dict):
        return {
            key: new + value[len(old) :] if key == "$ref" and isinstance(value, str) and value.startswith(old)
            else value if key in ("const", "enum", "default", "examples") else moved(value, old, new)
            for key, value in schema.items()
        }  # fmt: skip
    return [moved(item, old, new) for item in schema] if isinstance(schema, list) else schema
