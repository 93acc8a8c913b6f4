"""Worlds in which persons belong to accounts, which have traits, segments and journeys of their own."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from cadenza.definitions.expression import parse, parse_where
from cadenza.definitions.kinds import (
    Accounts,
    Arm,
    Branch,
    Enter,
    Entry,
    Exit,
    ExitStep,
    HandOff,
    Holdout,
    Journey,
    Outcome,
    OutcomeArm,
    Segment,
    Step,
    Trigger,
    Update,
    Wait,
    WaitFor,
)  # fmt: skip
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.additions import hand_off
from cadenza.simulate.chooser import Chooser, chance, pick

_HOUR = 3600
_BUSY = "events('Order Completed', within => '2 days') >= 2"
_TRIGGERS = [
    Trigger(event="Order Completed"), Trigger(event="Product Viewed", where=parse_where("quantity >= 2")),
    Trigger(event="Product Viewed"), Trigger(segment="busy_accounts", change="entered"), Trigger(becomes=parse(_BUSY)),
    Trigger(segment="busy_accounts", schedule="30 9,14 * * *"), Trigger(segment="busy_accounts", change="left"),
    Trigger(becomes=parse("plan = 'gold'")), Trigger(trait="plan", from_="free", to="gold"),
]  # fmt: skip


def _project(c: Chooser, project: Project) -> Project:
    """Two journeys of accounts beside those of persons, in one arena with them; mostly one enters the other."""
    source = pick(c, ["context.groupId", "context.groupId", "properties.category"])
    identity = replace(project.identity, accounts=Accounts(source=source, blocked=("acme-test",)))
    busy = Segment(name="busy_accounts", when=parse(_BUSY), subject="account")
    names = ["of_account", "of_account_too"]
    known = {trait.name for trait in project.traits}
    triggers = [t for t in _TRIGGERS if "plan" in known or t.event or t.segment]
    by_event = [t for t in triggers if t.event]
    journeys = [_journey(c, name, pick(c, triggers if n else by_event), project) for n, name in enumerate(names)]
    if chance(c, 60):
        first = journeys[0]
        journeys[0] = replace(first, steps=(*first.steps, *_entering(journeys[1].name)))
    return replace(
        project, identity=identity, segments=(*project.segments, busy), journeys=(*project.journeys, *journeys)
    )


def _entering(journey: str) -> tuple[Step, ...]:
    return (Enter(journey=journey),)


def _journey(c: Chooser, name: str, on: Trigger, project: Project) -> Journey:
    steps: list[Step] = [Wait(duration_s=pick(c, [60, _HOUR, 60]))]
    options: list[Step] = [
        WaitFor(any=(parse("event('Product Viewed')"), parse("in_segment('busy_accounts')")), until_s=6 * _HOUR),
        Branch(
            arms=(Arm(when=parse("events('Order Completed') >= 2"), steps=(ExitStep(reason="enough"),)),), unknown=(),
            otherwise=(Wait(duration_s=_HOUR),),
        ),
        HandOff(team="sales", title="Call", due_s=6 * _HOUR, outcomes=(OutcomeArm(name="won", steps=()),), context=(), recent_events=2),
    ]  # fmt: skip
    if any(trait.name == "score" and trait.from_ for trait in project.traits):
        options.append(Update(set={"score": 7}))
    steps += [options[2]] if chance(c, 60) else []
    steps += [pick(c, options) for _ in range(1 + c.below(2))]
    when = parse(pick(c, ["events('Order Completed') >= 1", "in_segment('busy_accounts')"])) if chance(c, 15) else None
    again = pick(c, ["after_exit", "once", "replace", "after_exit"]) if on.event else "once"
    return Journey(
        name=name, subject="account", owner="a@example.com", outcome=Outcome(metric=project.metrics[0].name),
        entry=Entry(on=on, when=when, again=again),  # type: ignore[arg-type]
        exit=Exit(goal=parse(pick(c, ["event('Trial Started')", "events('Support Opened') >= 2"])),
                  disqualified=parse("event('Support Opened') and plan = 'trial'" if "plan" in {t.name for t in project.traits} else "false"),
                  superseded=True, time_limit_s=pick(c, [86400, 10 * 86400])),
        steps=tuple(steps), priority=pick(c, [10, 50, 90]), holdout=Holdout(name="accounts_2024", share_bp=2000) if chance(c, 30) else None,
    )  # fmt: skip


def _call(c: Chooser, project: Project, at: int) -> dict[str, Any]:
    """What is done in the name of an account, or is said of it."""
    account = pick(
        c, ["acme", "globex", "acme", " acme ", "acme", "globex", pick(c, ["NULL", "acme-test", "", " initech"])]
    )
    if chance(c, 25):
        traits = {"plan": pick(c, ["gold", "free", "trial"]), "score": pick(c, [5, 12, "many"])}
        return {"type": "group", "groupId": account, "properties": traits}
    name = pick(
        c, ["Order Completed", *["Order Completed", "Product Viewed"] * 2, "Support Opened", "Trial Started", "Ping"]
    )
    values = {"revenue": pick(c, [10, 60]), "quantity": pick(c, [1, 2, 3]), "category": account}
    if chance(c, 10):
        return {"type": pick(c, ["page", "identify"]), "context": {"groupId": account}}
    return {"type": "track", "event": name, "properties": values, "context": {"groupId": account}}


ADDITION = Addition(project=_project, call=_call, record=hand_off.ADDITION.record, percent=60)
