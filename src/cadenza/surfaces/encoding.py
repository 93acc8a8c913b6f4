"""What leaves Cadenza as JSON: instants carry their ``Z``, exact decimals and records are text.

Inside, instants are naive UTC (``clock.py``); here they get the zone every other tool expects.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from cadenza.clock import iso

T = TypeVar("T")

_INSTANT = re.compile(rb'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z"')


def plain(value: object) -> Any:
    """The value as JSON's own types.

    >>> plain({"at": datetime(2026, 1, 2)})
    {'at': '2026-01-02T00:00:00.000000Z'}
    """
    return _dated(msgspec.to_builtins(_text_bytes(value), builtin_types=(datetime,), str_keys=True))


def to_json(value: object, *, indent: bool = False) -> bytes:
    """The value as JSON."""
    data = msgspec.json.encode(plain(value))
    return msgspec.json.format(data, indent=2) if indent else data


def from_json(data: bytes, kind: type[T]) -> T:
    """A value that ``to_json`` wrote; its instants are naive UTC again."""
    return msgspec.json.decode(_INSTANT.sub(rb'"\1"', data), type=kind, strict=False)


def _dated(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, dict):
        return {name: _dated(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_dated(item) for item in value]
    return value


def _text_bytes(value: object) -> object:
    """Row dictionaries may hold bytes and memory views; msgspec would make base64 of them."""
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", errors="replace")
    if isinstance(value, dict):
        return {name: _text_bytes(item) for name, item in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return [_text_bytes(item) for item in value]
    return value
