"""What to do next, read off the report's own figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cadenza.definitions.implied import effective, is_implied
from cadenza.definitions.project import Project
from cadenza.definitions.trigger_text import trigger_words
from cadenza.errors import near_miss
from cadenza.runtime.report.figures import Comparison, Count, Hint, JourneyFigures, Quarantined, Report

_MOST = 10
_NOTABLE = 0.2
"""A reason is worth a hint when it takes a fifth of the candidates."""

_DROPPED = {
    "unreachable": "Collect the address (identify with it), or add a step on another channel.",
    "step_holdout": "That is its share of the step's holdout.",
    "suppressed": "Addresses bounce or complain: check how they were collected.",
    "policy": "A suppress rule of the policy holds these back. See policies/ if that is too wide.",
    "no_consent": "Ask for consent where people sign up, and check that the source sends 'Consent Updated'.",
    "holdout": "The global holdout keeps these back, as declared.",
    "no_jurisdiction": "Set the jurisdiction trait, or declare unknown_jurisdiction in the policy.",
    "no_time_zone": "Set the time zone trait, or declare missing_time_zone in the policy.",
    "deadline": "Quiet hours push these past the deadline: lengthen deadline, or send at another time.",
    "cap": "Journeys compete for the same contacts: raise priority where it matters, or loosen the cap.",
}
_REFUSED = {
    "no_key": "The entry key is missing on the events: check the contract and the source's mapping.",
    "suppressed": "The journey's 'unless' is true or unknown for these.",
    "re_entry": "They have been here before: see 'again' of the entry.",
    "priority": "Another journey of the arena holds these persons: see priority and arena.",
    "holdout": "The holdout keeps these back, as declared.",
}
_NOT_QUALIFIED = {
    "when": "The journey's 'when' was false for these.",
    "when_unknown": "The journey's 'when' could not be decided: a trait it uses is missing. Collect it, or use coalesce().",
}


def hints(report: Report, project: Project) -> tuple[Hint, ...]:
    """At most ten next steps, the gravest first."""
    found = [*_sums(report), *_quarantine(report), *_ratios(report), *_experiments(report)]
    for figures in report.journeys:
        found += [*_entries(figures, report, project), *_messages(figures), *_delivery(figures)]
    found += [*_comparisons(report, project), *_people(report)]
    return tuple(found[:_MOST])


def _sums(report: Report) -> Iterator[Hint]:
    broken = [check.what for check in report.checks if not check.holds]
    if broken:
        yield Hint(
            fact=f"{len(broken)} of {len(report.checks)} checks do not add up, first: {broken[0]}.",
            todo="Do not trust these figures. 'cadenza rebuild --verify' makes the store anew and compares.",
        )


def _quarantine(report: Report) -> Iterator[Hint]:
    worst = max(report.log.quarantined, key=lambda q: q.n, default=None)
    if worst is not None:
        yield Hint(
            fact=f"{_sum(report.log.quarantined):,} records are in quarantine, {worst.n:,} of them from "
            f"{worst.source}: {worst.reason}.",
            todo="'cadenza quarantine' lists them. Mend the sender, or the contract if it is too strict.",
        )


def _ratios(report: Report) -> Iterator[Hint]:
    every = [(f.name, c) for f in report.journeys for c in f.comparisons]
    for name, comparison in [*every, *(("programme", c) for c in report.programmes)]:
        if comparison.sample_ratio is not None and not comparison.sample_ratio.ok:
            yield Hint(
                fact=f"{name}: the arms are not in the declared ratio ({comparison.holdout}).",
                todo="Something decides after assignment. Do not read the difference before it is found.",
            )


def _experiments(report: Report) -> Iterator[Hint]:
    for figures in report.journeys:
        for experiment in figures.experiments:
            if experiment.sample_ratio is not None and not experiment.sample_ratio.ok:
                yield Hint(
                    fact=f"{figures.name}: the arms of the experiment '{experiment.name}' are not in the declared ratio.",
                    todo="Something decides after the arms are drawn. Do not read the differences before it is found.",
                )


def _entries(figures: JourneyFigures, report: Report, project: Project) -> Iterator[Hint]:
    if figures.candidates == 0:
        yield from _never_triggered(figures, report, project)
        return
    reasons = [(c, _REFUSED.get(c.name.split(":")[0], "")) for c in figures.refused]
    reasons += [(c, _NOT_QUALIFIED.get(c.name, "")) for c in figures.not_qualified]
    worst, todo = max(reasons, key=lambda pair: pair[0].n, default=(Count("", 0), ""))
    if figures.entered == 0:
        yield Hint(
            fact=f"{figures.name}: no one of {figures.candidates:,} candidates entered, {worst.n:,} of them "
            f"because of {_plain(worst)}.",
            todo=todo or "'cadenza explain PERSON' shows the rule for one person.",
        )
    unknown = sum(c.n for c in figures.not_qualified if c.name == "when_unknown")
    if figures.entered and unknown >= _NOTABLE * figures.candidates:
        yield Hint(
            fact=f"{figures.name}: for {unknown:,} of {figures.candidates:,} candidates 'when' was unknown.",
            todo=_NOT_QUALIFIED["when_unknown"],
        )


def _never_triggered(figures: JourneyFigures, report: Report, project: Project) -> Iterator[Hint]:
    journey = next((j for j in project.journeys if j.name == figures.name), None)
    if journey is None:
        return
    trigger = effective(journey).entry.on
    if trigger.segment is not None and is_implied(trigger.segment):
        yield Hint(
            fact=f"{figures.name}: for no one yet: {trigger_words(journey)}.",
            todo="Check it with 'cadenza plan', or wait.",
        )
        return
    if trigger.segment is not None:
        fact = f"{figures.name}: no one {trigger.change} segment '{trigger.segment}' yet."
        yield Hint(fact=fact, todo="Check the segment's condition with 'cadenza plan', or wait.")
        return
    seen = {c.name: c.n for c in report.events}
    if trigger.event in seen:
        fact = f"{figures.name}: {seen[trigger.event]:,} events '{trigger.event}', none matches its 'where'."
        yield Hint(fact=fact, todo="Check the properties that 'where' compares with what the source sends.")
        return
    fact = f"{figures.name}: no event '{trigger.event}' has arrived."
    yield Hint(fact=fact, todo=near_miss(str(trigger.event), seen) or "Send one, or import a source.")


def _messages(figures: JourneyFigures) -> Iterator[Hint]:
    messages = figures.messages
    for count in messages.dropped:
        if count.n >= _NOTABLE * messages.candidates and count.name != "holdout":
            yield Hint(
                fact=f"{figures.name}: {count.n:,} of {messages.candidates:,} messages dropped: {_plain(count)}.",
                todo=_DROPPED.get(count.name, "'cadenza explain PERSON' shows the rule for one person."),
            )


def _delivery(figures: JourneyFigures) -> Iterator[Hint]:
    states = {c.name: c.n for c in figures.messages.delivery}
    tried = states.get("handed over", 0) + states.get("failed", 0)
    if states.get("failed", 0) > 0.02 * tried:
        yield Hint(
            fact=f"{figures.name}: {states['failed']:,} of {tried:,} messages failed at the channel.",
            todo="'cadenza explain PERSON' shows the provider's answer. Check the destination's settings.",
        )
    if states.get("ambiguous", 0):
        yield Hint(
            fact=f"{figures.name}: {states['ambiguous']:,} messages may or may not have been taken by the provider.",
            todo="They are never sent again by guess. Look them up at the provider.",
        )


def _comparisons(report: Report, project: Project) -> Iterator[Hint]:
    every = [(f.name, c) for f in report.journeys for c in f.comparisons]
    if every and all(c.kind == "placebo" for _, c in every):
        yield Hint(
            fact="Nothing was sent to anyone in the compared windows, so every comparison is a placebo.",
            todo="Start sending with 'cadenza run'; effects show when the first live windows are over.",
        )
    for name, comparison in every:
        if comparison.kind == "measured":
            yield from _unfinished(name, comparison)
    measured = {p.name for p in project.policy.programmes if p.metric is not None}
    without = [j.name for j in project.journeys if j.holdout is None and j.programme not in measured]
    if without:
        yield Hint(
            fact=f"Without a holdout nobody can say what these are worth: {', '.join(without)}.",
            todo="Declare holdout: { share: 10%, name: ... } in the journey.",
        )


def _unfinished(name: str, comparison: Comparison) -> Iterator[Hint]:
    if comparison.lift.low is None:
        waiting = comparison.treated.incomplete + comparison.held_out.incomplete
        yield Hint(
            fact=f"{name}: the windows of {waiting:,} units are not over yet.",
            todo=f"Come back {comparison.within_s // 86400} days after the first entries.",
        )


def _people(report: Report) -> Iterator[Hint]:
    people = report.people
    if people.living and people.anonymous > people.identified:
        yield Hint(
            fact=f"{people.anonymous:,} of {people.living:,} persons are anonymous.",
            todo="Identify people when they sign in or order, and send their anonymous id with it.",
        )


def _plain(count: Count) -> str:
    """A reason without its underscores and rule."""
    return count.name.split(":")[0].replace("_", " ")


def _sum(items: Iterable[Quarantined]) -> int:
    return sum(item.n for item in items)
