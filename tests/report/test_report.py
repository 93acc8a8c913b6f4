"""The report over a store written by hand: every figure known, every broken sum noticed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from cadenza.definitions.expression import parse_where
from cadenza.definitions.kinds import Holdout
from cadenza.definitions.project import Project, encode
from cadenza.errors import CadenzaError
from cadenza.runtime.report import LogCounts, Quarantined, Report, report, units
from cadenza.runtime.report.figures import Comparison, Count, JourneyFigures
from cadenza.store.duckdb_engine import DuckEngine
from cadenza.surfaces.report_tables import report_text
from tests.report.conftest import ORDER, REFUND, Hand, day

LOG = LogCounts(
    duplicates=3, quarantined=(Quarantined(source="shop", reason="contract: revenue must be a number", n=7),)
)


def _journey(found: Report, name: str) -> JourneyFigures:
    return next(j for j in found.journeys if j.name == name)


def _comparison(found: Report) -> Comparison:
    return _journey(found, "win_back").comparisons[0]


def _with_metric(project: Project, **changes: object) -> Project:
    metric = msgspec.structs.replace(project.metrics[0], **changes)
    return msgspec.structs.replace(project, metrics=(metric,))


def test_the_report_reads_as_its_golden(hand: Hand, golden: Callable[[str, str], None]) -> None:
    golden("report.txt", report_text(report(hand.engine, hand.project, LOG)))


def test_people_events_and_segments(hand: Hand) -> None:
    found = report(hand.engine, hand.project, LOG)
    people = found.people
    assert (people.living, people.identified, people.anonymous, people.merged) == (16, 15, 1, 1)
    assert found.events == (Count(ORDER, 12), Count("Consent Updated", 2), Count(REFUND, 1))
    assert found.unidentified == (Count("no_identifier", 1),)
    assert [(s.name, s.members, s.ever) for s in found.segments] == [("lapsing", 12, 13), ("vip", 0, 0)]
    assert found.log.quarantined[0].n == 7


def test_a_journey_on_an_event(hand: Hand) -> None:
    welcome = _journey(report(hand.engine, hand.project), "welcome")
    assert (welcome.candidates, welcome.entered, welcome.live) == (10, 2, 1)
    assert welcome.refused == (Count("re_entry: once", 1),)
    assert welcome.not_qualified == (Count("when", 6), Count("when_unknown", 1))
    assert welcome.exits == (Count("completed", 1),)
    messages = welcome.messages
    assert (messages.candidates, messages.sent, messages.withdrawn, messages.waiting) == (3, 1, 0, 1)
    assert messages.dropped == (Count("no_consent", 1),)
    assert set(messages.deferred) == {Count("quiet_hours", 1), Count("cap", 1)}
    assert messages.delivery == (Count("replayed", 1),)
    assert welcome.comparisons == ()


def test_a_journey_on_a_segment(hand: Hand) -> None:
    win_back = _journey(report(hand.engine, hand.project), "win_back")
    assert (win_back.candidates, win_back.entered, win_back.live) == (13, 9, 1)
    assert win_back.refused == (Count("holdout: win_back_2011", 4),)
    exits = (Count("time_limit", 4), Count("goal", 2), Count("completed", 1), Count("disqualified", 1))
    assert win_back.exits == exits
    assert (win_back.messages.candidates, win_back.messages.sent, win_back.messages.withdrawn) == (9, 7, 1)


def test_delivery_states(hand: Hand) -> None:
    for position, pid in enumerate(range(14, 21)):
        hand.engine.execute("UPDATE message SET deliverable = TRUE WHERE message_id = ?", [f"w{pid}"])
        names = ["Message Sent", "Message Failed", "Message Ambiguous"]
        if position < 3:
            hand.row(
                "message_outcome", message_id=f"w{pid}", name=names[position], occurred_at=day(11), offset_=100 + pid
            )
    hand.row("message_outcome", message_id="w14", name="Email Opened", occurred_at=day(12), offset_=200)
    hand.row("message_outcome", message_id="w14", name="Email Opened", occurred_at=day(13), offset_=201)
    hand.row("cancellation", message_id="w17", ts=day(11), reason="goal")
    messages = _journey(report(hand.engine, hand.project), "win_back").messages
    assert {c.name: c.n for c in messages.delivery} == {
        "handed over": 1, "failed": 1, "ambiguous": 1, "cancelled": 1, "on its way": 3,
    }  # fmt: skip
    assert messages.reactions == (Count("Email Opened", 1),)


# --- treated against holdout ---------------------------------------------------------------------


def test_the_comparison_is_over_complete_windows(hand: Hand) -> None:
    found = _comparison(report(hand.engine, hand.project))
    assert (found.treated.n, found.treated.total, found.treated.incomplete) == (8, 140.0, 1)
    assert (found.held_out.n, found.held_out.total, found.held_out.incomplete) == (4, 100.0, 0)
    assert found.lift.difference == pytest.approx(-7.5)
    # Welch by hand: variances (11000 - 140^2/8)/7 and (5200 - 100^2/4)/3, 7.06 degrees of freedom, t = 2.3604.
    error = ((11000 - 140**2 / 8) / 7 / 8 + (5200 - 100**2 / 4) / 3 / 4) ** 0.5
    assert found.lift.high - found.lift.low == pytest.approx(2 * 2.3604 * error, rel=1e-4)  # type: ignore[operator]
    assert found.sample_ratio is not None and found.sample_ratio.observed_share == pytest.approx(4 / 13)


def test_units_are_those_of_both_arms(hand: Hand) -> None:
    values = units(hand.engine, hand.project, "win_back")
    assert values == [
        (14, 100),
        (15, 10),
        (16, 30),
        *((pid, 0) for pid in range(17, 22)),
        (22, 40),
        (23, 0),
        (24, 60),
        (25, 0),
    ]


def test_the_record_that_assigns_does_not_count(hand: Hand) -> None:
    hand.order(50, 18, day(10), 500)  # recorded at the very instant of the assignment
    hand.order(51, 19, day(10) + timedelta(microseconds=1), 7)
    hand.engine.execute("UPDATE event SET occurred_at = ? WHERE offset_ = 36", [day(38) - timedelta(microseconds=1)])
    values = dict(units(hand.engine, hand.project, "win_back"))
    assert (values[18], values[19], values[17]) == (0, 7, 70)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": "count", "property": None}, {14: 1, 15: 1, 16: 0, 17: 0}),
        ({"kind": "count", "property": None, "minus": None}, {14: 1, 15: 1, 16: 1, 17: 0}),
        ({"kind": "conversion", "property": None}, {14: 1, 15: 1, 16: 1, 17: 0}),
        ({"minus": None}, {14: 100, 15: 10, 16: 50, 17: 0}),
        ({"where": parse_where("revenue >= 50"), "minus": None}, {14: 100, 15: 0, 16: 50, 17: 0}),
        ({"within_s": 28 * 86400 + 1}, {14: 100, 15: 10, 16: 30, 17: 70}),
    ],
)
def test_kinds_of_metric(hand: Hand, changes: dict[str, object], expected: dict[int, float]) -> None:
    hand.order(52, 14, day(39), 1)  # always outside
    values = dict(units(hand.engine, _with_metric(hand.project, **changes), "win_back"))
    assert {pid: values[pid] for pid in expected} == expected


def test_a_conversion_counts_a_person_once_and_compares_shares(hand: Hand) -> None:
    hand.order(53, 14, day(22), 5)
    project = _with_metric(hand.project, kind="conversion", property=None)
    found = _comparison(report(hand.engine, project))
    assert (found.treated.total, found.held_out.total) == (3, 2)
    assert found.lift.method == "Newcombe's score"


def test_an_undeclared_property_is_read_from_the_json(hand: Hand) -> None:
    bare = msgspec.structs.replace(hand.project, contracts=())
    assert dict(units(hand.engine, bare, "win_back"))[16] == 30


def test_a_replay_is_a_placebo_and_never_an_effect(hand: Hand) -> None:
    found = report(hand.engine, hand.project)
    assert _comparison(found).kind == "placebo"
    text = report_text(found)
    block = text[text.index("win_back, revenue_28d") : text.index("The figures add up")]
    assert "PLACEBO" in block and "effect" not in block.lower()


def test_what_was_sent_is_measured_and_a_mixture_says_so(hand: Hand) -> None:
    hand.engine.execute("UPDATE message SET deliverable = TRUE WHERE message_id IN ('w14', 'w15')")
    assert _comparison(report(hand.engine, hand.project)).kind == "mixed"
    hand.engine.execute("UPDATE message SET deliverable = TRUE")
    found = report(hand.engine, hand.project)
    assert _comparison(found).kind == "measured" and "PLACEBO" not in report_text(found)


def test_replayed_and_live_units_are_never_compared_together(hand: Hand) -> None:
    hand.engine.execute("UPDATE clock SET live_from = ?", [day(45)])
    replayed, live = _journey(report(hand.engine, hand.project), "win_back").comparisons
    assert (replayed.treated.n, replayed.treated.incomplete) == (8, 0)
    assert (live.treated.n, live.treated.incomplete, live.held_out.n) == (0, 1, 0)
    hand.engine.execute("UPDATE clock SET live_from = ?", [day(37)])  # the replayed windows reach past it
    contaminated, _ = _journey(report(hand.engine, hand.project), "win_back").comparisons
    assert (contaminated.treated.n, contaminated.treated.incomplete) == (0, 8)


def test_the_first_assignment_counts_and_crossing_is_told(hand: Hand) -> None:
    hand.row("assignment", holdout="win_back_2011", pid=14, origin_pid=90, arm="holdout", bucket=1, ts=day(11), jid=2)
    found = _comparison(report(hand.engine, hand.project))
    assert (found.crossed, found.treated.n, found.held_out.n) == (1, 8, 4)


def test_a_share_that_changed_is_not_checked_against_one_share(hand: Hand) -> None:
    welcome, win_back = hand.project.journeys
    grown = msgspec.structs.replace(win_back, holdout=Holdout(name="win_back_2011", share_bp=5000))
    later = msgspec.structs.replace(hand.project, journeys=(welcome, grown))
    hand.row("deployment", offset_=400, recorded_at=day(59), fingerprint="g", project=encode(later).decode())
    found = _comparison(report(hand.engine, later))
    assert found.sample_ratio is None


# --- conservation --------------------------------------------------------------------------------


def test_the_figures_add_up(hand: Hand) -> None:
    found = report(hand.engine, hand.project)
    assert found.adds_up and len(found.checks) == 13, [c.what for c in found.checks if not c.holds]


@pytest.mark.parametrize(
    ("damage", "noticed"),
    [
        ("DELETE FROM refusal WHERE jid = 1", "welcome: candidates"),
        ("DELETE FROM enrollment_end WHERE eid = 101", "welcome: entered"),
        ("INSERT INTO enrollment_end SELECT * FROM enrollment_end WHERE eid = 101", "welcome: entered"),
        ("DELETE FROM event WHERE offset_ = 24", "welcome: candidates"),
        ("DELETE FROM nonqualified WHERE rule = 'when_unknown'", "welcome: candidates"),
        ("DELETE FROM decision WHERE verdict = 'drop' AND jid = 1", "welcome: message candidates"),
        ("INSERT INTO decision SELECT * FROM decision WHERE eid = 214", "win_back: message candidates"),
        ("DELETE FROM message WHERE message_id = 'w14'", "win_back: messages decided to be sent"),
        ("INSERT INTO message SELECT * FROM message WHERE message_id = 'w14'", "win_back: messages decided to be sent"),
        ("DELETE FROM assignment; DELETE FROM refusal WHERE jid = 2 AND pid = 25", "win_back: candidates"),
        ("DELETE FROM membership WHERE pid = 26", "members of segment lapsing"),
        ("UPDATE profile SET s_vip = TRUE WHERE pid = 10", "members of segment vip"),
        ("DELETE FROM profile WHERE pid = 26", "living persons"),
        ("DELETE FROM link WHERE rule = 'merge'", "persons merged into another"),
        ("UPDATE enrollment SET step = 1 WHERE eid = 101", "welcome: entered"),
    ],
)
def test_what_does_not_add_up_is_noticed(hand: Hand, damage: str, noticed: str) -> None:
    hand.engine.execute(damage)
    found = report(hand.engine, hand.project)
    broken = [c.what for c in found.checks if not c.holds]
    assert noticed in broken and not found.adds_up
    assert "DOES NOT ADD UP" in report_text(found)
    assert found.hints[0].fact.startswith(f"{len(broken)} of")


def test_triggers_count_only_while_deployed(hand: Hand) -> None:
    only_welcome = msgspec.structs.replace(hand.project, journeys=hand.project.journeys[:1])
    hand.row("deployment", offset_=31, recorded_at=day(20), fingerprint="g", project=encode(only_welcome).decode())
    found = report(hand.engine, only_welcome)
    assert _journey(found, "win_back").candidates == 12, "the change of day 50 came after it was taken away"
    assert _journey(found, "welcome").candidates == 10


# --- instants, empty stores, forms ---------------------------------------------------------------


def test_a_past_instant_is_cut_at_its_hour(hand: Hand) -> None:
    found = report(hand.engine, hand.project, as_of=day(6.1) + timedelta(minutes=7))
    assert found.as_of == day(6) + timedelta(hours=2)
    welcome = _journey(found, "welcome")
    assert (welcome.candidates, welcome.entered, welcome.live, sum(c.n for c in welcome.not_qualified)) == (5, 2, 2, 2)
    assert (welcome.messages.sent, welcome.messages.dropped, welcome.messages.waiting) == (1, (), 2)
    assert _journey(found, "win_back").candidates == 0 and found.segments[0].ever == 0
    assert found.adds_up, [c for c in found.checks if not c.holds]


def test_a_future_instant_is_the_present(hand: Hand) -> None:
    assert report(hand.engine, hand.project, as_of=day(900)) == report(hand.engine, hand.project)


def test_a_store_without_records(project: Project) -> None:
    engine = DuckEngine.open(None)
    Hand(engine, project).create()
    found = report(engine, project)
    assert found.adds_up and found.people.living == 0
    assert any(f"no event '{ORDER}' has arrived" in h.fact for h in found.hints)
    assert "None" not in report_text(found)
    engine.close()


def test_a_merge_keeps_one_membership(hand: Hand) -> None:
    """As the stages write it: the survivor's row opens, the merged one's closes, old rows keep their origin."""
    hand.row("membership", pid=10, origin_pid=12, segment="lapsing", ts=day(0.8), entered=True, cause="record")
    hand.row("membership", pid=10, origin_pid=10, segment="lapsing", ts=day(0.9), entered=True, cause="merged")
    hand.row("membership", pid=12, origin_pid=12, segment="lapsing", ts=day(0.9), entered=False, cause="merged")
    hand.engine.execute("UPDATE profile SET s_lapsing = TRUE WHERE pid = 10")
    # The row of day 0.8 triggers the journey, so it must have been counted somewhere: as not qualified.
    hand.row("nonqualified", jid=2, hour=day(0.8) - timedelta(minutes=12), rule="when", n=1)
    found = report(hand.engine, hand.project)
    assert (found.segments[0].members, found.segments[0].ever) == (13, 14)
    assert found.adds_up, [c for c in found.checks if not c.holds]


def test_plain_text_fits_and_carries_no_codes(hand: Hand) -> None:
    text = report_text(report(hand.engine, hand.project, LOG))
    assert "\x1b" not in text and max(map(len, text.splitlines())) <= 100


def test_a_report_is_json_and_back(hand: Hand) -> None:
    found = report(hand.engine, hand.project, LOG)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Report) == found


def test_units_of_a_journey_without_holdout(hand: Hand) -> None:
    with pytest.raises(CadenzaError, match="no holdout"):
        units(hand.engine, hand.project, "welcome")
    with pytest.raises(CadenzaError, match="Did you mean 'win_back'"):
        units(hand.engine, hand.project, "winback")


def test_hints_name_the_fact(hand: Hand) -> None:
    facts = [h.fact for h in report(hand.engine, hand.project, LOG).hints]
    assert any("7 records are in quarantine" in fact for fact in facts)
    assert any("welcome: 1 of 3 messages dropped: no consent" in fact for fact in facts)
    assert any("every comparison is a placebo" in fact for fact in facts)
    hand.engine.execute("UPDATE assignment SET arm = 'treated'")
    for pid in range(1000, 1060):
        hand.row(
            "assignment", holdout="win_back_2011", pid=pid, origin_pid=pid, arm="treated", bucket=1, ts=day(10), jid=2
        )
    facts = [h.fact for h in report(hand.engine, hand.project).hints]
    assert any("not in the declared ratio" in fact for fact in facts)
