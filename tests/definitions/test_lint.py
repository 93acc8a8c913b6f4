"""Each warning once, on the starter project, with its place and code; and silence where nothing is off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cadenza.definitions.lint import CODES
from cadenza.definitions.load import Loaded

Files = dict[str, str]
ROOT = Path(__file__).resolve().parents[2]
_CONTRACT, _WELCOME = "contracts/shop.yaml", "journeys/welcome.yaml"


def _journey(name: str, on: str, steps: str, again: str = "once", priority: int = 50) -> str:
    return f"""journey: {name}
owner: o@shop.example
outcome: {{ metric: revenue_28d }}
priority: {priority}
entry: {{ on: {on}, again: {again} }}
exit: {{ goal: event('Order Completed'), disqualified: "false", superseded: true, time_limit: 14 days }}
steps: {steps}
"""


def _told(loaded: Loaded) -> list[tuple[str | None, str, int]]:
    return [(w.code, w.file, w.line) for w in loaded.warnings]


def test_the_starter_is_silent(starter: Files, read: Callable[[Files], Loaded]) -> None:
    assert read(starter).warnings == ()


@pytest.mark.parametrize(
    ("enum", "purpose", "warned"),
    [("[marketing]", "marketing", False), ("[news]", "marketing", True), ("[news, marketing]", "marketing", False)],
)
def test_a_purpose_that_the_contract_does_not_list(
    starter: Files, read: Callable[[Files], Loaded], enum: str, purpose: str, warned: bool
) -> None:
    starter[_CONTRACT] = starter[_CONTRACT].replace(
        "purpose: { type: string, required: true }", f"purpose: {{ type: string, enum: {enum} }}"
    )
    told = _told(read(starter))
    assert told == (
        [("purpose-without-consent", f"templates/{t}_mail.yaml", 3) for t in ("reminder", "welcome")] if warned else []
    )


def test_a_purpose_that_no_condition_names(starter: Files, read: Callable[[Files], Loaded]) -> None:
    """A client may say it, but this is a slip of the pen: 'marketng' beside 'marketing'."""
    starter["templates/reminder_mail.yaml"] = starter["templates/reminder_mail.yaml"].replace("marketing", "marketng")
    (warning,) = read(starter).warnings
    assert (warning.code, warning.file, warning.line) == ("purpose-without-consent", "templates/reminder_mail.yaml", 3)
    assert warning.remedy == "Did you mean 'marketing'?"
    assert str(warning).endswith("[purpose-without-consent]")


def test_a_transactional_purpose_needs_no_consent(starter: Files, read: Callable[[Files], Loaded]) -> None:
    mail = starter["templates/reminder_mail.yaml"].replace(
        "purpose: marketing", "purpose: service\nclass: transactional"
    )
    starter["templates/reminder_mail.yaml"] = mail
    assert read(starter).warnings == ()


@pytest.mark.parametrize(
    ("condition", "unknown", "warned"),
    [
        ("orders >= 1", "[ { wait: 1 hour } ]", True),
        ("in_segment('regulars') and consented('marketing', 'email')", "[ { send: reminder_mail } ]", True),
        ("lifetime_revenue > 5", "[ { wait: 1 hour } ]", True),
        ("orders >= 1", "[ { exit: completed } ]", False),
        ("orders >= 1", "[]", False),
        ("older_than(last_order_at, '1 day')", "[ { wait: 1 hour } ]", False),
        ("first_name = 'Ada'", "[ { wait: 1 hour } ]", False),
    ],
)
def test_an_unknown_arm_that_is_never_taken(
    starter: Files, read: Callable[[Files], Loaded], condition: str, unknown: str, warned: bool
) -> None:
    steps = f"\n  - branch:\n      - when: {condition}\n        steps: []\n      - unknown: {unknown}\n      - otherwise: []\n"
    starter["journeys/a.yaml"] = _journey("a", "{ event: Order Completed }", steps)
    assert _told(read(starter)) == ([("unknown-never-taken", "journeys/a.yaml", 11)] if warned else [])


def test_a_trait_from_a_field_that_the_contract_does_not_know(starter: Files, read: Callable[[Files], Loaded]) -> None:
    fields = "email: { type: string }, first_nam: { type: string }, time_zone: { type: string }"
    starter["contracts/people.yaml"] = f"contract: identify\nproperties: {{ {fields} }}\n"
    (warning,) = read(starter).warnings
    assert (warning.code, warning.file, warning.line) == ("field-not-in-contract", "traits/traits.yaml", 4)
    assert warning.remedy == "Did you mean 'first_nam'?"


def test_a_mapping_that_writes_an_undeclared_property(starter: Files, read: Callable[[Files], Loaded]) -> None:
    starter["sources/old.yaml"] = """source: old
kind: file
path: orders.csv
format: csv
records:
  - call: track
    event: Order Completed
    user_id: customer
    timestamp: at
    message_id: id
    properties:
      order_id: id
      revenue: amount
      colour: c
"""
    assert _told(read(starter)) == [("field-not-in-contract", "sources/old.yaml", 14)]


_PLANS = """traits:
  plan: { type: string, from: traits.plan }
  level: { type: string, from: traits.level }
"""
_SEGMENTS = "segments:\n  gold: { when: plan = 'gold' }\n  high: { when: in_segment('gold') and level = 'high' }\n"


@pytest.mark.parametrize(
    ("again", "first", "warned"),
    [
        ("after_exit", "[ { update: { level: high } } ]", True),
        ("once", "[ { update: { level: high } } ]", False),
        ("after_exit", "[ { wait: 1 minute }, { update: { level: high } } ]", False),
        ("after_exit", "[ { wait: 1 minute } ]", False),
    ],
)
def test_journeys_that_start_one_another(
    starter: Files, read: Callable[[Files], Loaded], again: str, first: str, warned: bool
) -> None:
    """Entering gold sets the level, which makes people high, which sets the plan, which makes them gold again."""
    starter["traits/plans.yaml"], starter["segments/plans.yaml"] = _PLANS, _SEGMENTS
    starter["journeys/a.yaml"] = _journey("a", "{ segment: gold }", first, again)
    second = "[ { update: { plan: silver } }, { exit: enough } ]"
    starter["journeys/b.yaml"] = _journey("b", "{ segment: high }", second, "after_exit", priority=60)
    told = _told(read(starter))
    expected = [("journeys-feed-each-other", f"journeys/{name}.yaml", 5) for name in "ab"]
    assert told == (expected if warned else [("journeys-feed-each-other", "journeys/b.yaml", 5)])


@pytest.mark.parametrize(
    ("again", "first", "code"),
    [
        ("after_exit", "[ { enter: b } ]", "journeys-feed-each-other"),
        ("once", "[ { enter: b } ]", None),
        ("after_exit", "[ { wait: 1 minute }, { enter: b } ]", None),
    ],
)
def test_a_ring_through_a_step_and_a_trait(
    starter: Files, read: Callable[[Files], Loaded], again: str, first: str, code: str | None
) -> None:
    """Entering gold enters b, which sets the plan, which makes people gold again."""
    starter["traits/plans.yaml"], starter["segments/plans.yaml"] = _PLANS, _SEGMENTS
    starter["journeys/a.yaml"] = _journey("a", "{ segment: gold }", first, again)
    second = "[ { update: { plan: silver } }, { exit: enough } ]"
    starter["journeys/b.yaml"] = _journey("b", "{ event: Order Completed }", second, "after_exit", priority=60)
    assert _told(read(starter)) == ([(code, f"journeys/{name}.yaml", 5) for name in "ab"] if code else [])


@pytest.mark.parametrize(("again", "warned"), [("after_exit", True), ("once", False)])
def test_a_ring_with_a_wait(starter: Files, read: Callable[[Files], Loaded], again: str, warned: bool) -> None:
    starter["journeys/a.yaml"] = _journey("a", "{ event: Signed Up }", "[ { enter: b } ]", "after_exit", priority=60)
    second = "[ { wait: 3 days }, { enter: a } ]"
    starter["journeys/b.yaml"] = _journey("b", "{ event: Order Completed }", second, again, priority=70)
    expected = [("journeys-enter-in-a-ring", f"journeys/{name}.yaml", 5) for name in "ab"]
    assert _told(read(starter)) == (expected if warned else [])


@pytest.mark.parametrize(
    ("arena", "priority", "warned"), [("default", 50, True), ("other", 50, False), ("default", 60, False)]
)
def test_journeys_of_equal_rank(
    starter: Files, read: Callable[[Files], Loaded], arena: str, priority: int, warned: bool
) -> None:
    starter["journeys/z.yaml"] = (
        _journey("z", "{ event: Signed Up }", "[ { wait: 1 day } ]", priority=priority) + f"arena: {arena}\n"
    )
    assert _told(read(starter)) == ([("journeys-of-equal-rank", "journeys/z.yaml", 4)] if warned else [])


def test_every_code_is_documented() -> None:
    page = (ROOT / "docs/howto/lint.md").read_text()
    assert [code for code in CODES if f"| `{code}` |" not in page] == []


def test_steps_inside_the_arms_of_a_wait_are_looked_at(starter: Files, read: Callable[[Files], Loaded]) -> None:
    inner = "[ { branch: [ { when: orders > 1, steps: [] }, { unknown: [ { wait: 1 day } ] }, { otherwise: [] } ] } ]"
    starter["journeys/more.yaml"] = _journey(
        "more", "{ event: Order Completed }",
        f"""
  - wait_for:
      any:
        - when: event('Email Link Clicked')
          steps: {inner}
      until: 1 day
      timeout: {inner}
""",
    )  # fmt: skip
    assert _told(read(starter)) == [
        ("unknown-never-taken", "journeys/more.yaml", 11),
        ("unknown-never-taken", "journeys/more.yaml", 13),
    ]
