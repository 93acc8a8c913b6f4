"""Promises between versions of a contract, proven and held against actual validation."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cadenza.definitions.compatibility import contract_changes
from cadenza.definitions.contract_fields import json_schema
from cadenza.definitions.json_schema import compiled
from cadenza.definitions.kinds import Contract, Property, RuleActions
from cadenza.definitions.project import Project
from tests.contracts.kit import contract

FIELDS = ("a", "b", "c")
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    ["x", "xy", "xyz", "2026-01-01T00:00:00Z", "a@b.example", 0, 1, 5, 1.5, -2, True, [], [1], {}, {"k": 1}]
)
PROPERTIES = st.builds(
    Property, type=st.sampled_from(["string", "integer", "decimal", "boolean", "timestamp", "object", "array"]),
    required=st.booleans(), minimum=st.none() | st.sampled_from([0.0, 1.0]), maximum=st.none() | st.sampled_from([1.0, 4.0]),
    enum=st.sampled_from([(), ("x",), ("x", "xy")]), pattern=st.sampled_from([None, "^x", "y$"]),
    format=st.sampled_from([None, "email"]), max_length=st.none() | st.integers(1, 3),
)  # fmt: skip
SCHEMAS = st.fixed_dictionaries({}, optional={
    "required": st.lists(st.sampled_from(FIELDS), max_size=2, unique=True),
    "properties": st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(
        [{"type": "string"}, {"type": ["string", "number"]}, {"$ref": "#/$defs/n"}, {"enum": ["x", 1]}]), max_size=2),
    "minProperties": st.integers(0, 2),
}).map(lambda schema: {**schema, "$defs": {"n": {"type": "number", "minimum": 1}}} if schema else {})  # fmt: skip
CONTRACTS = st.builds(
    Contract, name=st.just("E"), properties=st.dictionaries(st.sampled_from(FIELDS), PROPERTIES, max_size=3), schema=SCHEMAS,
    compatibility=st.just("full"),
    actions=st.sampled_from([RuleActions(), RuleActions(undeclared_field="flag")]),
)  # fmt: skip
DOCUMENTS = st.dictionaries(st.sampled_from([*FIELDS, "d"]), VALUES, max_size=4)


@st.composite
def versions(draw: st.DrawFn) -> tuple[Contract, Contract]:
    """A contract, and one that differs from it in a field or two."""
    old = draw(CONTRACTS)
    fields = dict(old.properties)
    for name in draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=2)):
        change = draw(st.sampled_from(["drop", "new", "loosen"]))
        if change == "drop" or (change == "loosen" and name not in fields):
            fields.pop(name, None)
        elif change == "new":
            fields[name] = draw(PROPERTIES)
        else:
            fields[name] = msgspec.structs.replace(fields[name], required=False, maximum=None, pattern=None, enum=())
    return old, msgspec.structs.replace(old, properties=fields, schema=draw(st.sampled_from([old.schema, {}])))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(versions(), st.lists(DOCUMENTS, min_size=8, max_size=20))
def test_what_is_said_to_hold_holds(pair: tuple[Contract, Contract], documents: list[dict[str, Any]]) -> None:
    old, new = pair
    for change in contract_changes(Project(contracts=(old,)), Project(contracts=(new,))):
        before, after = compiled(json_schema(old)), compiled(json_schema(new))
        for document in documents:
            if change.holds in ("backward", "full"):
                assert after.is_valid(document) or not before.is_valid(document)
            if change.holds in ("forward", "full"):
                assert before.is_valid(document) or not after.is_valid(document)
        assert (change.refused is None) == (change.holds == "full")


OLD = """contract: E
version: 1.0.0
properties:
  a: { type: integer, required: true }
  b: { type: string, enum: [x] }
actions: { undeclared_field: flag }
"""


@pytest.mark.parametrize(
    ("was", "now", "holds"),
    [
        ("required: true", "required: false", "backward"),
        ("integer, required", "decimal, required", "backward"),
        ("enum: [x]", "enum: [x, y]", "backward"),
        ("enum: [x]", "max_length: 5", "backward"),
        ("  b: { type: string, enum: [x] }\n", "", "forward"),
        ("enum: [x]", "enum: [x], required: true", "forward"),
        ("integer, required: true", "integer, minimum: 1, required: true", "forward"),
        ("integer, required", "string, required", "none"),
        ("enum: [x]", "enum: [x], description: d", "full"),
        ("1.0.0", "1.1.0", "full"),
    ],
)
def test_everyday_changes(was: str, now: str, holds: str) -> None:
    [change] = contract_changes(
        Project(contracts=(contract(OLD),)), Project(contracts=(contract(OLD.replace(was, now)),))
    )
    assert change.holds == holds


def promise(word: str, was: str, now: str) -> str | None:
    new = OLD.replace("1.0.0", f"1.1.0\ncompatibility: {word}").replace(was, now)
    [change] = contract_changes(Project(contracts=(contract(OLD),)), Project(contracts=(contract(new),)))
    return change.refused


def test_a_broken_promise_is_told() -> None:
    narrower = ("enum: [x]", "enum: [x], required: true")
    assert promise("none", *narrower) is None
    assert promise("forward", *narrower) is None
    for word in ("backward", "full"):
        assert promise(word, *narrower) == (
            f"The contract 'E' promises to be {word} compatible, but what kept the version in force may break the new one: "
            'the record: required ["a","b"].'
        )
    wider = ("enum: [x]", "enum: [x, y]")
    assert promise("backward", *wider) is None
    assert 'what keeps the new version may break the one in force: b: the value "y"' in (
        promise("forward", *wider) or ""
    )


def test_a_changed_contract_needs_a_new_version_where_it_has_one() -> None:
    new = contract(OLD.replace("enum: [x]", "enum: [x, y]"))
    [change] = contract_changes(Project(contracts=(contract(OLD),)), Project(contracts=(new,)))
    assert change.refused == "The contract 'E' is changed, but its version is still 1.0.0."
    unnamed = [
        contract(OLD.replace("version: 1.0.0\n", "")),
        contract(OLD.replace("version: 1.0.0\n", "").replace("[x]", "[y]")),
    ]
    [change] = contract_changes(Project(contracts=(unnamed[0],)), Project(contracts=(unnamed[1],)))
    assert change.refused is None
    assert (
        contract_changes(None, Project(contracts=(new,)))
        == ()
        == contract_changes(Project(contracts=(new,)), Project())
    )


def test_fields_that_change_are_named() -> None:
    new = "contract: E\nproperties: { a: { type: integer } }\nschema: { properties: { c: { type: string } } }\n"
    [change] = contract_changes(Project(contracts=(contract(OLD),)), Project(contracts=(contract(new),)))
    assert change.fields == ("a", "b", "c")
