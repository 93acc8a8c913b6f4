"""JSON Schema (2020-12) of every kind of definition, as it is written in YAML: for editors, the API and agents.

Generated from ``surface.py``, by which ``load.py`` decodes. A document that the loader takes is valid; of those it
refuses, the schema finds what has to do with form. Names and types are found by ``check.py``.
"""

from __future__ import annotations

from typing import Any

from cadenza.definitions import shapes, surface, surface_journey, surface_kind

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


def _document(kind: surface_kind.Kind) -> Schema:
    definition = _object(kind.body.fields)
    head: Schema = {"$schema": DIALECT, "title": kind.singular or kind.plural, "description": kind.doc}
    defs: Schema = {"definition": definition}
    if kind is surface_journey.JOURNEYS:
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


def _object(fields: tuple[shapes.Field, ...]) -> Schema:
    found: Schema = {
        "type": "object",
        "properties": {field.key: _field(field) for field in fields},
        "additionalProperties": False,
    }
    if required := [field.key for field in fields if field.required]:
        found["required"] = required
    return found


def _field(field: shapes.Field) -> Schema:
    return {"description": field.doc, **_of(field.shape)} if field.doc else _of(field.shape)


def _key(shape: shapes.Text) -> Schema:
    return {"pattern": shape.pattern} if shape.pattern else {"maxLength": shape.longest}


def _of(shape: Any) -> Schema:
    """The schema of a shape."""
    match shape:
        case shapes.Text(pattern, _, longest, nullable):
            if pattern is None:
                return {"type": _ANY_SCALAR, "maxLength": longest}
            return {"type": ["string", "null"] if nullable else "string", "pattern": pattern}
        case shapes.Whole(least, most):
            return {"type": "integer", "minimum": least, "maximum": most}
        case shapes.Number():
            return {"type": "number"}
        case shapes.Truth():
            return {"type": "boolean"}
        case shapes.Duration():
            return {"type": "string", "pattern": shapes.DURATION, "examples": ["30 days"]}
        case shapes.Share():
            return {"type": "string", "pattern": shapes.SHARE, "examples": ["20%"]}
        case shapes.Choice(options):
            return {"enum": list(options)}
        case shapes.Expression() | shapes.Literal_():
            return {"type": _ANY_SCALAR}
        case shapes.Body():
            return {"type": "string"}
        case shapes.JsonSchema() | shapes.Values():
            return {"type": "object"}
        case shapes.Again():
            after = shapes.Field(key="after", shape=shapes.Duration(), doc="", required=True)
            return {"anyOf": [{"enum": list(shapes.AGAIN)}, _object((after,))]}
        case shapes.Awaited():
            condition = _of(shapes.Expression())
            item = {"anyOf": [condition, _object(surface_journey.ARM.fields)]}
            return {"anyOf": [condition, {"type": "array", "items": item, "minItems": 1}]}
        case shapes.Leaving(value, key):
            said = (shapes.Field(key=key, shape=value, doc="", required=True),) if key is not None else ()
            return {"anyOf": [_of(value), _object((*said, surface_journey.LAST_STEPS))]}
    return _collection(shape)


def _collection(shape: Any) -> Schema:
    match shape:
        case shapes.ListOf(item, least, single):
            found: Schema = {"type": "array", "items": _of(item)}
            if least:
                found["minItems"] = least
            return {"anyOf": [_of(item), found]} if single else found
        case shapes.MapOf(item, key, least):
            found = {"type": "object", "propertyNames": _key(key), "additionalProperties": _of(item)}
            return {**found, "minProperties": least} if least else found
        case shapes.Named(fields, key, least):
            return {"type": "object", "propertyNames": _key(key), "additionalProperties": _object(fields.fields),
                    "minProperties": least}  # fmt: skip
        case shapes.Fields():
            return _object(shape.fields)
    found = {"type": "array", "items": {"$ref": "#/$defs/step"}}
    return {**found, "minItems": shape.least} if shape.least else found


def _steps() -> Schema:
    """The definitions that a journey's steps refer to."""
    literals = _of(shapes.MapOf(shapes.Literal_(), least=1))
    ends = [_one_key(end, {"$ref": "#/$defs/steps"}) for end in ("unknown", "otherwise")]
    forms: Schema = {
        "send": {"anyOf": [_of(shapes.Text()), _object(surface_journey.SEND.fields)]},
        "wait": {"anyOf": [_of(shapes.Duration()), _object(surface_journey.LOCAL_WAIT.fields)]},
        "wait_for": _object(surface_journey.WAIT_FOR.fields),
        "branch": {
            "type": "array", "minItems": 3, "items": {"anyOf": [_object(surface_journey.ARM.fields), *ends]},
            "allOf": [{"contains": {"required": [end]}, "minContains": 1, "maxContains": 1}
                      for end in ("unknown", "otherwise")] + [{"contains": {"required": ["when"]}}],
        },
        "split": _object(surface_journey.SPLIT.fields),
        "experiment": _object(surface_journey.EXPERIMENT.fields),
        "enter": _of(shapes.Text()),
        "jump": _object(surface_journey.JUMP.fields),
        "update": {"anyOf": [literals, _one_key("set", literals)]},
        "hand_off": _object(surface_journey.HAND_OFF.fields),
        "call": _object(surface_journey.CALL.fields),
        "exit": {"type": ["string", "null"], "pattern": shapes.NAME},
    }  # fmt: skip
    steps = [_one_key(key, {"description": surface_journey.STEP_DOCS[key], **form}) for key, form in forms.items()]
    for step in steps:
        step["properties"]["label"] = _field(surface_journey.LABEL)
    return {
        "step": {"anyOf": [*steps, {"const": "exit"}]},
        "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}},
    }
