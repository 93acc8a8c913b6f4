"""What a contract says is done where a rule is broken: per contract, per kind of rule, per field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cadenza.definitions.kinds import Contract, Property, RuleActions
from cadenza.definitions.project import Project
from cadenza.runtime.contracts import ContractChecker
from tests.collect.asgi import site
from tests.contracts.kit import prepare, project, stored, track

FIELDS = "properties: { a: { type: integer, required: true, minimum: 0 }, b: { type: string, enum: [x] } }"
BROKEN: dict[str, dict[str, Any]] = {
    "missing": {"b": "x"},
    "type": {"a": 1, "b": 5},
    "value": {"a": 1, "b": "y"},
    "undeclared_field": {"a": 1, "c": 1},
}
"""Properties that break one kind of rule each."""


def outcome(plan: Project, call: dict[str, Any]) -> str:
    """``keep`` with the fields that are left, ``flag`` with them and the flags, ``quarantine``, or ``reject``."""
    prepared = prepare(plan, call)
    assert len(prepared.batch.ids) + len(prepared.refused) + len(prepared.rejected) == 1
    if prepared.refused:
        return "quarantine"
    if prepared.rejected:
        return "reject"
    [body] = stored(prepared)
    left = ",".join(sorted(body.get("properties", {})))
    return f"flag {left}" if body.get("flags") else f"keep {left}"


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize(
    ("action", "expected"),
    [("flag", "flag"), ("quarantine", "quarantine"), ("reject", "reject"), ("drop_field", "flag")],
)
def test_each_action_for_each_kind_of_rule(kind: str, action: str, expected: str) -> None:
    others = {"flag": "quarantine", "quarantine": "flag"}.get(action, "quarantine")
    plan = project(f"contract: E\n{FIELDS}\non_violation: {others}\nactions: {{ {kind}: {action} }}\n")
    left = set(BROKEN[kind]) - ({"b", "c"} if action == "drop_field" and kind != "missing" else set())
    kept = f"{expected} {','.join(sorted(left))}" if expected == "flag" else expected
    assert outcome(plan, track(**BROKEN[kind])) == kept


@pytest.mark.parametrize("kind", ["missing", "type", "value"])
def test_without_an_action_the_contract_decides(kind: str) -> None:
    for default, expected in (("flag", "flag"), ("quarantine", "quarantine"), ("reject", "reject")):
        plan = project(f"contract: E\n{FIELDS}\non_violation: {default}\n")
        assert outcome(plan, track(**BROKEN[kind])).startswith(expected)


def test_undeclared_fields_are_kept_unless_the_contract_says_otherwise() -> None:
    assert outcome(project(f"contract: E\n{FIELDS}\n"), track(a=1, c=1)) == "keep a,c"


def test_the_field_decides_before_the_rule_and_the_rule_before_the_contract() -> None:
    fields = "properties: { a: { type: integer, on_violation: drop_field }, b: { type: integer } }"
    plan = project(f"contract: E\n{fields}\nactions: {{ type: flag }}\non_violation: reject\n")
    assert outcome(plan, track(a="1", c=1)) == "flag c"
    assert outcome(plan, track(b="1")) == "flag b"


def test_the_gravest_action_decides() -> None:
    plan = project(f"contract: E\n{FIELDS}\nactions: {{ missing: flag, type: quarantine, value: reject }}\n")
    assert outcome(plan, track()) == "flag "
    assert outcome(plan, track(b=5)) == "quarantine"
    assert outcome(plan, track(a=-1, b=5)) == "reject"


def test_a_dropped_field_is_named_on_the_record_and_gone_from_it() -> None:
    plan = project(f"contract: E\n{FIELDS}\nactions: {{ value: drop_field, undeclared_field: drop_field }}\n")
    [body] = stored(prepare(plan, track(a=1, b="y", card="4111 1111 1111 1111")))
    assert body["properties"] == {"a": 1}
    assert body["flags"] == ["contract: E.b enum, dropped", "contract: E.card additionalProperties, dropped"]
    assert "4111" not in json.dumps(body)


def test_what_is_set_aside_is_set_aside_whole() -> None:
    plan = project(f"contract: E\n{FIELDS}\nactions: {{ undeclared_field: drop_field }}\n")
    [refused] = prepare(plan, track(a="1", c=1)).refused
    assert json.loads(refused.body)["properties"] == {"a": "1", "c": 1}


def test_a_record_all_of_whose_fields_are_dropped_is_kept_without_any() -> None:
    plan = project("contract: E\nactions: { undeclared_field: drop_field }\n")
    [body] = stored(prepare(plan, track(x=1)))
    assert "properties" not in body


@pytest.mark.parametrize("action", ["allow", "flag", "quarantine", "reject"])
def test_events_that_no_contract_speaks_of(action: str) -> None:
    plan = project("contract: Other\n", head=f"undeclared_events: {action}")
    expected = {"allow": "keep x", "flag": "flag x"}.get(action, action)
    assert outcome(plan, track(x=1)) == expected
    assert outcome(plan, track(x=1) | {"event": "Other"}) == "keep x"
    assert outcome(plan, track(x=1) | {"event": "Email Opened", "properties": {"message_id": "m"}}) == "keep message_id"
    assert prepare(plan, {"type": "identify", "userId": "u"}).batch.ids, "only track events are meant"


def test_reasons_are_few_whatever_senders_make_up() -> None:
    """Reasons are counted in the log, so a sender must not be able to invent any."""
    plan = project(
        f"contract: E\n{FIELDS}\nactions: {{ undeclared_field: reject }}\n", head="undeclared_events: reject"
    )
    reasons = {prepare(plan, track(a=1, **{f"x{n}": 1})).rejected[0].reason for n in range(5)}
    assert reasons == {"contract: E.* additionalProperties"}
    assert {prepare(plan, track() | {"event": f"n{n}"}).rejected[0].reason for n in range(5)} == {"undeclared_event"}


def test_traits_of_identify_and_group_lose_fields_too() -> None:
    plan = project("contracts: { identify: { actions: { undeclared_field: drop_field }, properties: { a: { type: string } } },"
                   " group: { actions: { undeclared_field: drop_field }, properties: { a: { type: string } } } }")  # fmt: skip
    shared = {"traits": {"a": "1", "b": "2"}}
    calls = [{"type": "identify", "userId": f"u{n}", "context": shared} for n in range(2)]
    group = {"type": "group", "userId": "u", "groupId": "g", "traits": {"a": "1", "b": "2"}}
    *people, account = stored(prepare(plan, *calls, group))
    assert [body["traits"] for body in people] == [{"a": "1"}] * 2
    assert account["properties"] == {"a": "1"}
    assert all(body["flags"] == ["contract: identify.b additionalProperties, dropped"] for body in people)


def test_a_track_event_named_as_a_call_is_not_judged_as_that_call() -> None:
    plan = project("contract: identify\nproperties: { email: { type: string, required: true } }\n")
    assert outcome(plan, track(x=1) | {"event": "identify"}) == "keep x"


def test_a_page_contract_is_the_one_of_page_viewed() -> None:
    plan = project("contract: page\nproperties: { section: { type: string, required: true } }\n")
    assert (
        prepare(plan, {"type": "page", "anonymousId": "a"}).refused[0].reason
        == "contract: Page Viewed.section required"
    )


# --- the context ----------------------------------------------------------------------------------


def test_the_context_is_judged_once_and_marks_every_call_that_carries_it() -> None:
    plan = project(
        "contract: context\nproperties: { ip: { type: string, on_violation: drop_field }, app: { type: object } }\n"
        "actions: { type: flag }\n"
    )
    calls = [track(n=n) | {"context": {"ip": 5, "app": "x"}} for n in range(2)] + [
        track(n=3) | {"context": {"ip": "1"}}
    ]
    first, second, third = stored(prepare(plan, *calls))
    assert first["flags"] == second["flags"] == ["contract: context.ip type, dropped", "contract: context.app type"]
    assert first["context"] == second["context"] == {"app": "x"}
    assert "flags" not in third and third["context"] == {"ip": "1"}


@pytest.mark.parametrize("context", [{}, {"context": None}, {"context": {}}, {"context": {"x": 1}}])
def test_a_context_that_lacks_what_is_required(context: dict[str, Any]) -> None:
    plan = project("contract: context\nproperties: { library: { type: object, required: true } }\n")
    assert outcome(plan, track(a=1) | context) == "quarantine"
    assert prepare(plan, track(a=1), context={"library": {}}).batch.ids, "a batch may carry the context of its calls"


def test_context_and_event_may_both_be_flagged() -> None:
    plan = project("contracts: { context: { on_violation: flag, properties: { ip: { type: string } } },"
                   " E: { on_violation: flag, properties: { a: { type: string } } } }")  # fmt: skip
    [body] = stored(prepare(plan, track(a=1) | {"context": {"ip": 1}}))
    assert body["flags"] == ["contract: context.ip type", "contract: E.a type"]


# --- rejecting over HTTP -----------------------------------------------------------------------------

REJECTING = Project(contracts=(
    Contract(name="E", properties={"a": Property(type="integer", required=True),
                                   "pin": Property(type="string", sensitivity="secret", max_length=2)},
             actions=RuleActions(missing="reject", value="reject")),
))  # fmt: skip


def test_a_single_rejected_call_is_told_so_and_only_counted(tmp_path: Any) -> None:
    with site(tmp_path, REJECTING) as web:
        answer = web.send("/v1/track", track(b=1))
        assert answer.status == 400
        assert answer.json == {"code": "contract", "message": "E: a is required and missing."}
        secret = web.send("/v1/track", track(a=1, pin="12345"))
        assert secret.status == 400 and "12345" not in secret.body.decode()
        assert web.stored() == []
        counts = web.log.stored_counts()
        assert (counts.received, counts.rejected, counts.stored, counts.quarantined) == (2, 2, 0, 0)


def test_a_single_undeclared_event_that_is_rejected_is_told_so(tmp_path: Any) -> None:
    with site(tmp_path, Project(undeclared_events="reject")) as web:
        answer = web.send("/v1/track", track())
        assert (answer.status, answer.json) == (
            400,
            {"code": "contract", "message": "No contract speaks of the event 'E'."},
        )
        assert web.stored() == [] and web.log.stored_counts().rejected == 1


def test_in_a_batch_the_rest_is_stored(tmp_path: Any) -> None:
    with site(tmp_path, REJECTING) as web:
        calls = [track(a=1) | {"messageId": "1"}, track() | {"messageId": "2"}, track(a="x") | {"messageId": "3"}]
        assert web.send("/v1/batch", {"batch": calls}).status == 200
        assert len(web.stored()) == 1
        counts = web.log.stored_counts()
        assert (counts.received, counts.rejected, counts.stored, counts.quarantined) == (3, 1, 1, 1)
        assert web.send("/v1/batch", {"batch": [track()]}).status == 200, (
            "nothing but rejected calls is no error either"
        )


# --- whatever the acceptor says -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*BROKEN, None])
def test_the_acceptor_and_the_check_agree(kind: str | None) -> None:
    actions = "{ missing: flag, type: drop_field, value: reject, undeclared_field: quarantine }"
    checker = ContractChecker(project(f"contract: E\n{FIELDS}\nactions: {actions}\n"))
    fields = BROKEN[kind] if kind else {"a": 1, "b": "x"}
    accepts = checker.acceptor("track", "E")
    assert accepts is not None
    assert (
        accepts(fields)
        == (kind is None)
        == (checker.check({"type": "track", "event": "E", "properties": fields}) == [])
    )
