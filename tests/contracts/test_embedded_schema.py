"""JSON Schema inside a contract: what it judges, what conditions see of it, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from cadenza.definitions.contract_fields import declared
from cadenza.definitions.typecheck import event_properties, property_types
from cadenza.runtime.contracts import ContractChecker
from tests.contracts.kit import complaints, contract, prepare, project, track

ORDER = """contract: E
properties:
  order_id: { type: string, required: true }
schema:
  properties:
    revenue: { type: number, exclusiveMinimum: 0, description: What was paid. }
    placed_at: { type: string, format: date-time }
    products:
      type: array
      minItems: 1
      items: { $ref: '#/$defs/product' }
    "odd name": { type: string }
    either: { type: [string, integer] }
    maybe: { type: [string, "null"] }
  dependentRequired: { revenue: [placed_at] }
  $defs:
    product:
      type: object
      required: [sku]
      properties: { sku: { type: string, pattern: '^[A-Z]{2}-[0-9]+$' } }
"""
GOOD = {"order_id": "1", "revenue": 5, "placed_at": "2026-01-01T00:00:00Z", "products": [{"sku": "AB-1"}]}


def reasons(text: str, **properties: Any) -> list[str]:
    body = {"type": "track", "event": "E", "properties": properties}
    return sorted(violation.reason for violation in ContractChecker(project(text)).check(body))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, []),
        ({"order_id": None}, ["contract: E.order_id required"]),
        ({"revenue": 0}, ["contract: E.revenue exclusiveMinimum"]),
        ({"placed_at": ""}, ["contract: E.placed_at required"]),
        ({"products": [{"sku": "AB-1"}, {"sku": "ab"}]}, ["contract: E.products pattern"]),
        ({"products": [{}]}, ["contract: E.products required"]),
        ({"products": []}, ["contract: E.products minItems"]),
        ({"odd name": 5, "other": [None]}, ["contract: E.odd name type"]),
    ],
)
def test_short_form_and_schema_hold_together(change: dict[str, Any], reason: list[str]) -> None:
    assert reasons(ORDER, **(GOOD | change)) == reason


def test_a_schema_alone_is_a_contract() -> None:
    text = "contract: E\nschema: { type: object, required: [a], properties: { a: { $ref: '#/$defs/x' } }, $defs: { x: { const: 1 } } }"
    assert reasons(text, a=1) == []
    assert reasons(text, a=2) == ["contract: E.a const"]
    assert reasons(text) == ["contract: E.a required"]


def test_fields_of_the_schema_are_declared_where_their_type_is_plain() -> None:
    fields = declared(contract(ORDER))
    assert {name: field.type for name, field in fields.items()} == {
        "order_id": "string", "revenue": "decimal", "placed_at": "timestamp", "products": "array", "maybe": "string",
    }  # fmt: skip
    assert fields["revenue"].description == "What was paid."
    plan = project(ORDER)
    assert event_properties(plan)["E"]["revenue"] == "decimal"
    assert property_types(plan)["placed_at"] == "timestamp"
    assert "products" not in property_types(plan)


def test_conditions_are_checked_against_the_schema() -> None:
    told = complaints(ORDER, segments__s="segment: s\nwhen: sum_of('E', revenu) > 5\n")
    assert told == ["segments/s.yaml:2: 'E' has no property 'revenu' in its contract. Did you mean 'revenue'?"]
    assert complaints(ORDER, segments__s="segment: s\nwhen: sum_of('E', revenue) > 5\n") == []


def test_undeclared_fields_are_those_in_neither() -> None:
    text = ORDER + "  patternProperties: { ^x_: { type: integer } }\nactions: { undeclared_field: drop_field }\n"
    [body] = [*prepare(project(text), track(**GOOD, x_1=1, other=1)).batch.bodies]
    assert b"x_1" in body and b'"other"' not in body
    assert prepare(project(text), track(**GOOD, x_1="1")).refused


def embedded(schema: str) -> list[str]:
    return complaints(f"contract: E\nschema:\n  {schema}\n")


AT = "contracts/plan.yaml:3: "


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ("$ref: http://example.com/order.json",
         "'http://example.com/order.json' lies outside the schema; nothing is fetched. Copy it below '$defs' and refer to it there."),
        ("$ref: file:///etc/passwd",
         "'file:///etc/passwd' lies outside the schema; nothing is fetched. Copy it below '$defs' and refer to it there."),
        ("$ref: other.json#/a", "'other.json#/a' lies outside the schema; nothing is fetched. Copy it below '$defs' and refer to it there."),
        ("{ $ref: '#/$defs/mony', $defs: { money: {} } }", "There is no '#/$defs/mony'. Did you mean '#/$defs/money'?"),
        ("$ref: '#money'", "'#money' is not a place. Refer by place, for example '#/$defs/money'."),
        ("{ $ref: '#/required', required: [a] }", "'#/required' is not a subschema. Refer to one below '$defs'."),
        ("$id: http://example.com/", "'$id' is not read in a contract's schema. Leave it out: a contract's schema is known by the contract's name."),
        ("$schema: http://json-schema.org/draft-07/schema#",
         "Only JSON Schema 2020-12 is read ('$schema: https://json-schema.org/draft/2020-12/schema', on top). Leave it out."),
        ("definitions: { a: {} }", "'definitions' is not read in a contract's schema. Write '$defs', as JSON Schema 2020-12 has it."),
        ("properties: { a: { type: strng } }",
         'This is not JSON Schema: "strng" is not valid under any of the schemas listed in the \'anyOf\' keyword.'),
        ("properties: [a]", 'This is not JSON Schema: ["a"] is not of type "object".'),
        ("type: string", "The fields of a record are an object; this schema refuses every record. Write 'type: object', or leave it out."),
        ("{ $ref: '#/$defs/a', $defs: { a: { items: { $ref: '#/$defs/a' } } } }",
         "The reference '#/$defs/a' comes back to itself, or goes more than 200 levels deep. Write out as many levels as there are."),
        ("properties: { a: { pattern: '(?=x)' } }",
         "'(?=x)' is not a pattern, or too large a one, or looks around or refers back. Only patterns that take linear time run."),
        ("properties: { a: { minLenght: 5 } }",
         "'minLenght' is not a keyword of JSON Schema 2020-12; it checks nothing. Did you mean 'minLength'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_schema_is_told_with_its_line(schema: str, told: str) -> None:
    [found] = embedded(schema)
    assert found.removeprefix(AT).removeprefix("contracts/plan.yaml:2: ") == told
    assert found.startswith(AT) or "comes back" in told


def test_a_problem_deep_inside_names_its_own_line() -> None:
    text = "contract: E\nschema:\n  properties:\n    a:\n      items:\n        pattern: '['\n"
    assert complaints(text)[0].startswith("contracts/plan.yaml:6: '[' is not a pattern")


def test_a_field_may_not_be_said_in_two_ways() -> None:
    told = complaints(
        "contract: E\nproperties:\n  a: { type: string }\nschema:\n  properties: { a: { type: integer } }\n"
    )
    assert told == ["contracts/plan.yaml:3: 'a' is of type string here and integer in 'schema'. Say it once."]


def test_a_column_has_one_type_also_where_schemas_declare_it() -> None:
    told = complaints(
        "contracts:\n  E: { schema: { properties: { a: { type: integer } } } }\n  F: { properties: { a: { type: string } } }\n"
    )
    assert told == [
        "contracts/plan.yaml:3: The property 'a' is of type string here and integer in 'E'. Rename one of them, or give both the same type."
    ]


@pytest.mark.parametrize(
    "harmless", ["$comment: x", "x-owner: me", "title: T", "properties: { a: { examples: [1] } }", "type: object"]
)
def test_annotations_say_nothing_wrong(harmless: str) -> None:
    assert embedded(harmless) == []
