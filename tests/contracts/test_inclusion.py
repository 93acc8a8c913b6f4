"""What is proven of two schemas must hold of every document; and everyday changes must be provable."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cadenza.definitions.inclusion import gaps
from cadenza.definitions.json_schema import compiled

NAMES = st.sampled_from(["a", "b", "x_1", "x_2"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 6),
    st.sampled_from([0.5, 1.0, 2.5]),
    st.sampled_from(["", "a", "ab", "abc", "a@b.c"]),
)
DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
SMALL = st.integers(0, 3)
PATTERNS = st.sampled_from(["^x_", "^a", "b$"])


def schemas() -> st.SearchStrategy[Any]:
    """Schemas of every keyword the proof knows, and some that it does not."""
    return st.recursive(
        st.booleans() | leaves(), lambda inner: st.one_of(objects(inner), arrays(inner), unions(inner)), max_leaves=6
    )


def leaves() -> st.SearchStrategy[dict[str, Any]]:
    types = st.sampled_from(["null", "boolean", "object", "array", "number", "integer", "string"])
    return st.fixed_dictionaries({}, optional={
        "type": types | st.lists(types, min_size=1, max_size=2, unique=True),
        "enum": st.lists(SCALARS, min_size=1, max_size=3), "const": SCALARS,
        "minimum": SMALL, "maximum": SMALL, "exclusiveMinimum": SMALL, "exclusiveMaximum": SMALL,
        "multipleOf": st.sampled_from([1, 2]), "minLength": SMALL, "maxLength": SMALL, "pattern": PATTERNS,
        "format": st.just("email"),
    })  # fmt: skip


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just("object")}, optional={
        "properties": st.dictionaries(NAMES, inner, max_size=2), "patternProperties": st.dictionaries(PATTERNS, inner, max_size=2),
        "additionalProperties": inner, "required": st.lists(NAMES, max_size=2, unique=True),
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2),
        "minProperties": SMALL, "maxProperties": SMALL, "propertyNames": leaves(), "unevaluatedProperties": st.booleans(),
        "allOf": st.lists(inner, min_size=1, max_size=2), "anyOf": st.lists(inner, min_size=1, max_size=2),
    })  # fmt: skip


def arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={
        "items": inner, "prefixItems": st.lists(inner, min_size=1, max_size=2), "minItems": SMALL, "maxItems": SMALL,
        "uniqueItems": st.booleans(), "contains": inner, "minContains": SMALL, "maxContains": SMALL,
        "unevaluatedItems": st.booleans(),
    })  # fmt: skip


def unions(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    some = st.lists(inner, min_size=1, max_size=2)
    return st.fixed_dictionaries({}, optional={
        "allOf": some, "anyOf": some, "oneOf": some, "not": inner, "if": inner, "then": inner, "else": inner,
        "$ref": st.just("#/$defs/d"),
    })  # fmt: skip


@st.composite
def related(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two schemas that are alike here and there, so that proofs are often found."""
    named = draw(leaves())
    narrow = {**draw(objects(schemas())), "$defs": {"d": named}}
    wide = dict(narrow)
    for key in draw(st.lists(st.sampled_from(sorted(set(narrow) - {"$defs"})), max_size=3)):
        wide.pop(key, None)
    wide |= draw(st.fixed_dictionaries({}, optional={"maxProperties": SMALL, "required": st.lists(NAMES, max_size=2, unique=True),
                                                     "properties": st.dictionaries(NAMES, schemas(), max_size=2)}))  # fmt: skip
    if draw(st.booleans()):
        wide["$defs"] = {"d": draw(leaves())}
    return (narrow, wide) if draw(st.booleans()) else (wide, narrow)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(related(), st.lists(st.dictionaries(NAMES, DOCUMENTS, max_size=4), min_size=5, max_size=12))
def test_what_is_proven_holds(pair: tuple[dict[str, Any], dict[str, Any]], documents: list[dict[str, Any]]) -> None:
    narrow, wide = pair
    if not gaps(narrow, wide):
        keeps, kept = compiled(narrow), compiled(wide)
        for document in documents:
            assert kept.is_valid(document) or not keeps.is_valid(document), (narrow, wide, document)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(schemas(), schemas(), st.lists(DOCUMENTS, min_size=5, max_size=15))
def test_what_is_proven_holds_for_any_two(narrow: Any, wide: Any, documents: list[Any]) -> None:
    narrow, wide = ({"allOf": [one], "$defs": {"d": {"type": "integer"}}} for one in (narrow, wide))
    if not gaps(narrow, wide):
        keeps, kept = compiled(narrow), compiled(wide)
        for document in documents:
            assert kept.is_valid(document) or not keeps.is_valid(document), (narrow, wide, document)


@settings(max_examples=100, deadline=None)
@given(schemas())
def test_every_schema_keeps_itself(schema: Any) -> None:
    whole = {"allOf": [schema], "$defs": {"d": {"type": "integer"}}}
    assert gaps(whole, whole) == []


OPEN: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 2}}, "required": ["a"]}
SHUT: dict[str, Any] = {**OPEN, "additionalProperties": False}


def changed(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**schema, "properties": {**schema["properties"], **more}}


@pytest.mark.parametrize(
    ("narrow", "wide", "told"),
    [
        (OPEN, OPEN, []),
        (SHUT, OPEN, []),
        (OPEN, SHUT, ["*: is not allowed"]),
        (OPEN, {**OPEN, "required": []}, []),
        ({**OPEN, "required": []}, OPEN, ['the record: required ["a"]']),
        (OPEN, changed(OPEN, a={"type": "number"}), []),
        (changed(OPEN, a={"type": "number"}), OPEN, ['a: type "integer"', "a: minimum 2"]),
        (OPEN, changed(OPEN, a={"type": "integer", "exclusiveMinimum": 1}), []),
        (OPEN, changed(OPEN, a={"type": "integer", "minimum": 3}), ["a: minimum 3"]),
        (SHUT, changed(SHUT, b={"type": "string"}), []),
        (changed(SHUT, b={"type": "string"}), SHUT, ["b: is not allowed"]),
        (OPEN, changed(OPEN, b={"type": "string"}), ['b: type "string"']),
        (changed(OPEN, b={"enum": ["x"]}), changed(OPEN, b={"enum": ["x", "y"]}), []),
        (changed(OPEN, b={"enum": ["x", "y"]}), changed(OPEN, b={"enum": ["x"]}), ['b: the value "y"']),
        (changed(OPEN, b={"const": "ab"}), changed(OPEN, b={"type": "string", "maxLength": 2, "pattern": "^a"}), []),
        (changed(OPEN, b={"type": "string", "maxLength": 2}), changed(OPEN, b={"anyOf": [{"type": "string"}, {"type": "null"}]}), []),
        (changed(OPEN, b={"anyOf": [{"type": "integer"}, {"type": "null"}]}), changed(OPEN, b={"type": ["number", "null"]}), []),
        (changed(OPEN, b={"type": "array", "items": {"type": "integer"}}), changed(OPEN, b={"type": "array", "items": {"type": "number"}}), []),
        (changed(OPEN, b={"items": {"type": "number"}}), changed(OPEN, b={"items": {"type": "integer"}}), ['b.[]: type "integer"']),
        (OPEN, {**OPEN, "allOf": [{"required": ["a"]}]}, []),
        ({"$ref": "#/$defs/d", "$defs": {"d": OPEN}}, OPEN, []),
        (OPEN, {"$ref": "#/$defs/d", "$defs": {"d": {"required": ["b"]}}}, ['the record: required ["b"]']),
    ],
)  # fmt: skip
def test_everyday_changes(narrow: dict[str, Any], wide: dict[str, Any], told: list[str]) -> None:
    assert [str(gap) for gap in gaps(narrow, wide)] == told
