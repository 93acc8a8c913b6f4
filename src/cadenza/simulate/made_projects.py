"""Generated projects: small, valid, and with every kind of definition and step in play."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from cadenza.definitions.expression import FALSE, Expr, parse, parse_where
from cadenza.definitions.flags import with_flags
from cadenza.definitions.kinds import (
    Arm,
    Branch,
    Cap,
    Contract,
    Destination,
    Entry,
    Exit,
    ExitStep,
    Holdout,
    Identifier,
    Identity,
    Journey,
    Metric,
    Outcome,
    Policy,
    Property,
    QuietHours,
    Segment,
    Send,
    Split,
    SplitArm,
    Step,
    Suppress,
    Template,
    TraitDefinition,
    Trigger,
    Update,
    Wait,
    WaitFor,
)  # fmt: skip
from cadenza.definitions.project import Project
from cadenza.simulate.chooser import Chooser, chance, pick
from cadenza.simulate.person import inner_steps

# --- projects --------------------------------------------------------------------------------------------

EVENTS: dict[str, dict[str, str]] = {
    "Order Completed": {"revenue": "decimal", "quantity": "integer", "order_id": "string", "gift": "boolean"},
    "Product Viewed": {"category": "string", "quantity": "integer"},
    "Support Opened": {"severity": "integer", "category": "string"},
    "Trial Started": {"ends_at": "timestamp", "category": "string"},
}
"""Declared events; a property's name has one type everywhere. ``Ping`` is sent too, and nothing knows it."""

_WHERES = {
    "revenue": ["revenue > 50", "revenue between 10.5 and 99.99", "revenue * 2 >= 100"],
    "quantity": ["quantity >= 2", "quantity - 1 = 0", "quantity + 1 <> 3"],
    "order_id": ["order_id like 'o_'", "order_id is not null"],
    "gift": ["gift", "not gift", "gift is null or gift"],
    "category": ["category = 'toys'", "category in ('toys', 'garden')", "category like '%d%'"],
    "severity": ["severity > 3", "coalesce(severity, 9) > 5"],
    "ends_at": ["ends_at > cast('2024-10-01' as timestamp)", "ends_at is null"],
}
_SPANS = ["1 day", "6 hours", "2 days", "5 days", "1 hour"]
_SENT_TRAITS = {"plan": "string", "score": "integer", "credit": "decimal", "vip": "boolean", "renews_at": "timestamp"}
_TRAIT_TESTS = {
    "plan": ["plan = 'gold'", "plan in ('gold', 'trial')", "plan is null", "plan like 'g%'", "plan <> 'free'"],
    "score": ["score > 10", "score + 5 <= 20", "coalesce(score, 0) between 5 and 15"],
    "credit": ["credit >= 12.5", "credit * 2 < 30"],
    "vip": ["vip", "not vip", "coalesce(vip, false)"],
    "renews_at": ["older_than(renews_at, '1 day')", "renews_at is not null"],
    "orders": ["orders >= 2", "orders = 1", "orders = 0"],
    "revenue_total": ["revenue_total > 100", "coalesce(revenue_total, 0) < 60"],
    "biggest": ["biggest >= 50"],
    "last_order_at": ["older_than(last_order_at, '2 days')", "not older_than(last_order_at, '1 day')"],
    "first_view_at": ["first_view_at is not null"],
    "recent_orders": ["recent_orders >= 2", "recent_orders = 0"],
    "recent_revenue": ["recent_revenue > 50", "recent_revenue is null"],
    "loyal": ["loyal"],
    "dormant": ["dormant", "coalesce(dormant, true)"],
}


def _condition(c: Chooser, names: Sequence[str], segments: Sequence[str], journeys: Sequence[str], event: bool) -> str:
    """Text of a condition over what is in scope."""
    shape = c.below(9)
    if shape < 6:
        return _atom(c, names, segments, journeys, event)
    left, right = (_atom(c, names, segments, journeys, event) for _ in range(2))
    return {6: f"({left}) and ({right})", 7: f"({left}) or ({right})", 8: f"not ({left})"}[shape]


def _atom(c: Chooser, names: Sequence[str], segments: Sequence[str], journeys: Sequence[str], event: bool) -> str:
    kind = c.below(12)
    if kind == 0 or (kind == 1 and not event):
        return f"{_events(c)} >= {1 + c.below(3)}"
    if kind in (1, 2) and event:
        name = pick(c, list(EVENTS))
        return f"event('{name}'{_where(c, name)})"
    if kind == 3 and segments:
        return f"in_segment('{pick(c, segments)}')"
    if kind == 4 and journeys:
        return f"in_journey('{pick(c, journeys)}')"
    if kind == 5:
        return "consented('marketing', 'email')"
    if kind == 6:
        return f"older_than({pick(c, ['last_at', 'first_at'])}('{pick(c, list(EVENTS))}'), '{pick(c, _SPANS)}')"
    if kind == 7:
        within = f", within => '{pick(c, _SPANS)}'" if c.below(2) else ""
        function = pick(c, ["sum_of", "min_of", "max_of"])
        return f"{function}('Order Completed', revenue{within}) > {pick(c, [50, 20, 100])}"
    return pick(c, _TRAIT_TESTS[pick(c, names)])


def _events(c: Chooser) -> str:
    name = pick(c, list(EVENTS))
    within = f", within => '{pick(c, _SPANS)}'" if c.below(2) else ""
    return f"events('{name}'{_where(c, name)}{within})"


def _where(c: Chooser, name: str) -> str:
    return f", where => {pick(c, _WHERES[pick(c, list(EVENTS[name]))])}" if c.below(3) == 2 else ""


def make_project(c: Chooser) -> Project:
    """A random project that passes validation; now and then with a corner that chance alone would seldom meet."""
    return pick(c, [_plain, _plain, _plain, _plain, _overdue, _rush, _patient])(c, _random_project(c))


def _plain(c: Chooser, project: Project) -> Project:
    return project


def _overdue(c: Chooser, project: Project) -> Project:
    """A time limit that falls on the very instant at which a segment is left, which is another journey's trigger."""
    window = parse("events('Order Completed', within => '1 day') >= 1")
    first, *rest = project.journeys
    waiting = (WaitFor(any=(parse("event('Trial Started')"),), until_s=86400), Send(template="hello"))
    entry = Entry(on=Trigger(event="Order Completed"), again=pick(c, ["after_exit", "once"]))  # type: ignore[arg-type]
    exit_ = Exit(goal=FALSE, disqualified=FALSE, superseded=chance(c, 50), time_limit_s=86400)
    clock = replace(first, entry=entry, exit=exit_, steps=waiting, priority=50, arena="default", holdout=None)
    entry = Entry(on=Trigger(segment="s0", change="left"), again="after", again_after_s=3600)
    follower = replace(clock, name="j9", entry=entry, steps=(Wait(duration_s=3600),), priority=pick(c, [50, 20, 80]))
    segments = (replace(project.segments[0], when=window), *project.segments[1:])
    return replace(project, journeys=(clock, *rest, follower), segments=segments)


def _rush(c: Chooser, project: Project) -> Project:
    """Several messages for one person at the end of the night, where only one fits under the cap."""
    steps: tuple[Step, ...] = (Send(template="hello"), Wait(duration_s=3600 * pick(c, [1, 6])), Send(template="news"))
    entry = Entry(on=Trigger(event="Order Completed"))
    exit_ = Exit(goal=FALSE, disqualified=FALSE, superseded=True, time_limit_s=864000)
    base = replace(project.journeys[0], entry=entry, exit=exit_, steps=steps, arena=None, holdout=None)
    crowd = tuple(replace(base, name=f"j{i}", priority=pick(c, [50, 20])) for i in range(3))
    policy = Policy(
        caps=(Cap(name="cap0", limit=1, per_s=3600 * pick(c, [24, 12, 24]), when_full="defer"),), missing_time_zone="UTC",
        quiet_hours=QuietHours(from_="21:00", to="08:00"), deadline_s=3600 * pick(c, [24, 30, 48]),
    )  # fmt: skip
    return replace(project, journeys=crowd, policy=policy)


def _patient(c: Chooser, project: Project) -> Project:
    """A journey that everyone is in for long, so that people who turn out to be one are in it twice."""
    steps = (Wait(duration_s=3600 * pick(c, [120, 48])), *project.journeys[0].steps)
    entry = Entry(on=Trigger(event="Order Completed"), key=pick(c, [None, parse_where("order_id")]))
    done = pick(c, [FALSE, parse("event('Support Opened')")])
    exit_ = replace(project.journeys[0].exit, goal=done, disqualified=done, time_limit_s=_longest(steps)[1] + 86400)
    patient = replace(project.journeys[0], entry=entry, exit=exit_, steps=steps, priority=80, holdout=None)
    return replace(project, journeys=(patient, *project.journeys[1:]))


def _random_project(c: Chooser) -> Project:
    traits = _traits(c)
    names = [t.name for t in traits if t.name in _TRAIT_TESTS]
    journeys = [f"j{i}" for i in range(1 + pick(c, [0, 1, 2, 2, 3, 3, 3]))]
    segments: list[Segment] = []
    for i in range(1 + c.below(3)):
        known = [s.name for s in segments]
        when = f"events('Order Completed', within => '{pick(c, _SPANS)}') >= 1"
        when = _condition(c, names, known, (), event=False) if chance(c, 65) else when
        segments.append(Segment(name=f"s{i}", when=parse(when), owner="o"))
    scope = _Scope(names, [s.name for s in segments], journeys)
    return Project(
        name="world", identity=_identity(c), traits=traits, segments=tuple(segments), contracts=_contracts(),
        journeys=tuple(_journey(c, name, scope) for name in journeys), policy=_policy(c, scope), templates=_TEMPLATES,
        destinations=(
            Destination(name="mail", channel="email", adapter="mailbox"),
            Destination(name="phone", channel="sms", adapter="mailbox", address_trait="phone"),
        ),
        metrics=(Metric(name="orders_7d", kind="count", event="Order Completed", within_s=7 * 86400),),
    )  # fmt: skip


def _contracts() -> tuple[Contract, ...]:
    declared = {
        name: {prop: Property(type=kind) for prop, kind in properties.items()}  # type: ignore[arg-type]
        for name, properties in EVENTS.items()
    }
    return tuple(Contract(name=n, owner="o", properties=p, on_violation="flag") for n, p in declared.items())


_TEMPLATES = (
    Template(name="hello", channel="email", purpose="marketing", subject="s", body="b", owner="o"),
    Template(name="news", channel="email", purpose="newsletter", subject="s", body="b", owner="o"),
    Template(
        name="receipt",
        channel="email",
        purpose="service",
        message_class="transactional",
        subject="s",
        body="b",
        owner="o",
    ),
    Template(name="text", channel="sms", purpose="marketing", body="b", owner="o"),
)


def _identity(c: Chooser) -> Identity:
    blocked = ("visitor", "/^bot-/") if c.below(2) else ()
    return Identity(
        identifiers=(
            Identifier(type="user_id", source="userId"),
            Identifier(type="email", source="traits.email"),
            Identifier(type="anonymous_id", source="anonymousId", blocked=blocked),
        )
    )


def _traits(c: Chooser) -> tuple[TraitDefinition, ...]:
    span, name = pick(c, _SPANS), "Order Completed"
    computed = {
        "orders": ("integer", f"events('{name}')"), "revenue_total": ("decimal", f"sum_of('{name}', revenue)"),
        "biggest": ("decimal", f"max_of('{name}', revenue, where => quantity > 1)"),
        "last_order_at": ("timestamp", f"last_at('{name}')"), "first_view_at": ("timestamp", "first_at('Product Viewed')"),
        "recent_orders": ("integer", f"events('{name}', within => '{span}')"),
        "recent_revenue": ("decimal", f"sum_of('{name}', revenue, within => '{span}')"),
        "loyal": ("boolean", f"events('{name}') >= 2 and coalesce(sum_of('{name}', revenue), 0) > 80"),
        "dormant": ("boolean", f"older_than(last_at('{name}'), '{span}')"),
    }  # fmt: skip
    sent = {"email": "string", "phone": "string", "time_zone": "string", **_SENT_TRAITS}
    found = [TraitDefinition(name=n, type=t, from_=f"traits.{n}") for n, t in sent.items()]  # type: ignore[arg-type]
    found += [TraitDefinition(name=n, type=t, value=parse(v)) for n, (t, v) in computed.items()]  # type: ignore[arg-type]
    return tuple(sorted(found, key=lambda t: t.name))


class _Scope(msgspec.Struct, frozen=True):
    """The names that a journey's conditions may use."""

    traits: Sequence[str]
    segments: Sequence[str]
    journeys: Sequence[str]

    def when(self, c: Chooser, event: bool = False) -> Expr:
        return parse(_condition(c, self.traits, self.segments, self.journeys, event))


_SHARED = Holdout(name="h", share_bp=3000)


def _journey(c: Chooser, name: str, scope: _Scope) -> Journey:
    by_segment = chance(c, 35)
    event = pick(c, ["Order Completed", "Order Completed", *EVENTS])
    where = parse_where(pick(c, _WHERES[pick(c, list(EVENTS[event]))])) if chance(c, 25) else None
    on = Trigger(event=event, where=where)
    if by_segment:
        on = Trigger(segment=pick(c, scope.segments), change=pick(c, ["entered", "left"]))  # type: ignore[arg-type]
    key = parse_where(pick(c, list(EVENTS[event])[:-1])) if not by_segment and chance(c, 20) else None
    # Journeys on segments may feed each other through updates: with `after_exit` they could go round at one instant.
    again = pick(c, ["after", "once", "after"] if by_segment else ["after_exit", "after", "once", "after_exit"])
    entry = Entry(
        on=on, when=scope.when(c) if chance(c, 25) else None, unless=scope.when(c) if chance(c, 12) else None,
        again=again, again_after_s=3600 * pick(c, [6, 24, 72]) if again == "after" else 0, key=key,  # type: ignore[arg-type]
    )  # fmt: skip
    steps = _Writer(c, scope, name).steps(0, [])
    waited, latest = _longest(steps)
    goal = _awaited(c, scope) if chance(c, 35) else FALSE
    disqualified = pick(c, [goal, _awaited(c, scope), _awaited(c, scope)]) if chance(c, 25) else FALSE
    exit_ = Exit(
        goal=goal, disqualified=disqualified,
        superseded=chance(c, 85), time_limit_s=pick(c, [latest + 864000, latest + 3600, max(latest, waited + 3600), max(latest, waited + 3600)]),
    )  # fmt: skip
    journey = Journey(
        name=name, owner="o", outcome=Outcome(metric="orders_7d"), entry=entry, exit=exit_, steps=steps,
        priority=pick(c, [50, 20, 50, 80]), arena=pick(c, ["default", None, "default"]),
        holdout=pick(c, [_SHARED, Holdout(name=f"h_{name}", share_bp=5000)]) if chance(c, 25) else None,
    )  # fmt: skip
    return with_flags(journey)


class _Writer:
    """Writes the steps of one journey; ``flags`` are those that a wait_for on the way may have set."""

    def __init__(self, c: Chooser, scope: _Scope, name: str) -> None:
        self._c, self._scope, self._name, self._flags = c, scope, name, 0

    def steps(self, depth: int, flags: list[str]) -> tuple[Step, ...]:
        found: list[Step] = []
        for _ in range((2 if depth == 0 else 0) + self._c.below(4 - depth)):
            found.append(self._step(depth, flags))
            if _ends(found[-1]):
                break
        return tuple(found)

    def _step(self, depth: int, flags: list[str]) -> Step:
        c, kind = self._c, self._c.below(15 if depth < 2 else 9)
        if kind in (0, 3, 4, 12, 13, 14):
            return Send(template=pick(c, ["hello", "hello", "hello", "receipt", "news", "text"]))
        if kind in (1, 5):
            return Wait(duration_s=3600 * pick(c, [24, 1, 6, 48, 0, 120]))
        if kind in (2, 6):
            return self._wait_for(flags)
        if kind == 7:
            change = pick(c, [("plan", "gold"), ("score", 12), ("vip", True), ("credit", 20.25), ("plan", "free")])
            return Update(set=dict([change]))
        if kind == 8:
            return ExitStep(reason=pick(c, ["completed", "enough"]))
        return self._split(depth, flags) if kind == 9 else self._branch(depth, flags)

    def _wait_for(self, flags: list[str]) -> Step:
        c, flag = self._c, None
        conditions = tuple(_awaited(c, self._scope) for _ in range(1 + c.below(2)))
        if chance(c, 70):
            flag = f"{self._name}_flag{self._flags}"
            self._flags += 1
            flags.append(flag)
        return WaitFor(any=conditions, until_s=3600 * pick(c, [24, 6, 48]), as_=flag)

    def _inside(self, depth: int, flags: list[str], lists: int) -> list[tuple[Step, ...]]:
        """The step lists of a fork; what any of them set may be asked behind it."""
        ways = [list(flags) for _ in range(lists)]
        found = [self.steps(depth + 1, way) for way in ways]
        reached = [way for way, inside in zip(ways, found, strict=True) if not any(map(_ends, inside))]
        flags += sorted({flag for way in reached for flag in way} - set(flags))
        return found

    def _split(self, depth: int, flags: list[str]) -> Step:
        c = self._c
        shares = pick(c, [(5000, 5000), (2000, 3000, 5000)])
        inside = self._inside(depth, flags, len(shares))
        arms = tuple(SplitArm(name=f"arm_{i}", share_bp=shares[i], steps=steps) for i, steps in enumerate(inside))
        return Split(name=pick(c, ["offer", f"{self._name}_offer"]), arms=arms)

    def _branch(self, depth: int, flags: list[str]) -> Step:
        c, scope = self._c, self._scope
        whens = [parse(pick(c, flags)) if flags and chance(c, 50) else scope.when(c) for _ in range(1 + c.below(2))]
        *arms, unknown, otherwise = self._inside(depth, flags, len(whens) + 2)
        pairs = zip(whens, arms, strict=True)
        return Branch(arms=tuple(Arm(when=w, steps=s) for w, s in pairs), unknown=unknown, otherwise=otherwise)


def _ends(step: Step) -> bool:
    """Whether nothing behind the step is ever reached."""
    lists = [inside for _, inside in inner_steps(step, "")]
    return isinstance(step, ExitStep) or (bool(lists) and all(any(map(_ends, inside)) for inside in lists))


def _longest(steps: tuple[Step, ...], since_s: int = 0) -> tuple[int, int]:
    """(seconds of waits on the longest way, seconds until the latest time-out), both from ``since_s`` on."""
    latest = since_s
    for step in steps:
        if isinstance(step, WaitFor):
            latest = max(latest, since_s + step.until_s)
        since_s += step.duration_s if isinstance(step, Wait) else 0
        ways = [_longest(inside, since_s) for _, inside in inner_steps(step, "")] or [(since_s, since_s)]
        since_s, latest = max(way[0] for way in ways), max(latest, *(way[1] for way in ways))
    return since_s, max(since_s, latest)


def _awaited(c: Chooser, scope: _Scope) -> Expr:
    """A condition for a goal or a wait_for, where the present event may be asked for."""
    name = pick(c, list(EVENTS))
    return parse(f"event('{name}'{_where(c, name)})") if c.below(3) else scope.when(c, event=True)


_QUIET = [
    ("21:00", "08:00"), ("22:00", "02:30"), ("01:30", "02:30"), ("00:00", "09:15"), ("12:00", "18:00"), ("02:30", "03:00"),
]  # fmt: skip


def _hushed(c: Chooser, scope: _Scope) -> Expr:
    """Mostly a test that is unknown for people who never said."""
    return (
        scope.when(c) if chance(c, 30) else parse(pick(c, ["plan = 'trial'", "score > 14", "vip", "credit * 2 > 50"]))
    )


def _policy(c: Chooser, scope: _Scope) -> Policy:
    caps = tuple(
        Cap(
            name=f"cap{i}", limit=pick(c, [1, 1, 2]), per_s=3600 * pick(c, [24, 72, 6, 24 * 5]),
            channel=pick(c, [None, "email"]), when_full=pick(c, ["defer", "drop", "defer"]),  # type: ignore[arg-type]
        )
        for i in range(pick(c, [1, 0, 1, 2]))
    )  # fmt: skip
    quiet = QuietHours(**dict(zip(("from_", "to"), pick(c, _QUIET), strict=True))) if chance(c, 70) else None
    suppress = (Suppress(name="hush", when=_hushed(c, scope)),) if chance(c, 20) else ()
    return Policy(
        caps=caps, quiet_hours=quiet, missing_time_zone=pick(c, ["drop", "Europe/Berlin", "America/New_York"]),
        suppress=suppress, deadline_s=3600 * pick(c, [24, 72, 12, 24 * 6, 0]),
        holdout=pick(c, [Holdout(name="everyone", share_bp=2000), _SHARED]) if chance(c, 20) else None,
    )  # fmt: skip
