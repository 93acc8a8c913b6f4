"""JSON Schema (2020-12) of every kind of definition, as it is written in YAML: for editors, the API and agents.

Generated from ``surface.py``, by which ``load.py`` decodes. A document that the loader takes is valid; of those it
refuses, the schema finds what has to do with form. Names and types are found by ``check.py``.
"""

from __future__ import annotations

from typing import Any

from cadenza.definitions import shapes, surface

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ANY_SCALAR = ["string", "number", "boolean"]

Schema = dict[str, Any]


def schemas() -> dict[str, Schema]:
    """Kind (singular; ``identity``, ``policy`` and ``project`` too) -> the schema of one YAML document of it.

    A kind with names takes either one definition (``journey: NAME`` and its keys) or a map of several
    (``journeys: { NAME: {...} }``). ``#/$defs/definition`` is the body without its name.
    """
    found = {(kind.singular or kind.plural): _document(kind) for kind in surface.SURFACE}
    found["project"] = {
        "$schema": DIALECT, "title": "project", "description": "What is said of the project as a whole: cadenza.yaml.",
        **_object(surface.PROJECT.fields),
    }  # fmt: skip
    return found


def _document(kind: surface.Kind) -> Schema:
    definition = _object(kind.body.fields)
    head: Schema = {"$schema": DIALECT, "title": kind.singular or kind.plural, "description": kind.doc}
    defs: Schema = {"definition": definition}
    if kind is surface.JOURNEYS:
        defs |= _steps()
    several = _one_key(kind.plural, {"$ref": "#/$defs/definition"})
    if kind.singular is None:
        return {**head, "anyOf": [{"$ref": "#/$defs/definition"}, several], "$defs": defs}
    one = {
        **definition,
        "properties": {kind.singular: _of(kind.name), **definition["properties"]},
        "required": [kind.singular, *definition.get("required", [])],
    }
    named = {"type": "object", "propertyNames": _key(kind.name), "additionalProperties": {"$ref": "#/$defs/definition"}}
    return {**head, "anyOf": [one, _one_key(kind.plural, named)], "$defs": defs}


def _one_key(key: str, value: Schema) -> Schema:
    return {"type": "object", "properties": {key: value}, "required": [key], "additionalProperties": False}


def _object(fields: tuple[surface.Field, ...]) -> Schema:
    found: Schema = {
        "type": "object",
        "properties": {field.key: _field(field) for field in fields},
        "additionalProperties": False,
    }
    if required := [field.key for field in fields if field.required]:
        found["required"] = required
    return found


def _field(field: surface.Field) -> Schema:
    return {"description": field.doc, **_of(field.shape)} if field.doc else _of(field.shape)


def _key(shape: surface.Text) -> Schema:
    return {"pattern": shape.pattern} if shape.pattern else {"maxLength": shape.longest}


def _of(shape: Any) -> Schema:
    """The schema of a shape."""
    match shape:
        case surface.Text(pattern, _, longest, nullable):
            if pattern is None:
                return {"type": _ANY_SCALAR, "maxLength": longest}
            return {"type": ["string", "null"] if nullable else "string", "pattern": pattern}
        case surface.Whole(least, most):
            return {"type": "integer", "minimum": least, "maximum": most}
        case surface.Number():
            return {"type": "number"}
        case surface.Truth():
            return {"type": "boolean"}
        case surface.Duration():
            return {"type": "string", "pattern": shapes.DURATION, "examples": ["30 days"]}
        case surface.Share():
            return {"type": "string", "pattern": shapes.SHARE, "examples": ["20%"]}
        case surface.Choice(options):
            return {"enum": list(options)}
        case surface.Expression() | surface.Literal_():
            return {"type": _ANY_SCALAR}
        case surface.Body():
            return {"type": "string"}
        case surface.JsonSchema():
            return {"type": "object"}
        case surface.Again():
            after = surface.Field(key="after", shape=surface.Duration(), doc="", required=True)
            return {"anyOf": [{"enum": ["once", "after_exit"]}, _object((after,))]}
    return _collection(shape)


def _collection(shape: Any) -> Schema:
    match shape:
        case surface.ListOf(item, least, single):
            found: Schema = {"type": "array", "items": _of(item)}
            if least:
                found["minItems"] = least
            return {"anyOf": [_of(item), found]} if single else found
        case surface.MapOf(item, key, least):
            found = {"type": "object", "propertyNames": _key(key), "additionalProperties": _of(item)}
            return {**found, "minProperties": least} if least else found
        case surface.Named(fields, key, least):
            return {"type": "object", "propertyNames": _key(key), "additionalProperties": _object(fields.fields),
                    "minProperties": least}  # fmt: skip
        case surface.Fields():
            return _object(shape.fields)
    found = {"type": "array", "items": {"$ref": "#/$defs/step"}}
    return {**found, "minItems": shape.least} if shape.least else found


def _steps() -> Schema:
    """The definitions that a journey's steps refer to."""
    literals = _of(surface.MapOf(surface.Literal_(), least=1))
    ends = [_one_key(end, {"$ref": "#/$defs/steps"}) for end in ("unknown", "otherwise")]
    forms: Schema = {
        "send": _of(surface.Text()),
        "wait": _of(surface.Duration()),
        "wait_for": _object(surface.WAIT_FOR.fields),
        "branch": {
            "type": "array", "minItems": 3, "items": {"anyOf": [_object(surface.ARM.fields), *ends]},
            "allOf": [{"contains": {"required": [end]}, "minContains": 1, "maxContains": 1}
                      for end in ("unknown", "otherwise")] + [{"contains": {"required": ["when"]}}],
        },
        "split": _object(surface.SPLIT.fields),
        "update": {"anyOf": [literals, _one_key("set", literals)]},
        "exit": {"type": ["string", "null"], "pattern": surface.NAME},
    }  # fmt: skip
    steps = [_one_key(key, {"description": surface.STEP_DOCS[key], **form}) for key, form in forms.items()]
    return {
        "step": {"anyOf": [*steps, {"const": "exit"}]},
        "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}},
    }
