"""Patterns, schemas and records that are made to stall a validator. A stall would hang these tests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cadenza.definitions.json_schema import MAX_EXPANDED, compiled, faults, pattern_fault
from cadenza.definitions.kinds import Contract, Property
from cadenza.definitions.project import Project
from cadenza.runtime.contracts import ContractChecker
from cadenza.runtime.wire import Malformed, decode
from tests.contracts.kit import complaints, prepare, project, track

REDOS = [
    ("^(a+)+$", "a" * 50_000 + "!"),
    ("^(a|aa)+$", "a" * 50_000 + "!"),
    ("^(a|a?)+$", "a" * 50_000 + "!"),
    ("^([a-zA-Z]+)*$", "a" * 50_000 + "!"),
    ("(x+x+)+y", "x" * 50_000),
    ("^(a*)*b$", "a" * 50_000),
    ("(.*a){12}b", "a" * 20_000),
    ("^(.*?,){11}P", "1," * 25_000),
    ("^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 50_000),
    (r"^\s+|\s+$", " " * 50_000 + "x"),
    (r"^(\w+\s?)*$", "aa " * 20_000 + "!"),
    (r"^([a-zA-Z0-9_.-])+@(([a-zA-Z0-9-])+\.)+([a-zA-Z0-9]{2,4})+$", "a@" + "a." * 20_000 + "!"),
    (r"<script[^>]*?>[\s\S]*?</script\s*>", "<script>" * 6_000),
]
"""Classic patterns that take exponential or cubic time where engines backtrack, each with its poison."""
PATTERNS = [pattern for pattern, _ in REDOS]


@pytest.mark.parametrize(("pattern", "poison"), REDOS, ids=PATTERNS)
def test_patterns_take_linear_time_wherever_they_stand(pattern: str, poison: str) -> None:
    short = Contract(name="E", properties={"p": Property(type="string", pattern=pattern)})
    schema = {"properties": {"p": {"pattern": pattern}}, "propertyNames": {"pattern": "^[a-z]*$"}}
    keys = {"patternProperties": {pattern: {"type": "integer"}}}
    for one in (short, Contract(name="E", schema=schema), Contract(name="E", schema=keys)):
        assert not [fault for fault in faults(one.schema) if fault.grave] if one.schema else not pattern_fault(pattern)
        plan = Project(contracts=(one,))
        prepared = prepare(plan, track(p=poison), track(**{poison: 1}))
        assert len(prepared.batch.ids) + len(prepared.refused) == 2


@pytest.mark.parametrize(
    "pattern",
    ["(?=a)a", "(?<!a)b", r"(a)\1", "[", "(?P<n>a", "^(a{1000}){1000}$", "^((a{100}){100}){100}$", "a" * 1_001],
)
def test_patterns_that_cannot_be_run_in_linear_time_are_refused(pattern: str) -> None:
    said = " is not a pattern" if len(pattern) < 1_000 else " has more than 1,000 characters"
    quoted = json.dumps(pattern)
    [short] = complaints(f"contract: E\nproperties:\n  p: {{ type: string, pattern: {quoted} }}\n")
    [inside] = complaints(f"contract: E\nschema:\n  properties: {{ p: {{ items: {{ pattern: {quoted} }} }} }}\n")
    [keyed] = complaints(f"contract: E\nschema:\n  patternProperties: {{ {quoted}: {{}} }}\n")
    for told in (short, inside, keyed):
        assert told.startswith("contracts/plan.yaml:3: ") or len(pattern) > 1_000
        assert said in told or "longer than 1,000 characters" in told


def doubling(levels: int) -> dict[str, Any]:
    """Subschemas that refer twice to the next: 2 ** levels of them when followed."""
    twice = [{"allOf": [{"$ref": f"#/$defs/d{n}"}] * 2} for n in range(levels)]
    return {
        "$ref": f"#/$defs/d{levels}",
        "$defs": {f"d{n + 1}": s for n, s in enumerate(twice)} | {"d0": {"type": "object"}},
    }


def nested(keyword: str, levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"properties": {"a": {}}, "unevaluatedProperties": False}
    for _ in range(levels):
        schema = {keyword: [schema], "unevaluatedProperties": False}
    return schema


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (doubling(30), f"more than {MAX_EXPANDED:,} subschemas"),
        (doubling(80), f"more than {MAX_EXPANDED:,} subschemas"),
        (nested("allOf", 20), "'unevaluated...' stand inside one another"),
        (nested("anyOf", 20), "'unevaluated...' stand inside one another"),
        ({"$ref": "#"}, "comes back to itself"),
        ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"properties": {"b": {"allOf": [{"$ref": "#/$defs/a"}] * 2}}}}},
         "comes back to itself"),
        ({"$ref": "#/$defs/c0", "$defs": {f"c{n}": {"$ref": f"#/$defs/c{n + 1}"} for n in range(3_000)} | {"c3000": {}}},
         "more than 200 levels deep"),
    ],
    ids=["doubling", "doubling more", "unevaluated in allOf", "unevaluated in anyOf", "itself", "tree", "long chain"],
)  # fmt: skip
def test_schemas_whose_work_explodes_are_refused(schema: dict[str, Any], said: str) -> None:
    [fault] = faults(schema)
    assert fault.grave and said in fault.what


def test_what_is_let_through_is_quick() -> None:
    for schema in (doubling(10), nested("allOf", 3), nested("oneOf", 3)):
        assert faults(schema) == []
        assert compiled(schema).is_valid({"a": {"a": 1}})


def test_nothing_is_ever_fetched() -> None:
    """Should a reference slip through the checks, compiling it fails rather than reaching out."""
    for ref in ("http://127.0.0.1:9/x.json", "file:///etc/hostname"):
        with pytest.raises(Exception, match="Retrieval is disabled"):
            compiled({"$ref": ref})


DEEP = 100_000


@pytest.mark.parametrize("shape", ['{"a":', "["])
def test_depth_bombs_end_at_the_door(shape: str) -> None:
    close = "}" if shape.startswith("{") else "]"
    bomb = shape * DEEP + "1" + close * DEEP
    with pytest.raises(Malformed):
        decode(f'{{"batch":[{{"type":"track","event":"E","properties":{{"p":{bomb}}}}}]}}'.encode(), batch=True)


@pytest.mark.parametrize("depth", [33, 200, 450])
def test_depth_below_the_parser_limit_is_judged_without_harm(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = {"a": [value]}
    schema = {"properties": {"p": {"enum": [1, {"a": [1]}]}, "q": {"uniqueItems": True}}}
    plan = Project(contracts=(Contract(name="E", schema=schema, on_violation="flag"),))
    prepared = prepare(plan, track(p=value, q=[value, value]))
    assert prepared.batch.ids == [] and prepared.refused[0].reason in ("too_deep", "contract: E.p enum")


def test_a_record_that_breaks_its_contract_everywhere_is_told_of_briefly() -> None:
    plan = project(
        "contract: E\nactions: { undeclared_field: flag }\nschema: { properties: { p: { items: { type: string } } } }\n"
    )
    many = prepare(plan, track(**{f"x{n}": n for n in range(20_000)}))
    assert len(many.batch.bodies) == 1
    assert len(json.loads(many.batch.bodies[0])["flags"]) == 21
    long = prepare(plan, track(p=[1] * 100_000))
    assert [refused.reason for refused in long.refused] == ["contract: E.p type"]
    assert len(long.refused[0].detail) < 1_000


def test_names_and_values_are_quoted_briefly() -> None:
    plan = project(
        "contract: E\nproperties: { p: { type: string, max_length: 3 } }\nactions: { undeclared_field: quarantine }\n"
    )
    [refused] = prepare(plan, track(p="x" * 100_000, **{"y" * 100_000: 1})).refused
    assert len(refused.detail) < 500 and len(refused.reason) < 100


def test_numbers_beyond_64_bits_are_judged() -> None:
    checker = ContractChecker(project("contract: E\nproperties: { a: { type: integer, maximum: 10 } }\n"))
    assert [v.rule for v in checker.check({"type": "track", "event": "E", "properties": {"a": 10**40}})] == ["maximum"]
