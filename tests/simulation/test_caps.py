"""Caps are never exceeded and never under-used, in any zone, whatever its clock does; and calendar periods are exact."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from cadenza.definitions.expression import parse
from cadenza.definitions.kinds import Cap, Policy
from cadenza.simulate.verdicts import local_period
from cadenza.sql import zones
from cadenza.sql.program import Program
from cadenza.sql.tables import BY_NAME
from cadenza.stages.governance import caps as stage
from cadenza.store.duckdb_engine import DuckEngine
from tests.simulation.tape import Tape, at, journey, project, send

CALENDARS = ("day", "week", "month")
TRICKY = ["UTC", "Europe/Berlin", "America/Havana", "Asia/Beirut", "Pacific/Apia", "America/St_Johns", "Australia/Lord_Howe",
          "America/Asuncion", "Pacific/Chatham", "Africa/Casablanca"]  # fmt: skip


def local(zone: str, instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def label(calendar: str, zone: str, instant: datetime) -> tuple[int, ...]:
    day = local(zone, instant).date()
    return {"day": (day.toordinal(),), "week": day.isocalendar()[:2], "month": (day.year, day.month)}[calendar]


@st.composite
def caps(draw: st.DrawFn) -> Cap:
    calendar = draw(st.sampled_from([None, *CALENDARS]))
    return Cap(
        name="c", limit=draw(st.integers(1, 3)), calendar=calendar,  # type: ignore[arg-type]
        per_s=0 if calendar else 3600 * draw(st.integers(1, 100)), when_full=draw(st.sampled_from(["defer", "drop"])),  # type: ignore[arg-type]
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(caps(), st.sampled_from(TRICKY), st.lists(st.integers(0, 24 * 45), min_size=3, max_size=8), st.integers(0, 300))
def test_a_cap_is_never_exceeded_nor_under_used(cap: Cap, zone: str, hours: list[int], shift: int) -> None:
    policy = Policy(caps=(cap,), deadline_s=366 * 86400)
    # One passage per order, so that all that a cap holds back wait side by side.
    tape = Tape(journey(send(), key="order_id"), policy=policy)
    tape.reachable(shift * 24, zone=zone)
    for number, hour in enumerate(sorted(hours)):
        tape.track(shift * 24 + hour, "Order", order_id=f"o{number}")
    tape.until(shift * 24 + 24 * 600)
    sent = sorted(instant for _, instant in tape.sent())

    def room(instant: datetime) -> int:
        """How many more the cap lets through at an instant, counted anew from what was sent."""
        before = [s for s in sent if s <= instant]
        if cap.calendar:
            return cap.limit - sum(label(cap.calendar, zone, s) == label(cap.calendar, zone, instant) for s in before)
        return cap.limit - sum(s > instant - timedelta(seconds=cap.per_s) for s in before)

    assert all(room(instant) >= 0 for instant in sent)
    for instant, verdict, reason, until in tape.verdicts():
        if verdict != "send":
            assert reason == "cap" and room(instant) == 0
        if until is not None:
            assert room(until - timedelta(microseconds=1)) == 0
    waiting = len(hours) - len(sent)
    assert waiting == 0 if cap.when_full == "defer" else waiting == sum(v[1] == "drop" for v in tape.verdicts())


def test_what_failed_or_was_cancelled_gives_its_room_back() -> None:
    policy = Policy(caps=(Cap(name="c", limit=1, calendar="month"),))
    tape = Tape(journey(send(), key="order_id", goal="event('Paid')"), policy=policy)
    person = tape.reachable(zone="UTC")
    tape.track(1, "Order", order_id="a")
    told = tape.model.rows["messages"][0][0]
    tape.track(2, "Order", order_id="b")
    tape.add(3, "outcome", type="track", event="Message Failed", person=person, properties={"message_id": told})
    tape.track(4, "Order", order_id="c")
    assert [v[:3] for v in tape.verdicts()] == [(at(1), "send", None), (at(2), "drop", "cap"), (at(4), "send", None)]


def test_a_cap_may_be_of_one_topic_or_journey_and_have_room_for_each() -> None:
    policy = Policy(
        caps=(
            Cap(name="own", limit=1, calendar="day", each="journey"),
            Cap(name="news", limit=1, calendar="week", topic="news"),
        )
    )
    tape = Tape(*(journey(send(template), name=name, arena=None) for name, template in (("a", "hello"), ("b", "news"), ("c", "news"))),
                policy=policy)  # fmt: skip
    tape.reachable(zone="UTC")
    tape.consent(0, purpose="news")
    for hour in (0, 1, 24):
        tape.track(hour, "Order")
    tape.until(25)
    by_day = Counter((instant.day, template) for template, instant in tape.sent())
    assert by_day == {(6, "hello"): 1, (6, "news"): 1, (7, "hello"): 1}


# --- the engine's calendar ------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _around_changes() -> list[tuple[str, datetime]]:
    """Instants around changes of every zone's clock in five years, and ordinary ones; zones that are alike once."""
    turns: dict[str, list[str]] = {}
    for row in msgspec.json.decode(zones.rows()):
        turns.setdefault(row["tz"], []).append(row["utc_from"])
    alike = {tuple(dates): zone for zone, dates in turns.items()}
    found = []
    for dates, zone in alike.items():
        recent = [d for d in map(datetime.fromisoformat, dates) if datetime(2021, 1, 1) < d < datetime(2026, 1, 1)]
        for turn in [*recent[:3], datetime(2024, 2, 29, 11, 59, 59), datetime(2011, 12, 31, 12)]:
            found += [(zone, turn + timedelta(seconds=s)) for s in (-3601, -1, 0, 3600, 86400 * 20)]
    return found


@lru_cache(maxsize=1)
def _periods() -> list[tuple[datetime, ...]]:
    """What the engine makes of them: day, week, month, each its beginning and the next one's."""
    program = Program(project(policy=Policy(caps=tuple(Cap(name=c, limit=1, calendar=c) for c in CALENDARS))), [])
    engine = DuckEngine.open(None, threads=1)
    engine.execute("CREATE TABLE tz_rule (tz VARCHAR, utc_from TIMESTAMP, utc_to TIMESTAMP, off_s INTEGER)")
    engine.append_json("tz_rule", BY_NAME["tz_rule"].columns, zones.rows())
    columns = {"eid": "BIGINT", "zone": "VARCHAR", "now": "TIMESTAMP", "reason": "VARCHAR"}
    engine.execute("CREATE TABLE w_gate (eid BIGINT, zone VARCHAR, now TIMESTAMP, reason VARCHAR)")
    rows = [{"eid": i, "zone": zone, "now": now, "reason": None} for i, (zone, now) in enumerate(_around_changes())]
    engine.append_json("w_gate", columns, msgspec.json.encode(rows))
    engine.execute(stage.contact(program)[0].sql)
    found = engine.query("SELECT day_from, day_to, week_from, week_to, month_from, month_to FROM w_local ORDER BY eid")
    engine.close()
    return found


def test_days_weeks_and_months_are_exact_in_all_zones_at_every_change_of_the_clock() -> None:
    instants = _around_changes()
    microsecond = timedelta(microseconds=1)
    for (zone, now), found in zip(instants, _periods(), strict=True):
        for calendar, begin, end in zip(CALENDARS, found[::2], found[1::2], strict=True):
            same = label(calendar, zone, now)
            where = f"{calendar} of {now} in {zone}: {begin} to {end}"
            assert begin <= now < end, where
            assert label(calendar, zone, begin) == label(calendar, zone, end - microsecond) == same, where
            assert label(calendar, zone, begin - microsecond) < same < label(calendar, zone, end), where


def test_the_model_has_the_same_calendar() -> None:
    pairs = [pair for pair in zip(_around_changes(), _periods(), strict=True) if pair[0][0] in TRICKY]
    for number, ((zone, now), found) in enumerate(pairs):
        at_ = number % 3
        assert local_period(CALENDARS[at_], zone, now) == found[2 * at_ : 2 * at_ + 2], (zone, now)


def test_of_one_priority_the_more_valuable_message_takes_the_room() -> None:
    worth = {"a": None, "b": "score", "c": "20", "d": "score + 30"}
    steps = [
        journey(send(), name=name, arena=None, value=parse(text) if text else None) for name, text in worth.items()
    ]
    first = {}
    for score, priority in ((5, 50), (40, 50), (None, 50), (40, 20)):
        ranked = [replace(j, priority=priority) if j.name == "d" else j for j in steps]
        tape = Tape(*ranked, policy=Policy(caps=(Cap(name="one", limit=1, calendar="day"),)))
        person = tape.reachable(zone="UTC")
        tape.identify(0, score=score)
        tape.track(0, "Order")
        tape.until(1)
        sent = [e.journey.name for e in tape.model.persons[person].enrollments if e.verdict == "sent"]
        first[score, priority] = sent
    assert first == {(5, 50): ["d"], (40, 50): ["d"], (None, 50): ["c"], (40, 20): ["b"]}
