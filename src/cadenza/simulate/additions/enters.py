"""Journeys that enter others: with keys and without, in one arena and across, several at one instant."""

from __future__ import annotations

from msgspec.structs import replace

from cadenza.definitions.expression import FALSE, parse, parse_where
from cadenza.definitions.kinds import Enter, Entry, Exit, Holdout, Journey, Send, Step, Trigger, Update, Wait
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, chance, pick


def _project(c: Chooser, project: Project) -> Project:
    exit_ = Exit(goal=FALSE, disqualified=FALSE, superseded=chance(c, 70), time_limit_s=86400 * 20)
    base = replace(project.journeys[0], exit=exit_, holdout=None)
    arena = pick(c, ["default", None, "other"])
    keyed = pick(c, [None, parse_where("order_id")])
    asks = Enter(journey="guest")
    few: list[tuple[Step, ...]] = [
        (asks,), (asks, Wait(duration_s=3600)), (Wait(duration_s=3600), asks, Send(template="hello")),
        (Update(set={"plan": "gold"}), asks, asks), (Send(template="receipt"), asks, Enter(journey="last"), Wait(duration_s=7200)),
    ]  # fmt: skip

    def host(name: str) -> Journey:
        entry = Entry(on=Trigger(event="Order Completed"), again="after_exit", key=keyed)
        return replace(
            base, name=name, entry=entry, steps=pick(c, few), arena=pick(c, [None, arena]), priority=pick(c, [50, 20])
        )

    guest_on = pick(c, [Trigger(event="Trial Started"), Trigger(segment="s0"), Trigger(event="Order Completed")])
    guest_key = parse_where("order_id") if guest_on.event == "Order Completed" and chance(c, 60) else None
    again = pick(c, ["after_exit", "after", "once"])
    entry = Entry(
        on=guest_on, key=guest_key, again=again, again_after_s=3600 * 6 if again == "after" else 0,  # type: ignore[arg-type]
        when=parse(pick(c, ["orders >= 2", "plan = 'gold'", "vip"])) if chance(c, 40) else None,
        unless=parse(pick(c, ["score > 10", "in_segment('s0')"])) if chance(c, 25) else None,
    )  # fmt: skip
    held = Holdout(name="guests", share_bp=4000) if chance(c, 30) else None
    steps = (Wait(duration_s=3600 * pick(c, [1, 6])), Enter(journey="last"))
    guest = replace(base, name="guest", entry=entry, steps=steps, arena=arena, priority=pick(c, [50, 80]), holdout=held)
    last = Entry(on=Trigger(event="Support Opened"), again="after_exit")
    end = replace(
        base, name="last", entry=last, steps=(Wait(duration_s=1800),), arena=arena, priority=pick(c, [50, 90])
    )
    return replace(project, journeys=(*project.journeys, host("host_a"), host("host_b"), guest, end))


ADDITION = Addition(project=_project)
