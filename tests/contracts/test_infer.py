"""Drafts of contracts from what the log holds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cadenza.definitions.contract_text import as_yaml
from cadenza.definitions.load import load
from cadenza.ports.ledger import Record
from cadenza.runtime import contract_infer
from cadenza.runtime.contract_infer import Draft, infer
from cadenza.runtime.contracts import ContractChecker
from tests.contracts.kit import written


def record(n: int, body: dict[str, Any]) -> Record:
    return Record(offset=n, recorded_at=n, writer="w", kind="call", source="s", message_id=str(n), imported=False,
                  body=msgspec.json.encode(body))  # fmt: skip


def drafted(*bodies: dict[str, Any], **more: Any) -> Draft:
    return infer((record(n, body) for n, body in enumerate(bodies)), **more)


def event(name: str = "E", /, **properties: Any) -> dict[str, Any]:
    return {"type": "track", "event": name, "properties": properties}


def text(draft: Draft) -> str:
    return as_yaml(draft.contracts, draft.remarks)


def test_a_draft_as_it_is_printed() -> None:
    bodies = [
        event(order_id=f"o-{n}", revenue=n / 2, quantity=n % 3, currency=["GBP", "EUR"][n % 2], placed_at="2026-01-01T00:00:00Z",
              email=f"u{n}@shop.example", paid=True, items=[{"sku": 1}], note=n if n % 2 else "text", **{"odd name": "x"},
              ref="6f1c1c1e-7a1e-4f6e-9b1a-0123456789ab", **({"gift": {}} if n < 6 else {}))
        for n in range(60)
    ]  # fmt: skip
    assert (
        text(drafted(*bodies))
        == """\
contract: E
properties:
  currency: {type: string, required: true, enum: [EUR, GBP]} # in 100 % of 60
  email: {type: string, required: true, format: email, sensitivity: personal} # in 100 % of 60
  gift: {type: object} # in 10.0 % of 60
  items: {type: array, required: true} # in 100 % of 60
  order_id: {type: string, required: true} # in 100 % of 60
  paid: {type: boolean, required: true} # in 100 % of 60
  placed_at: {type: timestamp, required: true} # in 100 % of 60
  quantity: {type: integer, required: true, minimum: 0} # in 100 % of 60; 0 to 2
  ref: {type: string, required: true, format: uuid} # in 100 % of 60
  revenue: {type: decimal, required: true, minimum: 0} # in 100 % of 60; 0 to 29.5
schema:
  properties:
    note: {type: [integer, string]} # in 100 % of 60; integer 50.0 %, string 50.0 %; 1 to 59
    odd name: {type: string} # in 100 % of 60
  required: [note, odd name]
on_violation: flag
"""
    )


@pytest.mark.parametrize(
    ("name", "value", "sensitivity"),
    [
        ("firstName", "Ada", "personal"), ("Phone_Number", "x", "personal"), ("contact", "+44 20 7946 0958", "personal"),
        ("login", "a@b.example", "personal"), ("ip", "1.2.3.4", "personal"), ("user_password", "hunter2", "secret"),
        ("apiToken", "t0k", "secret"), ("passport_no", "P123", "sensitive"), ("colour", "red", None), ("filename", "a", None),
    ],
)  # fmt: skip
def test_values_of_fields_that_look_personal_are_never_shown(name: str, value: str, sensitivity: str | None) -> None:
    draft = drafted(*(event(**{name: value}) for _ in range(100)))
    [field] = draft.contracts[0].properties.values()
    assert field.sensitivity == sensitivity
    assert (value in text(draft)) == (sensitivity is None)


def test_the_range_of_a_personal_number_is_not_shown() -> None:
    assert "1977" not in text(drafted(*(event(birth_year=1977) for _ in range(100))))


def test_what_is_seen_rarely_is_not_called_required_or_an_enum() -> None:
    [contract] = drafted(*(event(a="x") for _ in range(19))).contracts
    assert not contract.properties["a"].required and contract.properties["a"].enum == ()


def test_calls_and_their_traits() -> None:
    draft = drafted(
        {"type": "identify", "traits": {"plan": "free"}}, {"type": "group", "properties": {"seats": 5}},
        {"type": "page", "properties": {"path": "/", "section": "a"}}, {"type": "alias"},
        event("identify", x=1), event("Email Opened", message_id="m", client="x"),
    )  # fmt: skip
    assert {c.name: sorted(c.properties) for c in draft.contracts} == {
        "identify": ["plan"], "group": ["seats"], "page": ["section"], "Email Opened": ["client"],
    }  # fmt: skip
    assert draft.left_out == ("1 records of events that are named as a call is",)


def test_only_and_but() -> None:
    bodies = [event(name, a=1) for name in "ABC"]
    assert [c.name for c in drafted(*bodies, but=frozenset("B")).contracts] == ["A", "C"]
    assert [c.name for c in drafted(*bodies, only=frozenset("B")).contracts] == ["B"]


def test_memory_is_bounded_and_what_is_left_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract_infer, "MOST_EVENTS", 3)
    monkeypatch.setattr(contract_infer, "MOST_FIELDS", 2)
    draft = drafted(*(event(f"n{n}", a=1) for n in range(10)), event("n0", b=1, c=2, **{"d" * 101: 1}))
    assert [c.name for c in draft.contracts] == ["n0", "n1", "n2"]
    assert sorted(draft.contracts[0].properties) == ["a", "b"]
    assert draft.left_out == ("7 records of further events", "2 values of further fields")


NAMES = st.sampled_from(["a", "A", "b", "reason", "channel", "odd name", "x.y", "ünï", "email", '"q"', "no", "1"])
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.floats(-1e6, 1e6), st.text(max_size=8),
    st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01", "a@b.example", "1.2.3.4", "no", "1", "null"]),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
BODIES = st.builds(
    lambda call, name, held: {"type": call, "event": name if call == "track" else None,
                              ("traits" if call == "identify" else "properties"): held},
    st.sampled_from(["track", "track", "identify", "group", "page"]), st.sampled_from(["E", "F", "It's: \"E\"", "Email Opened"]),
    st.dictionaries(NAMES, VALUES, max_size=4),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(BODIES, min_size=1, max_size=30))
def test_every_record_keeps_the_draft_made_of_it(bodies: list[dict[str, Any]]) -> None:
    """The draft, printed, is a project without a problem, and judges what it was made of as right."""
    draft = drafted(*bodies)
    assert drafted(*bodies) == draft
    with tempfile.TemporaryDirectory() as folder:
        project = load(written(Path(folder), text(draft))).project
    assert project.contracts == tuple(sorted(draft.contracts, key=lambda contract: contract.name))
    checker = ContractChecker(project)
    drafted_names = {contract.name for contract in draft.contracts}
    for body in bodies:
        if (body["event"] or body["type"]) in drafted_names - {"Email Opened", "page"}:
            held = body.get("traits") or body.get("properties")
            seen = {"type": body["type"], "event": body["event"], "traits": held, "properties": held}
            assert [str(v.message) for v in checker.check(seen)] == []
