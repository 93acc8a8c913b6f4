"""JSON Schema 2020-12 as contracts use it: what may be written, how it is compiled, where its parts are.

A schema is written by people and run against whatever arrives, so it must not be able to stall or reach out:

- patterns run on an engine that takes linear time (no look-around, no back-references) with bounded programs;
- ``$ref`` stays inside the schema and never comes back to itself, and what it expands to is bounded, so that each
  value is looked at by a bounded number of subschemas;
- ``unevaluatedProperties`` and ``unevaluatedItems`` double the work per level, so few may stand inside one another.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import jsonschema_rs
import msgspec

from cadenza.errors import near_miss

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_EXPANDED = 5_000
"""Subschemas of one schema, those behind ``$ref`` counted wherever they are referred to."""
MAX_LEVELS = 200
"""How deep a schema may go where references are followed."""
MAX_UNEVALUATED = 4
"""How many ``unevaluated...`` may stand inside one another."""
MAX_PATTERN = 1_000
"""Characters of a pattern."""
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)

ONE = (
    "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "items", "contains", "propertyNames", "not",
    "if", "then", "else",
)  # fmt: skip
"""Keywords that hold a subschema."""
SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems")
NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs")
_REFUSED = {
    "$id": "Leave it out: a contract's schema is known by the contract's name.",
    "$anchor": "Refer by place, for example '#/$defs/money'.",
    "$dynamicAnchor": "Refer by place, for example '#/$defs/money'.",
    "$dynamicRef": "Refer by place, for example '#/$defs/money'.",
    "$recursiveRef": "Refer by place, for example '#/$defs/money'.",
    "$vocabulary": "Leave it out.",
    "definitions": "Write '$defs', as JSON Schema 2020-12 has it.",
    "dependencies": "Write 'dependentRequired' or 'dependentSchemas'.",
    "additionalItems": "Write 'items' beside 'prefixItems'.",
}  # fmt: skip
_KNOWN = frozenset({
    *ONE, *SEVERAL, *NAMED, "$schema", "$ref", "$comment", "type", "enum", "const", "multipleOf", "maximum",
    "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems",
    "uniqueItems", "maxContains", "minContains", "maxProperties", "minProperties", "required", "dependentRequired",
    "format", "contentEncoding", "contentMediaType", "contentSchema", "title", "description", "default", "deprecated",
    "readOnly", "writeOnly", "examples",
})  # fmt: skip


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong with a schema. ``path``: keys down to it, joined by dots; ``grave``: it cannot be used so."""

    path: str
    what: str
    remedy: str | None = None
    grave: bool = True


def compiled(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """The validator of a schema that ``faults`` finds nothing grave in. It never opens a file or a connection."""
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True, pattern_options=_PATTERNS, offline=True)


@lru_cache(maxsize=4_096)
def pattern_fault(pattern: str) -> str | None:
    """What keeps a pattern from being used; None when nothing does."""
    if len(pattern) > MAX_PATTERN:
        return f"has more than {MAX_PATTERN:,} characters"
    try:
        compiled({"pattern": pattern})
    except jsonschema_rs.ValidationError:
        return "is not a pattern, or too large a one, or looks around or refers back"
    return None


def faults(schema: dict[str, Any]) -> list[Fault]:
    """Everything wrong with a schema, grave or not, in the order of its parts."""
    found = list(_of_parts(schema))
    if not any(fault.grave for fault in found):
        found += _of_form(schema)
    if not any(fault.grave for fault in found):
        found += _of_references(schema)
    return found


def parts(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The schema and every subschema written in it, with the keys that lead there."""
    yield path, schema
    for below, child in children(schema):
        yield from parts(child, path + below)


def children(schema: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The subschemas directly below a schema, with the keys that lead there."""
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key in ONE:
            yield (key,), value
        elif key in SEVERAL and isinstance(value, list):
            yield from (((key, str(number)), item) for number, item in enumerate(value))
        elif key in NAMED and isinstance(value, dict):
            yield from (((key, name), item) for name, item in value.items())


def referred(root: Any, ref: str) -> Any:
    """The subschema that a local ``$ref`` names. Raises KeyError."""
    node = root
    for part in ref.removeprefix("#").split("/")[1:]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, dict) and key in node:
            node = node[key]
        else:
            raise KeyError(ref)
    return node


def _of_parts(schema: dict[str, Any]) -> Iterator[Fault]:
    """Keywords and patterns, part by part."""
    for path, part in parts(schema):
        if not isinstance(part, dict):
            continue
        for key in part:
            below = ".".join((*path, key))
            if key in _REFUSED:
                yield Fault(below, f"'{key}' is not read in a contract's schema.", _REFUSED[key])
            elif key == "$schema" and (path or str(part[key]).rstrip("#") != DIALECT):
                yield Fault(below, f"Only JSON Schema 2020-12 is read ('$schema: {DIALECT}', on top).", "Leave it out.")
            elif key not in _KNOWN and not key.startswith("x-"):
                hint = near_miss(key, _KNOWN) or ""
                yield Fault(below, f"'{key}' is not a keyword of JSON Schema 2020-12; it checks nothing.",
                            hint if hint.startswith("Did") else None, grave=False)  # fmt: skip
        for below, pattern in _patterns(part):
            if said := pattern_fault(pattern):
                shown = pattern if len(pattern) <= 60 else pattern[:57] + "..."
                yield Fault(".".join((*path, *below)), f"'{shown}' {said}.", "Only patterns that take linear time run.")


def _patterns(part: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(pattern := part.get("pattern"), str):
        yield ("pattern",), pattern
    if isinstance(named := part.get("patternProperties"), dict):
        yield from ((("patternProperties", pattern), pattern) for pattern in named)


def _of_form(schema: dict[str, Any]) -> Iterator[Fault]:
    """Values of keywords that are not what JSON Schema demands: the first one found."""
    try:
        jsonschema_rs.meta.validate({"$schema": DIALECT, **schema})
    except jsonschema_rs.ValidationError as error:
        yield Fault(".".join(map(str, error.instance_path)), f"This is not JSON Schema: {_sentence(error.message)}")
        return
    if schema.get("type", "object") != "object" and "object" not in schema["type"]:
        yield Fault("type", "The fields of a record are an object; this schema refuses every record.",
                    "Write 'type: object', or leave it out.")  # fmt: skip


def _sentence(message: str) -> str:
    text = message if len(message) <= 160 else message[:157] + "..."
    return text if text.endswith(".") else text + "."


def _of_references(schema: dict[str, Any]) -> Iterator[Fault]:
    """References: local, to a subschema, never in a circle; and what they expand to."""
    places = {id(part) for _, part in parts(schema)}
    wrong = False
    for path, part in parts(schema):
        ref = part.get("$ref") if isinstance(part, dict) else None
        if not isinstance(ref, str):
            continue
        said = _wrong_reference(schema, ref, places)
        if said is not None:
            wrong = True
            yield Fault(".".join((*path, "$ref")), *said)
    if wrong:
        return
    try:
        size, nested = _Expansion(schema).of(schema)
    except _Circle as circle:
        what = f"The reference '{circle.ref[:60]}' comes back to itself, or goes more than {MAX_LEVELS} levels deep."
        yield Fault("", what, "Write out as many levels as there are.")
        return
    if size > MAX_EXPANDED:
        what = f"The schema comes to more than {MAX_EXPANDED:,} subschemas where references are followed."
        yield Fault("", what, "Refer less, or make it simpler.")
    if nested > MAX_UNEVALUATED:
        what = f"{nested} 'unevaluated...' stand inside one another; at most {MAX_UNEVALUATED} are run."
        yield Fault("", what, "Use 'additionalProperties', or one 'unevaluatedProperties' at the outside.")


def _wrong_reference(schema: dict[str, Any], ref: str, places: set[int]) -> tuple[str, str] | None:
    if not ref.startswith("#"):
        return (
            f"'{ref[:60]}' lies outside the schema; nothing is fetched.",
            "Copy it below '$defs' and refer to it there.",
        )
    if ref != "#" and not ref.startswith("#/"):
        return f"'{ref[:60]}' is not a place.", "Refer by place, for example '#/$defs/money'."
    try:
        found = referred(schema, ref)
    except KeyError:
        known = [f"#/$defs/{name}" for name in schema.get("$defs", {})]
        return f"There is no '{ref[:60]}'.", near_miss(ref, known) or "Declare it below '$defs'."
    if not isinstance(found, dict | bool) or (isinstance(found, dict) and id(found) not in places):
        return f"'{ref[:60]}' is not a subschema.", "Refer to one below '$defs'."
    return None


class _Circle(Exception):
    def __init__(self, ref: str) -> None:
        self.ref = ref
        super().__init__(ref)


class _Expansion:
    """(subschemas, nested ``unevaluated...``) of a schema with its references followed, each part reckoned once."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._known: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()

    def of(self, part: Any, ref: str = "#") -> tuple[int, int]:
        """Raises _Circle."""
        if not isinstance(part, dict):
            return 1, 0
        if id(part) in self._open or len(self._open) > MAX_LEVELS:
            raise _Circle(ref)
        if id(part) not in self._known:
            self._open.add(id(part))
            below = [self.of(child, ref) for path, child in children(part) if path[0] != "$defs"]
            if isinstance(to := part.get("$ref"), str):
                below.append(self.of(referred(self._root, to), to))
            own = sum(key in part for key in ("unevaluatedProperties", "unevaluatedItems"))
            size = 1 + sum(n for n, _ in below)
            self._known[id(part)] = size, own + max((n for _, n in below), default=0)
            self._open.discard(id(part))
        return self._known[id(part)]
