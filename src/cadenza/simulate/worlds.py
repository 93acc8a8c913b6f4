"""Generated worlds: a small random valid project and a log of records that exercises it.

Every choice comes from a ``Chooser``: ``Dice`` makes it from a seed, the tests' hypothesis strategies from a search.
Interesting things are made likely: merges, late and simultaneous events, timers that fall on a record's instant,
daylight saving, withdrawn consent, full caps. Option lists begin with the plainest choice, so that a search shrinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from cadenza.clock import MICROSECOND, iso, to_micros
from cadenza.definitions.expression import FALSE, Expr, parse, parse_where
from cadenza.definitions.flags import with_flags
from cadenza.definitions.kinds import (
    Arm, Branch, Cap, Contract, Destination, Entry, Exit, ExitStep, Holdout, Identifier, Identity, Journey, Metric,
    Outcome, Policy, Property, QuietHours, Segment, Send, Split, SplitArm, Step, Suppress, Template, TraitDefinition,
    Trigger, Update, Wait, WaitFor,
)  # fmt: skip
from cadenza.definitions.project import Project
from cadenza.ids import md5_low64
from cadenza.ports.ledger import Record
from cadenza.simulate.model import Model
from cadenza.simulate.person import inner_steps

T = TypeVar("T")


class Chooser(Protocol):
    """Where choices come from."""

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        ...


class Dice:
    """Choices made from a seed: the same seed, the same world, on every machine."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._thrown = 0

    def below(self, n: int) -> int:
        self._thrown += 1
        return md5_low64(f"{self._seed}:{self._thrown}") % n


class World(msgspec.Struct, frozen=True, kw_only=True):
    """A project, the log that begins with its deploy record, and the instant (µs) up to which timers run."""

    project: Project
    records: tuple[Record, ...]
    horizon: int


def world(chooser: Chooser, most_records: int = 70, towns: int = 1) -> World:
    """A random world of at least 8 and about ``most_records`` records after the deploy record, in each of its towns:
    groups of people that never meet, which an engine that works on sets can take in one stride."""
    project = make_project(chooser)
    records = _Log(chooser, project, towns).grow(8 + chooser.below(max(most_records - 20, 1)))
    horizon = records[-1].recorded_at + 3600_000_000 * _pick(chooser, [24 * 12, 1, 24 * 45])
    return World(project=project, records=tuple(records), horizon=horizon)


def seeded(seed: int, most_records: int = 70, towns: int = 1) -> World:
    """The world of a seed."""
    return world(Dice(seed), most_records, towns)


def deploy_record(project: Project, at: int, offset: int = 1) -> Record:
    """The record that a log begins with."""
    body = msgspec.json.encode({"project": project, "fingerprint": "simulated"}, order="sorted")
    return _record(offset, at, "deploy", body)


def _record(offset: int, at: int, kind: str, body: bytes) -> Record:
    return Record(
        offset=offset, recorded_at=at, writer="main", kind=kind, source="simulated", message_id=f"m{offset}",
        imported=False, body=body,
    )  # fmt: skip


def _pick(chooser: Chooser, options: Sequence[T]) -> T:
    return options[chooser.below(len(options))]


def _chance(chooser: Chooser, percent: int) -> bool:
    return chooser.below(100) >= 100 - percent


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
        name = _pick(c, list(EVENTS))
        return f"event('{name}'{_where(c, name)})"
    if kind == 3 and segments:
        return f"in_segment('{_pick(c, segments)}')"
    if kind == 4 and journeys:
        return f"in_journey('{_pick(c, journeys)}')"
    if kind == 5:
        return "consented('marketing', 'email')"
    if kind == 6:
        return f"older_than({_pick(c, ['last_at', 'first_at'])}('{_pick(c, list(EVENTS))}'), '{_pick(c, _SPANS)}')"
    if kind == 7:
        within = f", within => '{_pick(c, _SPANS)}'" if c.below(2) else ""
        function = _pick(c, ["sum_of", "min_of", "max_of"])
        return f"{function}('Order Completed', revenue{within}) > {_pick(c, [50, 20, 100])}"
    return _pick(c, _TRAIT_TESTS[_pick(c, names)])


def _events(c: Chooser) -> str:
    name = _pick(c, list(EVENTS))
    within = f", within => '{_pick(c, _SPANS)}'" if c.below(2) else ""
    return f"events('{name}'{_where(c, name)}{within})"


def _where(c: Chooser, name: str) -> str:
    return f", where => {_pick(c, _WHERES[_pick(c, list(EVENTS[name]))])}" if c.below(3) == 2 else ""


def make_project(c: Chooser) -> Project:
    """A random project that passes validation; now and then with a corner that chance alone would seldom meet."""
    return _pick(c, [_plain, _plain, _plain, _plain, _overdue, _rush, _patient])(c, _random_project(c))


def _plain(c: Chooser, project: Project) -> Project:
    return project


def _overdue(c: Chooser, project: Project) -> Project:
    """A time limit that falls on the very instant at which a segment is left, which is another journey's trigger."""
    window = parse("events('Order Completed', within => '1 day') >= 1")
    first, *rest = project.journeys
    waiting = (WaitFor(any=(parse("event('Trial Started')"),), until_s=86400), Send(template="hello"))
    entry = Entry(on=Trigger(event="Order Completed"), again=_pick(c, ["after_exit", "once"]))  # type: ignore[arg-type]
    exit_ = Exit(goal=FALSE, disqualified=FALSE, superseded=_chance(c, 50), time_limit_s=86400)
    clock = replace(first, entry=entry, exit=exit_, steps=waiting, priority=50, arena="default", holdout=None)
    entry = Entry(on=Trigger(segment="s0", change="left"), again="after", again_after_s=3600)
    follower = replace(clock, name="j9", entry=entry, steps=(Wait(duration_s=3600),), priority=_pick(c, [50, 20, 80]))
    segments = (replace(project.segments[0], when=window), *project.segments[1:])
    return replace(project, journeys=(clock, *rest, follower), segments=segments)


def _rush(c: Chooser, project: Project) -> Project:
    """Several messages for one person at the end of the night, where only one fits under the cap."""
    steps: tuple[Step, ...] = (Send(template="hello"), Wait(duration_s=3600 * _pick(c, [1, 6])), Send(template="news"))
    entry = Entry(on=Trigger(event="Order Completed"))
    exit_ = Exit(goal=FALSE, disqualified=FALSE, superseded=True, time_limit_s=864000)
    base = replace(project.journeys[0], entry=entry, exit=exit_, steps=steps, arena=None, holdout=None)
    crowd = tuple(replace(base, name=f"j{i}", priority=_pick(c, [50, 20])) for i in range(3))
    policy = Policy(
        caps=(Cap(name="cap0", limit=1, per_s=3600 * _pick(c, [24, 12, 24]), when_full="defer"),), missing_time_zone="UTC",
        quiet_hours=QuietHours(from_="21:00", to="08:00"), deadline_s=3600 * _pick(c, [24, 30, 48]),
    )  # fmt: skip
    return replace(project, journeys=crowd, policy=policy)


def _patient(c: Chooser, project: Project) -> Project:
    """A journey that everyone is in for long, so that people who turn out to be one are in it twice."""
    steps = (Wait(duration_s=3600 * _pick(c, [120, 48])), *project.journeys[0].steps)
    entry = Entry(on=Trigger(event="Order Completed"), key=_pick(c, [None, parse_where("order_id")]))
    done = _pick(c, [FALSE, parse("event('Support Opened')")])
    exit_ = replace(project.journeys[0].exit, goal=done, disqualified=done, time_limit_s=_longest(steps)[1] + 86400)
    patient = replace(project.journeys[0], entry=entry, exit=exit_, steps=steps, priority=80, holdout=None)
    return replace(project, journeys=(patient, *project.journeys[1:]))


def _random_project(c: Chooser) -> Project:
    traits = _traits(c)
    names = [t.name for t in traits if t.name in _TRAIT_TESTS]
    journeys = [f"j{i}" for i in range(1 + _pick(c, [0, 1, 2, 2, 3, 3, 3]))]
    segments: list[Segment] = []
    for i in range(1 + c.below(3)):
        known = [s.name for s in segments]
        when = f"events('Order Completed', within => '{_pick(c, _SPANS)}') >= 1"
        when = _condition(c, names, known, (), event=False) if _chance(c, 65) else when
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
        name="receipt", channel="email", purpose="service", message_class="transactional", subject="s", body="b", owner="o"
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
    span, name = _pick(c, _SPANS), "Order Completed"
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
    by_segment = _chance(c, 35)
    event = _pick(c, ["Order Completed", "Order Completed", *EVENTS])
    where = parse_where(_pick(c, _WHERES[_pick(c, list(EVENTS[event]))])) if _chance(c, 25) else None
    on = Trigger(event=event, where=where)
    if by_segment:
        on = Trigger(segment=_pick(c, scope.segments), change=_pick(c, ["entered", "left"]))  # type: ignore[arg-type]
    key = parse_where(_pick(c, list(EVENTS[event])[:-1])) if not by_segment and _chance(c, 20) else None
    # Journeys on segments may feed each other through updates: with `after_exit` they could go round at one instant.
    again = _pick(c, ["after", "once", "after"] if by_segment else ["after_exit", "after", "once", "after_exit"])
    entry = Entry(
        on=on, when=scope.when(c) if _chance(c, 25) else None, unless=scope.when(c) if _chance(c, 12) else None,
        again=again, again_after_s=3600 * _pick(c, [6, 24, 72]) if again == "after" else 0, key=key,  # type: ignore[arg-type]
    )  # fmt: skip
    steps = _Writer(c, scope, name).steps(0, [])
    waited, latest = _longest(steps)
    goal = _awaited(c, scope) if _chance(c, 35) else FALSE
    disqualified = _pick(c, [goal, _awaited(c, scope), _awaited(c, scope)]) if _chance(c, 25) else FALSE
    exit_ = Exit(
        goal=goal, disqualified=disqualified,
        superseded=_chance(c, 85), time_limit_s=_pick(c, [latest + 864000, latest + 3600, max(latest, waited + 3600), max(latest, waited + 3600)]),
    )  # fmt: skip
    journey = Journey(
        name=name, owner="o", outcome=Outcome(metric="orders_7d"), entry=entry, exit=exit_, steps=steps,
        priority=_pick(c, [50, 20, 50, 80]), arena=_pick(c, ["default", None, "default"]),
        holdout=_pick(c, [_SHARED, Holdout(name=f"h_{name}", share_bp=5000)]) if _chance(c, 25) else None,
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
            return Send(template=_pick(c, ["hello", "hello", "hello", "receipt", "news", "text"]))
        if kind in (1, 5):
            return Wait(duration_s=3600 * _pick(c, [24, 1, 6, 48, 0, 120]))
        if kind in (2, 6):
            return self._wait_for(flags)
        if kind == 7:
            change = _pick(c, [("plan", "gold"), ("score", 12), ("vip", True), ("credit", 20.25), ("plan", "free")])
            return Update(set=dict([change]))
        if kind == 8:
            return ExitStep(reason=_pick(c, ["completed", "enough"]))
        return self._split(depth, flags) if kind == 9 else self._branch(depth, flags)

    def _wait_for(self, flags: list[str]) -> Step:
        c, flag = self._c, None
        conditions = tuple(_awaited(c, self._scope) for _ in range(1 + c.below(2)))
        if _chance(c, 70):
            flag = f"{self._name}_flag{self._flags}"
            self._flags += 1
            flags.append(flag)
        return WaitFor(any=conditions, until_s=3600 * _pick(c, [24, 6, 48]), as_=flag)

    def _inside(self, depth: int, flags: list[str], lists: int) -> list[tuple[Step, ...]]:
        """The step lists of a fork; what any of them set may be asked behind it."""
        ways = [list(flags) for _ in range(lists)]
        found = [self.steps(depth + 1, way) for way in ways]
        reached = [way for way, inside in zip(ways, found, strict=True) if not any(map(_ends, inside))]
        flags += sorted({flag for way in reached for flag in way} - set(flags))
        return found

    def _split(self, depth: int, flags: list[str]) -> Step:
        c = self._c
        shares = _pick(c, [(5000, 5000), (2000, 3000, 5000)])
        inside = self._inside(depth, flags, len(shares))
        arms = tuple(SplitArm(name=f"arm_{i}", share_bp=shares[i], steps=steps) for i, steps in enumerate(inside))
        return Split(name=_pick(c, ["offer", f"{self._name}_offer"]), arms=arms)

    def _branch(self, depth: int, flags: list[str]) -> Step:
        c, scope = self._c, self._scope
        whens = [parse(_pick(c, flags)) if flags and _chance(c, 50) else scope.when(c) for _ in range(1 + c.below(2))]
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
    name = _pick(c, list(EVENTS))
    return parse(f"event('{name}'{_where(c, name)})") if c.below(3) else scope.when(c, event=True)


_QUIET = [
    ("21:00", "08:00"), ("22:00", "02:30"), ("01:30", "02:30"), ("00:00", "09:15"), ("12:00", "18:00"), ("02:30", "03:00"),
]  # fmt: skip


def _hushed(c: Chooser, scope: _Scope) -> Expr:
    """Mostly a test that is unknown for people who never said."""
    return scope.when(c) if _chance(c, 30) else parse(_pick(c, ["plan = 'trial'", "score > 14", "vip", "credit * 2 > 50"]))


def _policy(c: Chooser, scope: _Scope) -> Policy:
    caps = tuple(
        Cap(
            name=f"cap{i}", limit=_pick(c, [1, 1, 2]), per_s=3600 * _pick(c, [24, 72, 6, 24 * 5]),
            channel=_pick(c, [None, "email"]), when_full=_pick(c, ["defer", "drop", "defer"]),  # type: ignore[arg-type]
        )
        for i in range(_pick(c, [1, 0, 1, 2]))
    )  # fmt: skip
    quiet = QuietHours(**dict(zip(("from_", "to"), _pick(c, _QUIET), strict=True))) if _chance(c, 70) else None
    suppress = (Suppress(name="hush", when=_hushed(c, scope)),) if _chance(c, 20) else ()
    return Policy(
        caps=caps, quiet_hours=quiet, missing_time_zone=_pick(c, ["drop", "Europe/Berlin", "America/New_York"]),
        suppress=suppress, deadline_s=3600 * _pick(c, [24, 72, 12, 24 * 6, 0]),
        holdout=_pick(c, [Holdout(name="everyone", share_bp=2000), _SHARED]) if _chance(c, 20) else None,
    )  # fmt: skip


# --- logs ------------------------------------------------------------------------------------------------

_STARTS = [
    ("2024-05-06T09:00:00", "Europe/Berlin"), ("2024-03-30T19:30:00", "Europe/Berlin"), ("2024-10-26T19:00:00", "Europe/London"),
    ("2024-10-26T22:00:00", "Europe/Berlin"), ("2024-03-10T01:00:00", "America/New_York"), ("2024-11-03T02:30:00", "America/Havana"),
    ("2024-10-05T09:00:00", "Australia/Lord_Howe"), ("2024-04-06T09:00:00", "Pacific/Chatham"),
]  # fmt: skip
"""An ordinary day, and the evenings before clocks change, each with a zone in which they do."""
_ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Europe/London",
          "America/Havana", "Pacific/Chatham", "Europe/Berlin", "Mars/Olympus", "Europe/London", "Mars/Olympus"]  # fmt: skip
_STEPS_S = [3600, 0, 60, 1800, 6 * 3600, 600, 86400, 2 * 3600]


class _Log:
    """Grows a log; a model runs beside it, so that records can fall on timers and outcomes can name messages."""

    def __init__(self, chooser: Chooser, project: Project, towns: int) -> None:
        self._c = chooser
        self._towns, self._town = range(towns), ""
        self._model = Model(project)
        start, self._zone = _pick(chooser, _STARTS)
        self._at = to_micros(datetime.fromisoformat(start))
        self._times = [self._at]
        self._records = [deploy_record(project, self._at)]
        self._statements: dict[str, dict[str, Any]] = {}
        self._apart = True
        """At first nobody is two people: merges come when both sides have something to lose."""
        self._people = 2 + chooser.below(3)

    def grow(self, count: int) -> list[Record]:
        replaying = _chance(self._c, 20)
        if replaying:
            self._add("command", {"command": "replay"})
        for town in self._towns:
            self._town = "abcdefghij"[town - 1] if town else ""
            for n in range(self._people):
                if _chance(self._c, 85):
                    self._welcome({"userId": f"u{self._town}{n}"}, f"u{self._town}{n}")
                if _chance(self._c, 75):
                    self._welcome({"anonymousId": f"a{self._town}{n}"}, f"a{self._town}{n}")
        for i in range(count):
            self._apart = i < count // 2
            self._at = self._next_instant()
            for town in self._towns:
                self._town = "abcdefghij"[town - 1] if town else ""
                kind, body = self._call()
                self._add(kind, body)
            if replaying and i == count // 2:
                self._at += 1
                self._add("command", {"command": "live"})
        return self._records

    def _welcome(self, who: dict[str, Any], name: str) -> None:
        """A person who can be reached and has consented, or nothing would ever be sent."""
        c = self._c
        who = who | {"occurred_at": self._at, "context": {}}
        traits = {"email": f"{name}@example.com", "time_zone": _pick(c, [self._zone, self._zone, _pick(c, _ZONES)]), "phone": f"+{name}"}
        self._add("call", who | {"type": "identify", "traits": traits})
        for purpose, channel in (("marketing", "email"), ("newsletter", "email"), ("marketing", "sms")):
            if _chance(c, 95):
                properties = {"purpose": purpose, "channel": channel, "granted": True}
                self._add("call", who | {"type": "track", "event": "Consent Updated", "properties": properties})

    def _add(self, kind: str, body: dict[str, Any]) -> None:
        self._at = max(self._at, self._records[-1].recorded_at + 1)
        record = _record(len(self._records) + 1, self._at, kind, msgspec.json.encode(body, order="sorted"))
        self._model.apply(record)
        self._records.append(record)

    def _next_instant(self) -> int:
        due = self._model.next_due()
        if due is not None and _chance(self._c, 25):
            return to_micros(due + _pick(self._c, [0, 0, -1, 1]) * MICROSECOND)
        return self._at + 1_000_000 * _pick(self._c, _STEPS_S) + (0 if self._c.below(4) else 1)

    def _occurred(self) -> int:
        """Mostly now; sometimes late, sometimes the very instant of an earlier record."""
        c, kind = self._c, self._c.below(10)
        at = self._at
        if kind == 8:
            at -= 3600_000_000 * _pick(c, [1, 30, 24 * 6])
        elif kind == 9:
            at = self._times[-1 - c.below(min(len(self._times), 6))]
        self._times.append(min(at, self._at))
        return min(at, self._at)

    def _call(self) -> tuple[str, dict[str, Any]]:
        c, roll = self._c, self._c.below(100)
        if roll >= 90 and self._model.rows["messages"]:
            return "outcome", self._outcome()
        body: dict[str, Any] = self._who() | {"occurred_at": self._occurred(), "context": {}}
        if roll < 60:
            name = _pick(c, [*EVENTS, "Order Completed", "Order Completed", "Product Viewed", "Ping"])
            return "call", body | {"type": "track", "event": name, "properties": self._properties(name)}
        if roll < 70:
            return "call", body | {"type": "identify", "traits": body.get("traits", {}) | self._sent()}
        if roll < 78:
            return "call", self._statement(body)
        if roll < 83:
            t = self._town
            known = [f"a{t}{c.below(9)}", f"b{t}{c.below(5)}", "0000", f"u{t}{c.below(self._people)}"]
            return "call", body | {"type": "alias", "previousId": _pick(c, known)}
        if roll < 88:
            return "call", body | self._withdrawal()
        return "call", body | {"type": _pick(c, ["page", "screen", "group"]), "properties": {"name": "home"}}

    def _statement(self, body: dict[str, Any]) -> dict[str, Any]:
        """Of consent; sometimes the contrary of the last one, said of the same instant."""
        last = self._statements.get(self._town)
        if last is not None and _chance(self._c, 22):
            return last | {"properties": last["properties"] | {"granted": last["properties"]["granted"] is not True}}
        said = {
            "purpose": _pick(self._c, ["marketing", "marketing", "newsletter"]),
            "channel": _pick(self._c, ["email", "email", "sms"]),
            "granted": _pick(self._c, [True, True, True, True, False, "true", "perhaps", None]),
        }
        self._statements[self._town] = body | {"type": "track", "event": "Consent Updated", "properties": said}
        return self._statements[self._town]

    def _who(self) -> dict[str, Any]:
        c, n = self._c, self._c.below(self._people)
        style, anonymous = c.below(25), f"a{self._town}{_pick(c, [n, n, n, n, n, n, c.below(5)])}"
        who: dict[str, Any] = {"userId": f"u{self._town}{n}"}
        if self._apart and 13 <= style < 19:
            style = 10
        if style in (10, 11, 12) or style > 19:
            who = {"anonymousId": anonymous}
        elif style in (13, 14, 15):
            who["anonymousId"] = anonymous
        elif style in (16, 17):
            who = {"anonymousId": anonymous, "traits": {"email": f" U{self._town}{n}@Example.com"}}
        elif style == 18:
            other = _pick(c, [n, n, n, n, n, n, c.below(self._people)])
            who["traits"] = {"email": f"u{self._town}{other}@example.com"}
        elif style == 19:
            nobody: list[dict[str, Any]] = [{"anonymousId": "visitor"}, {"userId": "NULL"}, {"anonymousId": "bot-7"}, {}]
            who = _pick(c, [*nobody, {"userId": "undefined", "anonymousId": anonymous}])
        return who

    def _properties(self, name: str) -> dict[str, Any]:
        c = self._c
        values: dict[str, list[Any]] = {
            "revenue": [60, 12.5, 99.99, "10.00005", 150, "much", -5], "quantity": [1, 2, 3, "2", None],
            "order_id": ["o1", "o2", "o3", 7], "gift": [True, False, "true", None], "severity": [2, 5, 9, "bad"],
            "category": ["toys", "garden", "books", {"deep": 1}],
            "ends_at": [iso(datetime(2024, 9, 1)), iso(datetime(2025, 1, 1, 12)), "2024-10-05T10:00:00+02:00", "soon"],
        }  # fmt: skip
        return {p: _pick(c, values[p]) for p in EVENTS.get(name, {}) if not _chance(c, 10)}

    def _sent(self) -> dict[str, Any]:
        c = self._c
        soon = datetime(1970, 1, 1) + timedelta(microseconds=self._at, days=1)
        values: dict[str, list[Any]] = {
            "time_zone": _ZONES, "phone": ["+100", "+200"],
            "plan": ["gold", "free", "trial", ""][:3], "score": [5, 15, "11", "many", 12.5], "credit": [12.5, 30, "7.123456"],
            "vip": [True, False, "maybe"], "renews_at": [iso(soon), "2024-05-06", "never"],
        }  # fmt: skip
        return {t: _pick(c, v) for t, v in values.items() if _chance(c, 30 if t == "time_zone" else 35)}

    def _withdrawal(self) -> dict[str, Any]:
        options: list[tuple[str, dict[str, Any]]] = [
            ("Unsubscribed", {}), ("Unsubscribed", {"purpose": "newsletter"}), ("Unsubscribed", {"channel": "sms"}),
            ("Email Bounced", {"bounce_type": "soft"}), ("Email Bounced", {"bounce_type": "hard"}),
            ("Email Marked as Spam", {}), ("Suppressed", {"channel": "sms", "reason": "legal"}),
            ("Suppressed", {"channel": "email", "reason": "sales_talk"}),
        ]  # fmt: skip
        name, properties = _pick(self._c, options)
        return {"type": "track", "event": name, "properties": properties}

    def _outcome(self) -> dict[str, Any]:
        c = self._c
        sent = self._model.rows["messages"]
        message_id, pid, template, *_ = sent[-1 - c.below(min(len(sent), 4))]
        name = _pick(c, ["Message Sent", "Message Failed", "Message Failed", "Email Opened", "Email Bounced", "Unsubscribed"])
        properties = {"message_id": message_id, "template": template, "detail": "x"}
        properties |= {"bounce_type": _pick(c, ["soft", "hard"])} if name == "Email Bounced" else {}
        at = self._occurred()
        return {"type": "track", "event": name, "person": pid, "occurred_at": at, "properties": properties, "context": {}}
