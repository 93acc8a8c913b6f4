"""Steps, moves and verdicts in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from cadenza.definitions.expression_text import duration_text, write
from cadenza.definitions.kinds import (
    Branch,
    Call,
    Enter,
    Experiment,
    HandOff,
    Journey,
    Jump,
    LocalWait,
    Send,
    Split,
    Step,
    Update,
    Wait,
    WaitFor,
)

DROPPED = {
    "killed": "a kill switch covers it ({rule})",
    "unreachable": "there is no address for the channel",
    "suppressed": "the channel is suppressed for this person ({rule})",
    "policy": "the contact policy's rule '{rule}' holds it back",
    "no_jurisdiction": "the person's jurisdiction is not known",
    "no_consent": "there is no consent in force for {rule}",
    "holdout": "the person is in the global holdout '{rule}'",
    "step_holdout": "it is withheld from the person for measurement (holdout '{rule}')",
    "no_time_zone": "the person's time zone is not known",
    "deadline": "quiet hours would push it past the deadline",
    "cap": "the contact limit '{rule}' is reached",
    "hand_off": "a task of journey '{rule}' held marketing until the deadline",
}
DEFERRED = {
    "quiet_hours": "it is in the quiet hours ({rule})",
    "send_window": "it is outside the channel's send windows ({rule})",
    "cap": "the contact limit '{rule}' is reached",
    "hand_off": "an open task of journey '{rule}' holds marketing; it is asked again when the task ends",
}
REFUSED = {
    "no_key": "the entry key is empty",
    "suppressed": "the journey's 'unless' was true or unknown",
    "re_entry: running": "the person is already in this journey",
    "re_entry: once": "the person was in it before, and it may be entered once",
    "re_entry: goal": "the person has reached its goal before",
    "re_entry: after": "too little time has passed since the last entry",
    "paused: stop": "the journey was stopped",
    "paused: drain": "the journey was taking nobody (drain)",
    "paused": "the journey was paused ({rule})",
    "priority": "a journey at least as important holds the person in arena '{rule}'",
    "holdout": "the person is held out for measurement ('{rule}')",
}
_CAUSES = {
    "sent": "sent",
    "dropped": "message dropped",
    "updated": "profile updated",
    "asked": "entered the other journey, where it lets in",
    "restarted": "began again in a new version",
    "mapped": "moved into a new version",
    "goal": "reached its goal, and left",
    "disqualified": "was disqualified, and left",
    "superseded": "was superseded by a journey of higher priority, and left",
    "time_limit": "came to the time limit, and left",
}
_AWAITED = re.compile(r"^any\[(\d+)\]\.steps$")
_ARM = re.compile(r"^arms\[(\d+)\]\.steps$")


def span(delta: timedelta) -> str:
    """A duration as people say it, in its two largest units.

    >>> span(timedelta(days=5, hours=2, minutes=3)), span(timedelta(seconds=61)), span(timedelta())
    ('5 days 2 hours', '1 minute 1 second', 'no time')
    """
    left, said = int(delta.total_seconds()), []
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        n, left = divmod(left, size)
        if n:
            said.append(f"{n} {unit}{'' if n == 1 else 's'}")
    return " ".join(said[:2]) or "no time"


def steps_by_path(journey: Journey) -> dict[str, Step]:
    """Every step of a journey by its path, such as ``steps[0].split.free_shipping.steps[1]``; last steps of exits too."""
    found = dict(_walk(journey.steps, "steps"))
    for name, steps in journey.exit.last_steps.items():
        found |= _walk(steps, f"exit.{name}.then")
    return found


def _walk(steps: tuple[Step, ...], prefix: str) -> Iterator[tuple[str, Step]]:
    for index, one in enumerate(steps):
        path = f"{prefix}[{index}]"
        yield path, one
        match one:
            case Branch(arms=arms, unknown=unknown, otherwise=otherwise):
                for position, arm in enumerate(arms):
                    yield from _walk(arm.steps, f"{path}.branch.arms[{position}].steps")
                yield from _walk(unknown, f"{path}.branch.unknown")
                yield from _walk(otherwise, f"{path}.branch.otherwise")
            case Split(arms=split_arms):
                for split_arm in split_arms:
                    yield from _walk(split_arm.steps, f"{path}.split.{split_arm.name}.steps")
            case WaitFor(arms=own, matched=matched, timeout=timeout):
                for position, inside in enumerate(own):
                    yield from _walk(inside, f"{path}.wait_for.any[{position}].steps")
                yield from _walk(matched, f"{path}.wait_for.matched")
                yield from _walk(timeout, f"{path}.wait_for.timeout")
            case HandOff(outcomes=outcomes, breached=breached):
                for outcome in outcomes:
                    yield from _walk(outcome.steps, f"{path}.hand_off.{outcome.name}.steps")
                yield from _walk(breached.steps if breached else (), f"{path}.hand_off.breached.steps")
            case Call(answered=answer, failed=failed, unanswered=unanswered):
                for name, inside in (("answered", answer), ("failed", failed), ("unanswered", unanswered)):
                    yield from _walk(inside, f"{path}.call.{name}")


def position(journey: Journey | None, path: str | None, kind: str | None) -> str:
    """A resting step in words; without its definition its kind and path."""
    if path is None:
        return "the end"
    match steps_by_path(journey).get(path) if journey is not None else None:
        case Send(templates=templates) if templates:
            return f"send the best of {', '.join(templates)}"
        case Send(template=template):
            return f"send {template}"
        case Wait(local=LocalWait() as local):
            return f"wait {local_wait(local)}"
        case Wait(duration_s=seconds):
            return f"wait {duration_text(seconds)}"
        case WaitFor(until_s=seconds) as wait:
            awaited = (" and " if wait.all else " or ").join(write(c) for c in wait.conditions)
            return f"wait for {awaited}, at most {duration_text(seconds)}"
        case Enter(journey=other):
            return f"enter journey '{other}'"
        case HandOff(team=team, title=title, due_s=seconds):
            return f"handed to team {team} ('{title}'), due in {duration_text(seconds)}"
        case Call(destination=service, timeout_s=seconds):
            return f"asked {service}, waits for the answer at most {duration_text(seconds)}"
        case Update(set=values):
            return "set " + ", ".join(f"{name} = {value}" for name, value in values.items())
    return f"{kind or 'step'} ({path})"


def local_wait(wait: LocalWait) -> str:
    """A wait in local time in words.

    >>> local_wait(LocalWait(until="09:00", on=("mon", "tue"), zone="Europe/Berlin"))
    'until 09:00 on mon, tue (Europe/Berlin)'
    """
    if wait.until_date is not None:
        before = f"{duration_text(wait.minus_s)} before " if wait.minus_s else ""
        said = f"until {before}{wait.until_date}"
    elif wait.business_s is not None:
        said = f"{duration_text(wait.business_s)} of business hours ({wait.calendar})"
    elif wait.until is not None:
        said = f"until {wait.until}" + (f" on {', '.join(wait.on)}" if wait.on else "")
    else:
        said = f"{wait.days} calendar day{'' if wait.days == 1 else 's'}"
    return said + (f", at {wait.at}" if wait.at else "") + (f" ({wait.zone})" if wait.zone else "")


def taken(journey: Journey | None, said: str) -> str:
    """One decision of a hop ("steps[2]: unknown") in words."""
    path, _, choice = said.partition(": ")
    found = steps_by_path(journey).get(path) if journey is not None else None
    if isinstance(found, Split):
        return f"{'experiment' if isinstance(found, Experiment) else 'split'} {found.name}: {choice}"
    if isinstance(found, WaitFor) and choice == "already matched":
        return "what it waits for was true already"
    if isinstance(found, WaitFor) and (own := _AWAITED.match(choice)):
        return f"{write(found.any[int(own[1])])} was true"
    if isinstance(found, Jump):
        return f"back to '{found.to}'" if choice == "again" else f"no more rounds from '{found.to}'"
    if not isinstance(found, Branch):
        return said
    conditions = [write(arm.when) for arm in found.arms]
    arm = _ARM.match(choice)
    if arm:
        return f"branch: {conditions[int(arm[1])]} was true"
    if choice == "unknown":
        return f"branch: {' / '.join(conditions)} was unknown"
    return f"branch: {' / '.join(conditions)} was false, so otherwise"


def moved(journey: Journey | None, cause: str, waited: timedelta, record: str | None, way: list[str], to: str) -> str:
    """A move in one line: what set it off, the decisions on the way, and where it rests."""
    by = f" (by '{record}')" if record else ""
    match cause:
        case "entered":
            start = "entered"
        case "timer":
            start = f"waited {span(waited)}"
        case "matched":
            start = f"what it waited for came true after {span(waited)}{by}"
        case "breached":
            start = f"the task was not completed within {span(waited)}"
        case _ if cause.startswith("outcome:"):
            start = f"the task was completed as '{cause.removeprefix('outcome:')}' after {span(waited)}{by}"
        case "answered":
            start = f"the service answered after {span(waited)}"
        case "failed":
            start = f"the call failed after {span(waited)}" if waited else "the call was not allowed"
        case "unanswered":
            start = f"the service did not answer within {span(waited)}"
        case "timeout":
            start = f"waited {span(waited)} in vain"
        case "past":
            start = "the date it waits for lies in the past"
        case "unknown":
            start = "the date it waits for, or the time zone, is not known"
        case _:
            start = _CAUSES.get(cause, cause)
    return "; ".join([start, *(taken(journey, said) for said in way), f"now: {to}" if to != "the end" else "the end"])


def judged(verdict: str, reason: str | None, rule: str | None, until: datetime | None) -> str:
    """A verdict in a sentence.

    >>> judged("drop", "no_consent", "marketing/email", None)
    'not sent: there is no consent in force for marketing/email'
    """
    if verdict == "send":
        return "sent: no rule stood against it"
    known = (DEFERRED if verdict == "defer" else DROPPED).get(reason or "", reason or "no reason given")
    text = filled(known, rule)
    return f"put off until {until:%Y-%m-%d %H:%M:%S}: {text}" if until is not None else f"not sent: {text}"


def weighed(
    *, chosen: bool, verdict: str, reason: str | None, until: datetime | None, worth: float | None, messages: int | None,
    responses: int | None,
) -> str:  # fmt: skip
    """What was found of one of the channels of a choice.

    >>> weighed(chosen=False, verdict="send", reason=None, until=None, worth=0.0415, messages=4, responses=1)
    'not chosen: open, worth 0.0415 (1 response to 4 messages)'
    """
    found = {"send": "open", "defer": f"not before {until:%Y-%m-%d %H:%M:%S} ({reason})" if until else ""}.get(verdict)
    said = f"{'chosen' if chosen else 'not chosen'}: {found or reason}"
    if worth is not None:
        said += f", worth {worth:g}"
    if worth is not None and responses is not None:
        said += f" ({responses} response{'' if responses == 1 else 's'} to {messages} message{'' if messages == 1 else 's'})"
    return said


def refused(reason: str, rule: str | None) -> str:
    """A refusal in a sentence."""
    known = REFUSED.get(f"{reason}: {rule}") or REFUSED.get(reason, reason)
    return filled(known, rule)


def worked(
    change: str, by: str | None, outcome: str | None, team: str | None, assignee: str | None, note: str | None,
    refusal: str | None,
) -> str:  # fmt: skip
    """What happened to a task, in a sentence.

    >>> worked("completed", "ann", "won", None, None, None, "already_withdrawn")
    "completed as 'won' by ann, without effect (already withdrawn)"
    """
    match change:
        case "completed":
            said = f"completed as '{outcome}'"
        case "reassigned":
            said = "given to " + ", ".join(part for part in (team and f"team {team}", assignee) if part)
        case "breached":
            said = "its time was up"
        case "escalated":
            said = f"passed to team {team}"
        case "withdrawn":
            return f"withdrawn, since the passage ended: {(note or '').replace('_', ' ')}"
        case _:
            said = change
    said += f" by {by}" if by else ""
    said += f", without effect ({refusal.replace('_', ' ')})" if refusal else ""
    return f"{said}: {note}" if note else said


def answered(result: str, reason: str | None, trait: str | None, answer: str | None, detail: str | None) -> str:
    """What came of a call, in a sentence.

    >>> answered("failed", "wrong_type", "risk", '{"risk": "high"}', None)
    'failed: what the answer has for \'risk\' is not of its type: {"risk": "high"}'
    """
    said = {
        "answered": "answered",
        "ambiguous": "it is not known whether it was asked",
        "late": "came when nobody waited for it any more, without effect",
        "cancelled": f"withdrawn before it was put: {(reason or '').replace('_', ' ')}",
        "failed": "failed",
    }.get(result, result)
    if reason == "missing":
        said = f"failed: the answer has nothing for '{trait}'"
    elif reason == "wrong_type":
        said = f"failed: what the answer has for '{trait}' is not of its type"
    told = (answer or detail or "")[:200]
    return f"{said}: {told}" if told else said


def filled(text: str, rule: str | None) -> str:
    """A sentence with its rule; the brackets and quotes go when there is none."""
    if rule:
        return text.replace("{rule}", rule)
    return re.sub(r" (for |in arena )?[('\"]*\{rule\}[)'\"]*", "", text)
