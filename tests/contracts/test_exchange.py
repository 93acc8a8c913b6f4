"""Contracts in other formats: out and back again, and what other tools write."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cadenza.definitions import odcs, segment_plan
from cadenza.definitions.contract_fields import json_schema
from cadenza.definitions.contract_text import as_yaml, plain_yaml
from cadenza.definitions.json_schema import compiled
from cadenza.definitions.kinds import Contract, Property, RuleActions
from cadenza.definitions.load import load
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError
from cadenza.runtime.contract_book import ContractBook
from cadenza.surfaces.cli import main
from tests.contracts.kit import written

ACTIONS = st.sampled_from(["flag", "drop_field", "quarantine", "reject"])
WORDS = st.text("abc: #'\"{}\n-&*!|>%@`é", max_size=8).map(str.strip)
SAID: dict[str, Any] = {
    "required": st.booleans(), "personal": st.just(False), "sensitivity": st.sampled_from([None, "public", "personal", "secret"]),
    "purposes": st.sampled_from([(), ("marketing", "service")]), "owner": st.sampled_from(["", "data@shop.example"]),
    "description": WORDS, "on_violation": st.none() | ACTIONS,
}  # fmt: skip
BOUNDS = st.none() | st.sampled_from([0.0, 1.5, -3.0])
PROPERTIES = st.one_of(
    st.builds(Property, type=st.just("string"), enum=st.sampled_from([(), ("a", "no", "1")]), pattern=st.sampled_from([None, "^[a-z]+: #$"]),
              format=st.sampled_from([None, "email", "date"]), max_length=st.none() | st.integers(1, 9), **SAID),
    st.builds(Property, type=st.sampled_from(["integer", "decimal"]), minimum=BOUNDS, maximum=st.none(), **SAID),
    st.builds(Property, type=st.sampled_from(["boolean", "timestamp", "object", "array"]), **(SAID | {"personal": st.just(True), "sensitivity": st.none()})),
)  # fmt: skip
SCHEMAS: list[dict[str, Any]] = [
    {},
    {"properties": {"items": {"type": "array", "items": {"$ref": "#/$defs/item"}}, "definitions": {"enum": [1, "a", None]}},
     "required": ["items"], "$defs": {"item": {"type": "object", "properties": {"sku": {"pattern": "^A"}, "id": {"const": {"$ref": "#"}}}}}},
    {"dependentRequired": {"a": ["b"]}, "minProperties": 1, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
]  # fmt: skip
CONTRACTS = st.builds(
    Contract, name=st.sampled_from(["Order Completed", "identify", "group", "context", "Page Viewed", "It's: \"x\""]),
    version=st.sampled_from(["", "1.2.0"]), compatibility=st.sampled_from(["none", "full"]), owner=st.sampled_from(["", "data@shop.example"]),
    description=WORDS, properties=st.dictionaries(st.sampled_from(["a", "b_2", "Total", "no", "id"]), PROPERTIES, max_size=4),
    schema=st.sampled_from(SCHEMAS), on_violation=ACTIONS,
    actions=st.builds(RuleActions, missing=st.none() | ACTIONS, undeclared_field=st.none() | ACTIONS),
)  # fmt: skip


def through_json(contract: Contract) -> Any:
    plan = json.loads(json.dumps(segment_plan.write("shop", [contract])))
    return segment_plan.read(plan)


def through_odcs(contract: Contract) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "plan.yaml")
        path.write_text(plain_yaml(odcs.write("shop", [contract])))
        text = ContractBook(Path(folder), Project, lambda: None).read(path, "odcs").text  # type: ignore[arg-type, return-value]
        return load(written(Path(folder) / "again", text)).project


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CONTRACTS)
def test_out_as_a_tracking_plan_and_back(contract: Contract) -> None:
    found = through_json(contract)
    assert found.contracts == (contract,) and found.notes == ()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CONTRACTS)
def test_out_as_odcs_and_back_through_the_text_of_definitions(contract: Contract) -> None:
    """Both ways at once: what is imported is printed as definitions, and those are read by the loader."""
    assert through_odcs(contract).contracts == (contract,)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CONTRACTS)
def test_definitions_are_written_as_they_are_read(contract: Contract) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert load(written(Path(folder), as_yaml([contract]))).project.contracts == (contract,)


SEGMENT = {
    "data": {"trackingPlan": {"name": "Shop", "rules": [
        {"type": "TRACK", "key": "Order Completed", "version": 1, "jsonSchema": {
            "$schema": "http://json-schema.org/draft-07/schema#", "description": "Bought.", "type": "object",
            "properties": {
                "context": {}, "traits": {"type": "object"},
                "properties": {
                    "type": "object", "required": ["order_id"], "additionalProperties": False,
                    "properties": {
                        "order_id": {"type": ["string"], "description": "The id."}, "total": {"type": "number", "minimum": 0},
                        "email": {"type": "string", "format": "email"}, "paid at": {"type": "string"},
                        "items": {"type": "array", "items": {"$ref": "#/definitions/item"}}, "pair": {"items": [{"type": "string"}]},
                    },
                },
            },
            "definitions": {"item": {"id": "#item", "type": "object", "dependencies": {"a": ["b"]}}},
        }},
        {"type": "IDENTIFY", "version": 2, "jsonSchema": {"properties": {"traits": {"properties": {"plan": {"type": "string"}}}}}},
        {"type": "COMMON", "jsonSchema": {"properties": {"context": {"properties": {"ip": {"type": "string"}}}, "event": {"type": "string"}}}},
    ]}}
}  # fmt: skip


def test_a_plan_of_the_public_api() -> None:
    found = segment_plan.read(SEGMENT)
    context, identify, order = sorted(found.contracts, key=lambda c: c.name.lower())
    assert (order.name, order.description, order.actions.undeclared_field) == ("Order Completed", "Bought.", "flag")
    assert order.properties == {
        "total": Property(type="decimal", minimum=0),
        "email": Property(type="string", format="email"),
    }
    assert order.schema["$defs"] == {"item": {"type": "object", "dependentRequired": {"a": ["b"]}}}
    assert order.schema["properties"]["items"] == {"type": "array", "items": {"$ref": "#/$defs/item"}}
    assert order.schema["properties"]["pair"] == {"prefixItems": [{"type": "string"}]}
    assert order.schema["required"] == ["order_id"]
    assert identify.properties == {"plan": Property(type="string")} and context.properties == {
        "ip": Property(type="string")
    }
    assert found.notes == ("'context': what is said of 'event' is not taken over.",)
    checks = compiled(json_schema(order))
    assert checks.is_valid({"order_id": "1", "items": [{"a": 1, "b": 2}], "paid at": "x"})
    assert not checks.is_valid({"order_id": "1", "items": [{"a": 1}]}) and not checks.is_valid(
        {"order_id": "1", "other": 1}
    )


def test_a_plan_of_the_older_api() -> None:
    rules = {"events": [{"name": "A", "description": "d", "rules": {"properties": {"properties": {"properties": {"x": {"type": "integer"}}}}}}],
             "identify": {"properties": {"traits": {"properties": {"y": {"type": "boolean"}}}}}, "global": {}}  # fmt: skip
    assert segment_plan.read({"rules": rules}).contracts == (
        Contract(name="A", description="d", properties={"x": Property(type="integer")}),
        Contract(name="identify", properties={"y": Property(type="boolean")}),
    )


ODCS = """
apiVersion: v3.1.0
kind: DataContract
id: 53581432-6c55-4ba2-a65f-72344a91553a
version: 2.0.0
status: active
team: { name: data@shop.example }
slaProperties: [ { property: latency, value: 4 } ]
schema:
  - name: Order Completed
    logicalType: object
    description: Bought.
    properties:
      - { name: order_id, logicalType: string, required: true, logicalTypeOptions: { maxLength: 64, minLength: 1 } }
      - name: currency
        logicalType: string
        classification: Public
        quality: [ { metric: invalidValues, arguments: { validValues: [GBP, EUR] }, mustBe: 0 } ]
      - { name: email, logicalType: string, classification: confidential }
      - { name: ordered_on, logicalType: date, classification: top }
      - { name: placed_at, logicalType: timestamp, logicalTypeOptions: { format: yyyy-MM-dd } }
      - { name: total, logicalType: number, logicalTypeOptions: { minimum: 0, format: f64 } }
      - { name: anything }
      - name: lines
        logicalType: array
        items: { logicalType: object, properties: [ { name: sku, logicalType: string, required: true } ] }
"""


def test_a_document_of_another_tool(tmp_path: Path) -> None:
    path = tmp_path / "orders.yaml"
    path.write_text(ODCS)
    found = ContractBook(tmp_path, Project, lambda: None).read(path, "odcs")  # type: ignore[arg-type, return-value]
    [order] = load(written(tmp_path / "p", found.text)).project.contracts
    assert (order.name, order.owner, order.description) == ("Order Completed", "data@shop.example", "Bought.")
    assert order.properties == {
        "currency": Property(type="string", enum=("GBP", "EUR"), sensitivity="public"),
        "email": Property(type="string", sensitivity="sensitive"), "ordered_on": Property(type="string", format="date"),
        "placed_at": Property(type="timestamp"), "total": Property(type="decimal", minimum=0),
    }  # fmt: skip
    assert order.schema["properties"]["order_id"] == {"type": "string", "maxLength": 64, "minLength": 1}
    assert order.schema["properties"]["lines"]["items"]["required"] == ["sku"]
    assert found.notes == (
        "'Order Completed.ordered_on': the classification 'top' is not one of ours.",
        "'Order Completed.anything' has no logicalType; any value is allowed.",
        "'slaProperties' of the document is not taken over.",
    )


@pytest.mark.parametrize(
    ("form", "text", "said"),
    [
        ("segment", "{", "this is not JSON"),
        ("segment", "[1]", "it has no 'rules'"),
        ("segment", '{"rules": [{"type": "TRACK"}]}', "has no 'jsonSchema'"),
        ("segment", '{"rules": [{"type": "X", "jsonSchema": {}}]}', "'X' is not a type of rule"),
        ("segment", '{"rules": [{"type": "TRACK", "jsonSchema": {}}]}', "has no 'key'"),
        ("segment", '{"rules": {"events": [5]}}', "does not have the form of a tracking plan"),
        ("segment", '{"rules": [{"key": "E", "jsonSchema": {"x-cadenza": {"compatibility": "x"}}}]}', "cannot be read"),
        ("segment", '{"rules": [{"key": "E", "jsonSchema": ' + '{"not":' * 100 + "{}" + "}" * 100 + "}]}", "nests more than 60 levels"),
        ("segment", "[" * 100_000, "this is not JSON"),
        ("odcs", "a: [", "line 1: The file is not valid YAML"),
        ("odcs", "a: 1\n", "this is not an ODCS data contract"),
        ("odcs", "kind: DataContract\napiVersion: v2.2.2\n", "ODCS v2.2.2 is not read"),
        ("odcs", "kind: DataContract\napiVersion: v3.1.0\nschema: [5]\n", "has no 'name'"),
        ("odcs", "kind: DataContract\napiVersion: v3.1.0\n---\na: 1\n", "one YAML document is expected; there are 2"),
        ("odcs", "kind: DataContract\napiVersion: v3.1.0\nschema: [{name: E, properties: 5}]\n", "does not have the form of an ODCS document"),
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_told(tmp_path: Path, form: Any, text: str, said: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(CadenzaError, match=said) as caught:
        ContractBook(tmp_path, Project, lambda: None).read(path, form)  # type: ignore[arg-type, return-value]
    assert caught.value.where == str(path)


# --- on the command line --------------------------------------------------------------------------------

PLAN = """contract: Order Completed
version: 1.0.0
owner: data@shop.example
properties:
  order_id: { type: string, required: true, purposes: [service] }
  email: { type: string, sensitivity: personal, description: Where the receipt goes. }
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    written(tmp_path, PLAN, segments__s="segment: s\nwhen: max_of('Order Completed', order_id) = 'x'\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["contracts", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_list_and_show(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "list")
    assert code == 0 and "Order Completed" in out and "data@shop.example" in out
    _, out, _ = said(capsys, "show", "Order Completed")
    assert "segment s" in out and "personal" in out and "service" in out
    _, out, _ = said(capsys, "show", "Order Completed", "--json")
    shown = json.loads(out)
    assert [(f["name"], f["sensitivity"], f["personal"]) for f in shown["fields"]] == [
        ("order_id", "internal", False),
        ("email", "personal", True),
    ]
    assert shown["schema"]["required"] == ["order_id"]
    code, _, err = said(capsys, "show", "Order Complete")
    assert code == 1 and "Did you mean 'Order Completed'?" in err


@pytest.mark.parametrize("form", ["odcs", "segment"])
def test_out_and_in_again(shop: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    before = load(shop).project.contracts
    _, out, _ = said(capsys, "export", "--format", form)
    (shop / "taken.txt").write_text(out)
    (shop / "contracts" / "plan.yaml").unlink()
    code, _, err = said(capsys, "import", "taken.txt", "--format", form, "--write")
    assert code == 0 and "Wrote 1 contracts" in err
    assert load(shop).project.contracts == before
    code, _, err = said(capsys, "import", "taken.txt", "--format", form, "--write")
    assert code == 3 and "There is such a file already" in err.replace("there", "There")
    code, out, _ = said(capsys, "import", "taken.txt", "--format", form)
    assert code == 0 and "contract: Order Completed" in out


def test_infer_from_an_empty_log(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "infer")
    assert (code, out) == (0, "# A draft made of 0 records: read it before you use it.\n")
    code, out, _ = said(capsys, "infer", "--json", "--since", "2026-01-01", "--source", "web", "--new")
    assert json.loads(out)["contracts"] == 0
