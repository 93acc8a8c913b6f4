"""Reads of a command: from the store, or, when a server holds it, from the server's API. Same operations, same answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from cadenza.clock import iso
from cadenza.surfaces.encoding import from_json
from cadenza.surfaces.operation import Operation
from cadenza.surfaces.operations import OPERATIONS
from cadenza.workspace import LocalServer, Workspace, find_server

_BY_NAME = {operation.name: operation for operation in OPERATIONS}


def ask(workspace: Workspace, name: str, **given: Any) -> Any:
    """The answer of an operation, from wherever the store is. Raises CadenzaError."""
    operation = _BY_NAME[name]
    server = find_server(workspace.folder)
    if server is None:
        defaults: dict[str, Any] = {p.name: p.default for p in operation.parameters}
        return operation.run(workspace, defaults | {k: v for k, v in given.items() if v is not None})
    try:
        return _ask_server(server, operation, given)
    finally:
        server.close()


def _ask_server(server: LocalServer, operation: Operation, given: dict[str, Any]) -> Any:
    places = {p.name: p.place for p in operation.parameters}
    path = operation.path
    query: dict[str, object] = {}
    sent = given.pop("body", None)
    for name, value in given.items():
        if value is None:
            continue
        text = iso(value) if isinstance(value, datetime) else str(value)
        if places[name] == "path":
            path = path.replace("{" + name + "}", quote(text, safe=""))
        else:
            query[name] = text
    body = (
        server.get(path, **query) if operation.method == "GET" else server.post(path, msgspec.json.encode(sent or {}))
    )
    return from_json(body, operation.answer)
