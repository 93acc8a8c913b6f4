"""The OpenAPI 3.1 document, made from the operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from cadenza import __version__
from cadenza.surfaces.operation import Operation, Parameter
from cadenza.surfaces.problem import MEDIA_TYPE, Problem

_REFERENCE = "#/components/schemas/{name}"
_DESCRIPTION = (
    "The read API of one Cadenza server. Instants are RFC 3339 in UTC. Errors are problem details (RFC 9457) that "
    "say what is wrong, where, and what to do. Events are collected at /v1/* in the Segment wire format."
)


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The document; its order follows the list, so that it can be a golden file."""
    answers = [operation.answer for operation in operations if operation.answer is not None]
    bodies = [operation.body for operation in operations if operation.body is not None]
    schemas, components = msgspec.json.schema_components([*answers, *bodies, Problem], ref_template=_REFERENCE)
    described, sent = iter(schemas), iter(schemas[len(answers) :])
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        schema = next(described) if operation.answer is not None else {}
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema)
        if operation.body is not None:
            content = _content(next(sent), "application/json")
            paths[operation.path][operation.method.lower()]["requestBody"] = {"required": True, "content": content}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Cadenza", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "responses": {"Problem": {"description": "A problem", "content": _content(schemas[-1], MEDIA_TYPE)}},
        },
    }


def _operation(operation: Operation, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.group],
        "parameters": [_parameter(p) for p in operation.parameters],
        "responses": {
            "200": {"description": "The answer", "content": _content(schema, "application/json")},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer" if parameter.kind == "integer" else "string"}
    if parameter.kind == "integer":
        schema["minimum"] = 0
    if parameter.kind == "date-time":
        schema["format"] = "date-time"
    if parameter.maximum is not None:
        schema["maximum"] = parameter.maximum
    if parameter.default is not None:
        schema["default"] = parameter.default
    if parameter.enum:
        schema["enum"] = list(parameter.enum)
    described = {
        "name": parameter.name, "in": parameter.place, "description": parameter.meaning,
        "required": parameter.required or parameter.place == "path", "schema": schema,
    }  # fmt: skip
    return described | ({"example": parameter.example} if parameter.example else {})


def _content(schema: dict[str, Any], media_type: str) -> dict[str, Any]:
    return {media_type: {"schema": schema}}
