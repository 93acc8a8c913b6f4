"""Mistakes in the engine that break a promise to somebody, each noticed by a rule of the auditor in one small town."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from cadenza.clock import iso, to_micros
from cadenza.definitions.expression import FALSE, parse
from cadenza.definitions.kinds import Destination, Metric, Template, TraitDefinition
from cadenza.definitions.kinds_journey import Entry, Exit, Journey, Outcome, Send, Trigger, Wait
from cadenza.definitions.kinds_policy import Cap, Holdout, Policy, Programme, QuietHours, SendWindow, Suppress
from cadenza.definitions.project import Project
from cadenza.ids import enrollment_id, message_id
from cadenza.ports.ledger import Record
from cadenza.simulate.worlds import World, deploy_record
from tests.simulation.engine_faults import ENGINE_FAULTS, Slip

_GATE, _HOURS, _CAPS = (f"stages/governance/{name}.sql" for name in ("judging", "hours", "caps"))
_KNOWN = {
    "tie_grants_consent": "consent", "late_statement_wins": "consent", "holdout_bucket_off": "journey holdout",
    "suppress_unknown_lets_through": "suppression conditions", "cap_off_by_one": "caps", "all_candidates_at_once": "caps",
    "forbidden_by_now_stays": "consent at hand-over", "replay_is_delivered": "replay",
}  # fmt: skip
AUDIT_FAULTS: dict[str, tuple[str, tuple[Slip, ...]]] = {
    **{name: (rule, ENGINE_FAULTS[name]) for name, rule in _KNOWN.items()},
    "quiet_hours_in_london": ("quiet hours", (Slip(_HOURS, "ON r.tz = g.zone AND", "ON r.tz = 'Europe/London' AND"),)),
    "programme_holdout_is_not_heeded": ("programme holdout", (
        Slip("stages/journeys/entering.sql", "AND p.arm = 'holdout';", "AND FALSE;"),
    )),
    "step_holdout_is_written_only": ("step holdout", (Slip(_GATE, "AND h.arm = 'holdout';", "AND FALSE;"),)),
    "bounces_do_not_suppress": ("suppression", (
        Slip(_GATE, "OR (c.suppressed_ IS NOT NULL AND s.message_class = 'marketing')", ""),
        Slip(_GATE, "c.suppressed_ IN ('hard_bounce', 'complaint', 'legal')", "c.suppressed_ IN ('legal')"),
    )),
    "suppressions_end_too_soon": ("suppression", (
        Slip("stages/profiles.sql", "s.until > w.now", "s.until > w.now + to_seconds(7200)"),
    )),
    "nobody_is_asked_for_consent": ("consent", (Slip(_GATE, "WHEN NOT coalesce(c.consented_, FALSE)", "WHEN FALSE"),)),
    "global_holdout_is_written_only": ("global holdout", (Slip(_GATE, "WHEN :arm = 'holdout' THEN", "WHEN FALSE THEN"),)),
    "caps_forget_a_merge": ("caps", (Slip(_CAPS, "ON m.pid = g.pid", "ON m.pid = g.pid AND m.origin_pid = g.pid"),)),
    "marketing_goes_as_transactional": ("caps", (Slip(_GATE, "WHEN s.message_class <> 'marketing' THEN", "WHEN TRUE THEN"),)),
    "exits_withdraw_nothing": ("exit before hand-over", (Slip("runtime/wave.py:Wave._journeys", "if ended and self._live:", "if False:"),)),
    "everyone_has_one_address": ("address", (Slip("stages/effects.sql", "d.purpose, d.address,", "d.purpose, 'ada@example.com',"),)),
}  # fmt: skip
"""Fault -> the auditor's rule that notices, and what to get wrong in the engine."""

MORNING = datetime(2024, 5, 6, 9)
_DAY = 86_400


def town_project() -> Project:
    """Journeys of one message under every kind of rule."""
    hello = Template(name="hello", channel="email", purpose="marketing", subject="s", body="b", owner="o")
    first = Journey(
        name="first", owner="o", outcome=Outcome(metric="orders"), priority=60, arena=None, holdout=Holdout(name="part", share_bp=3000),
        entry=Entry(on=Trigger(event="Order Completed"), again="after", again_after_s=1800),
        exit=Exit(goal=parse("event('Trial Started')"), disqualified=FALSE, superseded=True, time_limit_s=9 * _DAY),
        steps=(Send(template="hello"), Wait(duration_s=2 * _DAY)),
    )  # fmt: skip
    viewed = Entry(on=Trigger(event="Product Viewed"))
    withheld = (Send(template="hello", holdout=Holdout(name="withheld_0", share_bp=3000)),)
    begun = Entry(on=Trigger(event="Cart Started"))
    fourth = replace(first, name="fourth", holdout=None, entry=begun, programme="group", steps=withheld)
    names = ("email", "plan", "time_zone")
    return Project(
        name="town", templates=(hello,), metrics=(Metric(name="orders", kind="count", event="Order Completed", within_s=_DAY),),
        journeys=(first, replace(first, name="second", priority=50, holdout=None), replace(first, name="third", holdout=None, entry=viewed), fourth),
        traits=tuple(TraitDefinition(name=n, type="string", from_=f"traits.{n}") for n in names),
        destinations=(Destination(name="mail", channel="email", adapter="mailbox"),),
        policy=Policy(
            caps=(Cap(name="daily", limit=1, per_s=_DAY),), quiet_hours=QuietHours(from_="21:00", to="08:00"), deadline_s=0,
            suppress=(Suppress(name="trial", when=parse("plan = 'trial'")),), holdout=Holdout(name="world", share_bp=2000),
            send_windows=(SendWindow(from_="06:00", to="24:00"),),
            programmes=(Programme(name="group", holdout=Holdout(name="group_0", share_bp=3000)),),
        ),
    )  # fmt: skip


class Town:
    """Grows the log; every record comes a microsecond after the one before, or when it is told."""

    def __init__(self, project: Project) -> None:
        self.at = to_micros(MORNING)
        self.records: list[Record] = [deploy_record(project, self.at)]

    def at_hour(self, hours: float) -> None:
        self.at = to_micros(MORNING + timedelta(hours=hours))

    def add(self, kind: str, **body: Any) -> Record:
        self.at += 1
        offset = len(self.records) + 1
        said = msgspec.json.encode({"occurred_at": self.at, "context": {}, **body}, order="sorted")
        made = replace(
            self.records[0], offset=offset, recorded_at=self.at, kind=kind, message_id=f"m{offset}", body=said
        )
        self.records.append(made)
        return made

    def track(self, user: str, event: str, **more: Any) -> Record:
        return self.add("call", type="track", userId=user, event=event, **more)

    def consent(self, user: str, granted: bool, **more: Any) -> None:
        said = {"purpose": "marketing", "channel": "email", "granted": granted}
        self.track(user, "Consent Updated", properties=said, **more)


GROUPS = (
    "plain",
    "tie",
    "late",
    "never",
    "bounced",
    "quiet",
    "unknown",
    "leaves",
    "arrives",
    "two",
    "replayed",
    "listed",
    "carts",
)
EACH = 6


def town() -> World:
    """Six people of each kind, of whom most order at noon, and all later."""
    log, pids = Town(town_project()), {}
    people = [f"{group}-{n}" for group in GROUPS for n in range(EACH)]
    for user in people:
        group = user.partition("-")[0]
        traits = {"email": f"{user}@example.com", "time_zone": "Asia/Tokyo" if group == "quiet" else "Europe/London"}
        traits |= {} if group == "unknown" else {"plan": "gold"}
        pids[user] = log.add("call", type="identify", userId=user, traits=traits).offset
        if group != "never":
            log.consent(user, True)
    log.add("command", command="replay")
    for user in people:
        _what_happened(log, user)
    log.add("command", command="live")
    # 12:30 UTC: in London it is day, in Tokyo it is night.
    log.at_hour(3.5)
    ordered = {u: log.track(u, "Order Completed") for u in people if not u.startswith(("replayed", "two"))}
    log.at_hour(4.5)
    for user in people:
        if user.startswith("two"):
            log.add("call", type="alias", userId=user, previousId=f"other-{user}")
        if user.startswith("arrives"):
            log.track(user, "Trial Started")
        if user.startswith("leaves"):
            log.track(user, "Unsubscribed", properties={"channel": "email"})
    log.at_hour(5)
    for user in people:
        log.track(user, "Order Completed")
    log.at_hour(7)
    for user, order in ordered.items():
        for journey in ("first", "second"):
            passage = enrollment_id(journey, pids[user], "", order.recorded_at)
            said = {"message_id": message_id(passage, "steps[0]")}
            log.add("outcome", type="track", event="Message Sent", person=pids[user], properties=said)
    horizon = log.at + 86_400_000_000
    return World(project=town_project(), records=tuple(log.records), horizon=horizon)


def _what_happened(log: Town, user: str) -> None:
    """What makes a person one of their kind, before anybody orders for real."""
    group, at = user.partition("-")[0], log.at
    if group == "tie":
        log.consent(user, True, occurred_at=at)
        log.consent(user, False, occurred_at=at)
    elif group == "late":
        log.consent(user, False)
        log.consent(user, True, occurred_at=at - 1)
    elif group == "bounced":
        log.track(user, "Email Bounced", properties={"bounce_type": "hard"})
    elif group == "carts":
        log.track(user, "Cart Started")
    elif group == "listed":
        until = iso(MORNING + timedelta(hours=5.2))
        log.track(user, "Suppressed", properties={"channel": "*", "reason": "claim", "until": until})
    elif group == "two":
        log.add(
            "call",
            type="identify",
            userId=f"other-{user}",
            traits={"email": f"other-{user}@example.com", "plan": "gold", "time_zone": "Europe/London"},
        )
        log.consent(f"other-{user}", True)
        log.track(f"other-{user}", "Product Viewed")
    elif group == "replayed":
        log.track(user, "Order Completed")
