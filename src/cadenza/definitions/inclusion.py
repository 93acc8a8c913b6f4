"""Whether every document that keeps one JSON Schema keeps another: proven from the schemas, keyword by keyword.

What is proven holds. What is not proven may hold all the same: a proof is looked for where people change contracts
(types, bounds, enums, required, fields, closed objects, unions), and everything else must be written alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from cadenza.definitions.json_schema import compiled, referred

Schema = Any
"""A JSON Schema: an object, or a truth value."""
_BUDGET = 5_000
_TYPES = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})
_SPLITS = 3
"""How many unions inside one another are looked into."""


class Gap(msgspec.Struct, frozen=True):
    """A rule of the wider schema that documents of the narrower one may break. ``path``: the field, ``''`` on top."""

    path: str
    rule: str
    value: str

    def __str__(self) -> str:
        return f"{self.path or 'the record'}: {self.rule}" + (f" {self.value}" if self.value else "")


def gaps(narrow: Schema, wide: Schema) -> list[Gap]:
    """Why documents that keep ``narrow`` may break ``wide``; empty when it is proven that none does."""
    proof = _Proof()
    found = proof.gaps([expanded(narrow)], expanded(wide), "", 0)
    return [*dict.fromkeys(found)]


def expanded(schema: Schema, root: Schema = None) -> Schema:
    """The schema with its references replaced by what they name; annotations left out."""
    root = schema if root is None else root
    if not isinstance(schema, dict):
        return schema
    if "$id" in schema and schema is not root:
        return expanded(schema, None)
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _SILENT:
            continue
        if key in ("allOf", "anyOf", "oneOf", "prefixItems"):
            found[key] = [expanded(item, root) for item in value]
        elif key in ("properties", "patternProperties", "dependentSchemas"):
            found[key] = {name: expanded(item, root) for name, item in value.items()}
        elif isinstance(value, dict | bool) and key in _HOLDS_ONE:
            found[key] = expanded(value, root)
        else:
            found[key] = value
    if "$ref" in found:
        to = expanded(referred(root, found.pop("$ref")), root)
        if not found:
            return to
        found["allOf"] = [*found.get("allOf", []), to]
    return found


_SILENT = frozenset({
    "$schema", "$id", "$defs", "$comment", "title", "description", "default", "deprecated", "readOnly", "writeOnly",
    "examples", "contentEncoding", "contentMediaType", "contentSchema",
})  # fmt: skip
_HOLDS_ONE = frozenset({
    "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "items", "contains", "propertyNames", "not",
    "if", "then", "else",
})  # fmt: skip
_OF_TYPE = {
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), frozenset({"number", "integer"})),
    **dict.fromkeys(("minLength", "maxLength", "pattern", "format"), frozenset({"string"})),
    **dict.fromkeys(("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains",
                     "maxContains", "unevaluatedItems"), frozenset({"array"})),
    **dict.fromkeys(("properties", "patternProperties", "additionalProperties", "required", "minProperties",
                     "maxProperties", "propertyNames", "dependentRequired", "dependentSchemas",
                     "unevaluatedProperties"), frozenset({"object"})),
}  # fmt: skip
"""Keywords that say nothing of values of other types."""
_TOGETHER = {
    "contains": ("contains", "minContains", "maxContains"),
    "minContains": ("contains", "minContains", "maxContains"),
    "maxContains": ("contains", "minContains", "maxContains"),
    "then": ("if", "then", "else"), "else": ("if", "then", "else"), "if": ("if", "then", "else"),
}  # fmt: skip
"""Keywords that mean something together only."""


def _same(a: Any, b: Any) -> bool:
    return _canonical(a) == _canonical(b)


def _canonical(value: Any) -> bytes:
    return msgspec.json.encode(_plain_numbers(value), order="sorted")


def _plain_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {key: _plain_numbers(item) for key, item in value.items()}
    return [_plain_numbers(item) for item in value] if isinstance(value, list) else value


@lru_cache(maxsize=4_096)
def _matcher(pattern: str) -> Callable[[Any], bool]:
    return compiled({"pattern": pattern}).is_valid


def _parts(conjunction: list[Schema]) -> list[dict[str, Any]] | None:
    """The objects that all hold, ``allOf`` taken apart; None when one of them is ``false``."""
    found: list[dict[str, Any]] = []
    for schema in conjunction:
        if schema is False:
            return None
        if isinstance(schema, dict):
            below = _parts(schema.get("allOf", []))
            if below is None:
                return None
            found += [schema, *below]
    return found


def _types(parts: list[dict[str, Any]]) -> frozenset[str]:
    """The types that a document may have; ``number`` includes ``integer``."""
    found = _TYPES
    for part in parts:
        if "type" in part:
            said = part["type"] if isinstance(part["type"], list) else [part["type"]]
            found &= frozenset(said) | ({"integer"} if "number" in said else frozenset())
        if (values := _values(part)) is not None:
            found &= frozenset(_type_of(value) for value in values) | {"integer"}
    return found


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return kinds[type(value)]


def _values(part: dict[str, Any]) -> list[Any] | None:
    """The values that a schema lists; None when it does not."""
    if "const" in part:
        return [part["const"]]
    return part.get("enum")


class _Proof:
    """One search for a proof, with a bound on its work."""

    def __init__(self) -> None:
        self._left = _BUDGET

    def gaps(self, narrow: list[Schema], wide: Schema, path: str, splits: int) -> list[Gap]:
        """What of ``wide`` does not follow from all of ``narrow`` together."""
        self._left -= 1
        if self._left < 0:
            return [Gap(path, "is too intricate to compare", "")]
        if wide is True or wide == {} or any(_same(one, wide) for one in narrow):
            return []
        parts = _parts(narrow)
        if parts is None:
            return []
        if wide is False:
            return [Gap(path, "is not allowed", "")]
        values = next((found for part in parts if (found := _values(part)) is not None), None)
        if values is not None:
            return _of_values(values, narrow, wide, path)
        found = list(self._keywords(parts, wide, path, splits))
        if found and splits < _SPLITS:
            return self._by_cases(parts, wide, path, splits, found)
        return found

    def _by_cases(
        self, parts: list[dict[str, Any]], wide: Schema, path: str, splits: int, found: list[Gap]
    ) -> list[Gap]:
        """The gaps that are left when a union of the narrower schema is gone through branch by branch."""
        for number, part in enumerate(parts):
            for key in ("anyOf", "oneOf"):
                if key in part:
                    # What "unevaluated" means would change with a union taken out.
                    rest = {name: v for name, v in part.items() if name != key and not name.startswith("uneval")}
                    others = [*parts[:number], rest, *parts[number + 1 :]]
                    cases = [self.gaps([*others, branch], wide, path, splits + 1) for branch in part[key]]
                    return [] if not any(cases) else found
        return found

    def _keywords(self, parts: list[dict[str, Any]], wide: dict[str, Any], path: str, splits: int) -> Iterator[Gap]:
        types = _types(parts)
        for key, value in wide.items():
            if key in _OF_TYPE and not types & _OF_TYPE[key]:
                continue
            together = _TOGETHER.get(key, (key,))
            if key not in _SIBLINGS and any(all(_alike(part, wide, one) for one in together) for part in parts):
                continue
            match key:
                case "allOf":
                    for one in value:
                        yield from self.gaps(list(parts), one, path, splits)
                case "anyOf":
                    if all(self.gaps(list(parts), one, path, splits + 1) for one in value):
                        yield Gap(path, "anyOf", "")
                case "properties":
                    for name, schema in value.items():
                        yield from self.gaps(_of_name(parts, name), schema, _below(path, name), splits)
                case "patternProperties":
                    yield from self._pattern_properties(parts, value, path, splits)
                case "additionalProperties":
                    yield from self._additional(parts, wide, path, splits)
                case "items" | "prefixItems":
                    yield from self._items(parts, wide, key, path, splits)
                case _:
                    if not _follows(key, value, parts, types):
                        yield Gap(path, key, _shown(value))

    def _pattern_properties(
        self, parts: list[dict[str, Any]], wide: dict[str, Schema], path: str, splits: int
    ) -> Iterator[Gap]:
        for pattern, schema in wide.items():
            matches = _matcher(pattern)
            for name in _names(parts):
                if matches(name):
                    yield from self.gaps(_of_name(parts, name), schema, _below(path, name), splits)
            below = _below(path, f"/{pattern}/")
            same = [
                part["patternProperties"][pattern] for part in parts if pattern in part.get("patternProperties", {})
            ]
            if same:
                yield from self.gaps(same, schema, below, splits)
                continue
            for _, guaranteed in _patterns(parts):
                yield from self.gaps([guaranteed], schema, below, splits)
            yield from self.gaps(_of_others(parts), schema, below, splits)

    def _additional(self, parts: list[dict[str, Any]], wide: dict[str, Any], path: str, splits: int) -> Iterator[Gap]:
        schema, patterns = wide["additionalProperties"], wide.get("patternProperties", {})
        for name in _names(parts):
            if name not in wide.get("properties", {}) and not any(_matcher(p)(name) for p in patterns):
                yield from self.gaps(_of_name(parts, name), schema, _below(path, name), splits)
        for pattern, guaranteed in _patterns(parts):
            if pattern not in patterns:
                yield from self.gaps([guaranteed], schema, _below(path, f"/{pattern}/"), splits)
        yield from self.gaps(_of_others(parts), schema, _below(path, "*"), splits)

    def _items(
        self, parts: list[dict[str, Any]], wide: dict[str, Any], key: str, path: str, splits: int
    ) -> Iterator[Gap]:
        before = len(wide.get("prefixItems", []))
        longest = max((len(part.get("prefixItems", [])) for part in parts), default=0)
        if key == "prefixItems":
            for number, schema in enumerate(wide["prefixItems"]):
                yield from self.gaps(_of_item(parts, number), schema, _below(path, str(number)), splits)
            return
        for number in range(before, max(longest, before) + 1):
            yield from self.gaps(_of_item(parts, number), wide["items"], _below(path, "[]"), splits)


_SIBLINGS = frozenset({"additionalProperties", "items", "unevaluatedProperties", "unevaluatedItems", "allOf",
                       "properties", "patternProperties", "prefixItems"})  # fmt: skip
"""Keywords whose meaning depends on others beside them, or that are taken apart: being written alike is not enough."""


def _alike(part: dict[str, Any], wide: dict[str, Any], key: str) -> bool:
    return (key in part) == (key in wide) and (key not in wide or _same(part[key], wide[key]))


def _of_values(values: list[Any], narrow: list[Schema], wide: Schema, path: str) -> list[Gap]:
    """Of a list of values each one is asked."""
    keeps, kept = compiled({"allOf": [_object(one) for one in narrow]}), compiled(_object(wide))
    wrong = [value for value in values if keeps.is_valid(value) and not kept.is_valid(value)]
    return [Gap(path, "the value", _shown(value)) for value in wrong[:3]]


def _object(schema: Schema) -> dict[str, Any]:
    return schema if isinstance(schema, dict) else {"allOf": [schema]}


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(value: Any) -> str:
    text = msgspec.json.encode(_plain_numbers(value)).decode()
    return text if len(text) <= 60 else text[:57] + "..."


# --- what a conjunction guarantees of its parts ---------------------------------------------------------


def _names(parts: list[dict[str, Any]]) -> list[str]:
    return sorted({name for part in parts for name in part.get("properties", {})})


def _patterns(parts: list[dict[str, Any]]) -> list[tuple[str, Schema]]:
    return [item for part in parts for item in part.get("patternProperties", {}).items()]


def _of_name(parts: list[dict[str, Any]], name: str) -> list[Schema]:
    """What holds of the member of this name."""
    found: list[Schema] = []
    for part in parts:
        said = [part["properties"][name]] if name in part.get("properties", {}) else []
        said += [one for pattern, one in part.get("patternProperties", {}).items() if _matcher(pattern)(name)]
        if not said and "additionalProperties" in part:
            said = [part["additionalProperties"]]
        found += said
    return found


def _of_others(parts: list[dict[str, Any]]) -> list[Schema]:
    """What holds of members that no part names, and no pattern of any part matches."""
    return [part["additionalProperties"] for part in parts if "additionalProperties" in part]


def _of_item(parts: list[dict[str, Any]], number: int) -> list[Schema]:
    """What holds of the item at a place, and (beyond every prefix) of all that follow."""
    found: list[Schema] = []
    for part in parts:
        prefix = part.get("prefixItems", [])
        if number < len(prefix):
            found.append(prefix[number])
        elif "items" in part:
            found.append(part["items"])
    return found


def _closed(parts: list[dict[str, Any]]) -> list[str] | None:
    """The only names that members may have; None when there are others."""
    for part in parts:
        if part.get("additionalProperties") is False and not part.get("patternProperties"):
            return list(part.get("properties", {}))
    return None


# --- rules that follow from others ----------------------------------------------------------------------


def _follows(key: str, value: Any, parts: list[dict[str, Any]], types: frozenset[str]) -> bool:
    """Whether a rule holds for whatever keeps all parts."""
    match key:
        case "type":
            allowed = {value} if isinstance(value, str) else set(value)
            allowed |= {"integer"} if "number" in allowed else set()
            return types <= allowed
        case "required":
            return set(value) <= {name for part in parts for name in part.get("required", [])}
        case "dependentRequired":
            return all(_depends(parts, name, wanted) for name, needed in value.items() for wanted in needed)
        case "uniqueItems":
            return value is False
        case "minProperties":
            required = {name for part in parts for name in part.get("required", [])}
            return len(required) >= value or _bounded(parts, ("minProperties",), lambda own: own >= value)
        case "maxProperties":
            closed = _closed(parts)
            return (closed is not None and len(closed) <= value) or _bounded(parts, (key,), lambda own: own <= value)
        case "propertyNames":
            closed = _closed(parts)
            return closed is not None and all(compiled(_object(value)).is_valid(name) for name in closed)
        case "minLength" | "minItems":
            return value == 0 or _bounded(parts, (key,), lambda own: own >= value)
        case "maxLength" | "maxItems":
            return _bounded(parts, (key,), lambda own: own <= value)
        case "minimum":
            return _bounded(parts, ("minimum", "exclusiveMinimum"), lambda own: own >= value)
        case "maximum":
            return _bounded(parts, ("maximum", "exclusiveMaximum"), lambda own: own <= value)
        case "exclusiveMinimum":
            return _bounded(parts, ("minimum",), lambda own: own > value) or _bounded(
                parts, (key,), lambda own: own >= value
            )
        case "exclusiveMaximum":
            return _bounded(parts, ("maximum",), lambda own: own < value) or _bounded(
                parts, (key,), lambda own: own <= value
            )
    return value is True and key in ("unevaluatedProperties", "unevaluatedItems")


def _bounded(parts: list[dict[str, Any]], keys: tuple[str, ...], enough: Callable[[Any], bool]) -> bool:
    return any(key in part and enough(part[key]) for part in parts for key in keys)


def _depends(parts: list[dict[str, Any]], name: str, wanted: str) -> bool:
    """Whether a document that has ``name`` has ``wanted``."""
    if any(wanted in part.get("required", []) for part in parts) or False in _of_name(parts, name):
        return True
    return any(wanted in part.get("dependentRequired", {}).get(name, []) for part in parts)
