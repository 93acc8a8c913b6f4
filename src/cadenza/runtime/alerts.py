"""Silence alerts: what a running journey stopped doing, or does otherwise than it used to, though nothing fails.

``judge`` is a pure function of facts and definitions; the facts are four statements over the store, as of an instant,
however many journeys there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

import msgspec
from sqlglot import exp

from cadenza.clock import EPOCH, Clock
from cadenza.definitions.expression_text import duration_text
from cadenza.definitions.kinds_alerts import AlertCode
from cadenza.definitions.kinds_journey import Branch, Journey
from cadenza.definitions.project import Project
from cadenza.ports.engine import Engine
from cadenza.runtime.explain.wording import steps_by_path
from cadenza.runtime.status import current_project
from cadenza.sql import step
from cadenza.sql.step import Step, number, text

_SCRIPT = step.Script.beside(__file__, "alerts")
DEFAULT_ENTRIES_S = 7 * 86_400
USUAL_ENTRIES, USUAL_ARRIVALS = 4, 8
"""In the four windows before: so many make their absence remarkable."""
_REMEDIES: dict[AlertCode, str] = {
    "no_entries": "Does its trigger still arrive ('cadenza tail')? Does anybody qualify ('cadenza report')?",
    "quiet_step": "Look at the branches before it: does a condition still come true?",
    "branch_jump": "Did the data change, or the definition of a trait that the branch reads?",
    "unknown": "Which trait is missing? 'cadenza explain' of somebody who took that way shows it.",
    "drops": "'cadenza report' shows the verdicts; is a cap too narrow, or did a consent flow break?",
}


class Count(msgspec.Struct, frozen=True):
    """How often something happened: in the window, and in the four before it."""

    now: int = 0
    before: int = 0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the store says of one journey. ``choices``: branch (path) -> arm -> how often; ``verdicts``: ``sent`` or the
    reason of a drop."""

    since: datetime
    entries: Count = Count()
    arrivals: dict[str, Count] = {}
    choices: dict[str, dict[str, Count]] = {}
    verdicts: dict[str, Count] = {}


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something to look at. ``about``: the step, arm or reason; ``now`` and ``before`` are counts (``no_entries``,
    ``quiet_step``) or shares in basis points."""

    code: AlertCode
    journey: str
    about: str
    what: str
    now: int
    before: int
    remedy: str


class Alerting:
    """Judges the journeys in force. ``reading`` gives the store."""

    def __init__(self, reading: Callable[[], AbstractContextManager[Engine]], clock: Clock) -> None:
        self._reading, self._clock = reading, clock

    def run(self, as_of: datetime | None = None) -> tuple[Alert, ...]:
        """What is to be looked at as of an instant; None is the present, and for a store that replays history the instant it
        has come to. Nothing before a deployment. Raises StoreError."""
        with self._reading() as engine, engine.transaction():
            project = current_project(engine)
            if project is None:
                return ()
            now = as_of or self._present(engine)
            facts = facts_of(engine, project, now)
            return tuple(a for j in project.journeys if j.name in facts for a in judge(j, facts[j.name], now))

    def _present(self, engine: Engine) -> datetime:
        horizon, live_from = engine.query("SELECT horizon, live_from FROM clock")[0]
        return max(horizon, self._clock.now()) if live_from <= horizon else max(horizon, EPOCH)


# --- judging ----------------------------------------------------------------------------------------------


def judge(journey: Journey, facts: Facts, now: datetime) -> list[Alert]:
    """What is to be looked at in a journey, by its facts as of ``now``."""
    found = [*_entries(journey, facts, now), *_branches(journey, facts), *_drops(journey, facts)]
    if not any(alert.code == "no_entries" for alert in found):
        found += _steps(journey, facts)
    return [alert for alert in found if alert.code not in journey.alerts.mute]


def _entries(journey: Journey, facts: Facts, now: datetime) -> Iterator[Alert]:
    declared = journey.alerts.no_entries_s
    quiet_s = declared or DEFAULT_ENTRIES_S
    usual = declared is not None or facts.entries.before >= USUAL_ENTRIES
    if not facts.entries.now and usual and facts.since <= now - timedelta(seconds=quiet_s):
        what = f"nobody entered for {duration_text(quiet_s)}; in the {duration_text(4 * quiet_s)} before, {facts.entries.before:,} did."
        yield _alert("no_entries", journey, "entry", what, facts.entries)


def _steps(journey: Journey, facts: Facts) -> Iterator[Alert]:
    quiet = duration_text(journey.alerts.quiet_step_s)
    for path, count in sorted(facts.arrivals.items()):
        if not count.now and count.before >= USUAL_ARRIVALS:
            what = f"nobody arrived at {path} for {quiet}; in the four times as long before, {count.before:,} did."
            yield _alert("quiet_step", journey, path, what, count)


def _branches(journey: Journey, facts: Facts) -> Iterator[Alert]:
    alerts = journey.alerts
    for path, arms in sorted(facts.choices.items()):
        total = Count(sum(c.now for c in arms.values()), sum(c.before for c in arms.values()))
        for arm, count in sorted(arms.items()):
            share = Count(_share(count.now, total.now), _share(count.before, total.before))
            judged = total.now >= alerts.least
            if judged and total.before >= alerts.least and abs(share.now - share.before) >= alerts.branch_jump_bp:
                what = f"{_percent(share.now)} of {path} took '{arm}'; before it was {_percent(share.before)}."
                yield _alert("branch_jump", journey, f"{path}: {arm}", what, share)
            if judged and arm == "unknown" and share.now >= alerts.unknown_bp:
                what = f"{_percent(share.now)} of {path} took 'unknown': what its conditions read is null."
                yield _alert("unknown", journey, path, what, share)


def _drops(journey: Journey, facts: Facts) -> Iterator[Alert]:
    alerts, verdicts = journey.alerts, facts.verdicts
    total = Count(sum(c.now for c in verdicts.values()), sum(c.before for c in verdicts.values()))
    if min(total.now, total.before) < alerts.least:
        return
    for reason, count in sorted(verdicts.items()):
        share = Count(_share(count.now, total.now), _share(count.before, total.before))
        if reason != "sent" and share.now - share.before >= alerts.drops_bp:
            what = f"{_percent(share.now)} of its messages were not sent for '{reason}'; before it was {_percent(share.before)}."
            yield _alert("drops", journey, reason, what, share)


def _alert(code: AlertCode, journey: Journey, about: str, what: str, count: Count) -> Alert:
    told = f"{journey.name}: {what}"
    return Alert(
        code=code,
        journey=journey.name,
        about=about,
        what=told,
        now=count.now,
        before=count.before,
        remedy=_REMEDIES[code],
    )


def _share(part: int, whole: int) -> int:
    return part * 10_000 // whole if whole else 0


def _percent(basis_points: int) -> str:
    return f"{basis_points / 100:.0f} %"


# --- facts ------------------------------------------------------------------------------------------------


def facts_of(engine: Engine, project: Project, now: datetime) -> dict[str, Facts]:
    """What the store says of each journey that was ever in force, as of an instant. Raises StoreError."""
    if not project.journeys:
        return {}
    windows, cut = _windows(project), step.instant(now.isoformat(" "))

    def counted(query: str) -> list[tuple[str, str, Count]]:
        made: Step = _SCRIPT.step(query, now=cut, windows=windows)
        return [(journey, about, Count(here, before)) for journey, about, here, before in engine.query(made.sql)]

    entered = engine.query(_SCRIPT.step("entries", now=cut, windows=windows).sql)
    found = {journey: Facts(since=since, entries=Count(here, before)) for journey, since, here, before in entered}
    for journey, path, count in counted("arrivals"):
        found[journey].arrivals[path] = count
    steps = {journey.name: steps_by_path(journey) for journey in project.journeys}
    for journey, taken, count in counted("choices"):
        for decision in msgspec.json.decode(taken, type=list[str]):
            path, _, arm = decision.partition(": ")
            if isinstance(steps[journey].get(path), Branch):
                _add(found[journey].choices.setdefault(path, {}), arm.removesuffix(".steps"), count)
    for journey, reason, count in counted("verdicts"):
        found[journey].verdicts[reason] = count
    return found


def _add(arms: dict[str, Count], arm: str, count: Count) -> None:
    held = arms.get(arm, Count())
    arms[arm] = Count(held.now + count.now, held.before + count.before)


def _windows(project: Project) -> exp.Query:
    """One row per journey: the seconds of its windows."""
    rows = [
        exp.select(
            text(j.name).as_("journey"), number(j.alerts.no_entries_s or DEFAULT_ENTRIES_S).as_("entries_s"),
            number(j.alerts.quiet_step_s).as_("step_s"), number(j.alerts.over_s).as_("over_s"),
        )
        for j in project.journeys
    ]  # fmt: skip
    return exp.union(*rows, distinct=False) if len(rows) > 1 else rows[0]


__all__ = ["Alert", "Alerting", "Count", "Facts", "facts_of", "judge"]
