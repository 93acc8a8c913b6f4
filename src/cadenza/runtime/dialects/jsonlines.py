"""JSON lines: one call in the Segment form on each line. A line that cannot be read does not take the others down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from cadenza.runtime.dialects.received import Received
from cadenza.runtime.wire import Bad, Decoded, Malformed, parse, translated

MEDIA_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
"""Content types that mean JSON lines."""


def is_meant(received: Received) -> bool:
    """Whether the content type says JSON lines."""
    return received.facts.get("content-type", "").partition(";")[0].strip().lower() in MEDIA_TYPES


def write_key(received: Received) -> str | None:
    """There is no envelope that could hold one."""
    return None


def decode(received: Received) -> Decoded:
    """The calls of the lines; empty lines count as nothing. Raises nothing."""
    bad: list[Bad] = []
    decoded = translated(_values(received.body, bad), lambda value: value, size=len(received.body))
    return msgspec.structs.replace(decoded, bad=decoded.bad + bad)


def _values(body: bytes, bad: list[Bad]) -> Iterator[Any]:
    for number, line in enumerate(body.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield parse(line)
        except Malformed as error:
            kept = msgspec.json.encode({"line": line.decode("utf-8", "backslashreplace")})
            bad.append(Bad("not_json", f"Line {number}: {error.what}", None, kept))
