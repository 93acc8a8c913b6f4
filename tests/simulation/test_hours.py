"""Send windows, quiet hours of channels and jurisdictions: exact in all zones, whatever the clock does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from cadenza.definitions.kinds import Policy, QuietHours
from cadenza.definitions.kinds_policy import ChannelQuietHours, Jurisdiction, SendWindow
from cadenza.definitions.kinds_wait import WEEKDAYS
from cadenza.definitions.open_hours import WEEK_S, closed_hours, never_opens
from tests.simulation.tape import Tape, at, journey, send, wait

CLOCKS = ["00:00", "01:30", "02:00", "02:30", "09:00", "18:00", "23:45"]


def window(
    begin: str = "09:00", end: str = "18:00", days: tuple[str, ...] = (), channel: str | None = None
) -> SendWindow:
    return SendWindow(channel=channel, days=days, from_=begin, to=end)  # type: ignore[arg-type]


def is_open(policy: Policy, second: int) -> bool:
    """Whether a second of the local week is open to e-mail, asked of each rule in turn."""
    day, clock = WEEKDAYS[second // 86400], f"{second % 86400 // 3600:02}:{second % 3600 // 60:02}"
    for q in [*([policy.quiet_hours] if policy.quiet_hours else []), *policy.channel_quiet_hours]:
        if q.from_ <= clock < q.to or (q.from_ > q.to and (clock >= q.from_ or clock < q.to)):
            return False
    windows = policy.send_windows
    return not windows or any(w.from_ <= clock < w.to and (not w.days or day in w.days) for w in windows)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    def pair() -> tuple[str, str]:
        return draw(st.tuples(st.sampled_from(CLOCKS), st.sampled_from(CLOCKS)))

    quiet, of_email = pair(), pair()
    windows = draw(
        st.lists(st.tuples(st.sampled_from(CLOCKS[:-1]), st.lists(st.sampled_from(WEEKDAYS), max_size=4)), max_size=4)
    )
    return Policy(
        quiet_hours=QuietHours(from_=quiet[0], to=quiet[1]), deadline_s=30 * 86400,
        channel_quiet_hours=(ChannelQuietHours(channel="email", from_=of_email[0], to=of_email[1]),),
        send_windows=tuple(window(begin, "23:45", tuple(days)) for begin, days in windows),
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(policies(), st.lists(st.integers(0, WEEK_S - 1), min_size=8, max_size=8))
def test_closed_hours_are_those_that_no_rule_opens_and_name_the_next_that_is_open(
    policy: Policy, seconds: list[int]
) -> None:
    spans = closed_hours(policy, ["email"])
    edges = [edge for span in spans for edge in (span.from_s, span.to_s % WEEK_S, span.opens_s % WEEK_S)]
    if never_opens(policy, "email", None):
        assert not any(is_open(policy, s) for s in (*seconds, *range(0, WEEK_S, 900)))
        return
    for second in (*seconds, *edges, *(e - 1 for e in edges if e)):
        inside = [span for span in spans if span.from_s <= second < span.to_s]
        assert len(inside) == (not is_open(policy, second))
        for span in inside:
            assert is_open(policy, span.opens_s % WEEK_S)
            assert not any(is_open(policy, s % WEEK_S) for s in range(second, span.opens_s, 900))


@settings(max_examples=25, deadline=None)
@given(
    policies(),
    st.sampled_from(["Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia"]),
    st.integers(0, 24 * 400),
)
def test_nothing_is_sent_while_the_channel_rests(policy: Policy, zone: str, hour: int) -> None:
    tape = Tape(journey(send(), wait(20), send()), policy=policy)
    if never_opens(policy, "email", None):
        return
    tape.reachable(hour, zone=zone)
    tape.track(hour, "Order")
    tape.until(hour + 24 * 40)
    assert len(tape.sent()) == 2
    for _, instant in tape.sent():
        shown = instant.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        assert is_open(policy, shown.weekday() * 86400 + shown.hour * 3600 + shown.minute * 60)


def test_a_window_that_the_clock_skips_is_waited_for_again() -> None:
    # Berlin, 31 March 2024: the clock goes from 02:00 to 03:00, so there is no 02:15 that night.
    policy = Policy(send_windows=(window("02:15", "02:45"),))
    tape = Tape(journey(send()), policy=policy)
    start = (datetime(2024, 3, 30, 12) - at(0)) / timedelta(hours=1)
    tape.reachable(start, zone="Europe/Berlin")
    tape.track(start, "Order")
    tape.until(start + 72)
    gap, next_night = datetime(2024, 3, 31, 1), datetime(2024, 4, 1, 0, 15)
    assert [v[1:] for v in tape.verdicts()] == [
        ("defer", "send_window", gap), ("defer", "send_window", next_night), ("send", None, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "said", "expected"),
    [
        ("free", None, ("send", None)), ("free", False, ("drop", "no_consent")), ("free", True, ("send", None)),
        ("gold", None, ("drop", "no_consent")), ("gold", True, ("defer", "send_window")),
        ("elsewhere", True, ("drop", "no_jurisdiction")), (None, True, ("drop", "no_jurisdiction")),
    ],
)  # fmt: skip
def test_a_jurisdiction_has_hours_and_a_meaning_of_silence(
    plan: str | None, said: bool | None, expected: tuple[str, str | None]
) -> None:
    strict = Jurisdiction(name="gold", send_windows=(window("22:00", "23:00"),))
    policy = Policy(jurisdiction_trait="plan", jurisdictions=(Jurisdiction(name="free", consent="opt_out"), strict))
    tape = Tape(journey(send()), policy=policy)
    tape.identify(0, email="u@x.example", time_zone="UTC", plan=plan)
    if said is not None:
        tape.consent(0, granted=said)
    tape.track(0, "Order")
    assert [v[1:3] for v in tape.verdicts()] == [expected]


def test_deployed_policies_read_as_before() -> None:
    old = b'{"quiet_hours":{"from":"21:00","to":"08:00"},"deadline_s":86400}'
    policy = msgspec.json.decode(old, type=Policy)
    assert msgspec.json.encode(policy) == old
