"""A journey flattened into resting steps and the hops between them.

The steps of a journey are a tree with joins. Here they become a list of **stops** (send, wait, wait_for, update,
hand_off, call, and the end) and, for each way on from a stop, a **resume** point: a decision tree of branches, splits and
waits that may be passed through, whose leaves are **hops** to the next stop. A flag (``wait_for ... as x``) is known
along the path, so a stop is identified by its place and the flags known there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Union

import msgspec

from cadenza.definitions.expression import (
    FALSE,
    Agg,
    Binary,
    Coalesce,
    EventIs,
    Expr,
    Flag,
    InList,
    IsNull,
    Like,
    Lit,
    Not,
    OlderThan,
)  # fmt: skip
from cadenza.definitions.flags import flags_of
from cadenza.definitions.kinds import (
    Branch,
    Call,
    Enter,
    ExitStep,
    HandOff,
    Holdout,
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
from cadenza.definitions.spots import jumps_ahead, labels_of, lists_in, spots_of
from cadenza.errors import CadenzaError
from cadenza.ids import BUCKETS

END = -1
START = -2
START_PATH = "start"
"""Where those rest for an instant who begin again in a new version."""
MAX_HOPS = 512
"""The most hops one journey may have; more is refused (flags and branches multiply)."""

Flags = tuple[tuple[str, bool | int], ...]
"""What is known on the way: flags that are set, and (by the path of the jump) how often a jump was taken, while it can
still be come to."""


class JourneyTooLarge(CadenzaError):
    """The journey's branches and flags multiply beyond the limit; split it into two journeys."""


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """A place where an enrollment can rest. ``ways``: name of the way on -> index into ``resumes``."""

    step: int
    path: str
    kind: str
    seconds: int = 0
    template: str = ""
    templates: tuple[str, ...] = ()
    """At a ``send`` with ``channel: best``: the templates to choose from."""
    journey: str = ""
    """At ``enter``: the journey to enter."""
    conditions: tuple[Expr, ...] = ()
    every: bool = False
    """Whether each condition must have been TRUE since arrival, or one is enough."""
    round: int = 0
    """How many jumps were taken, of those that can still be come to: tells the visits of one step apart."""
    set: dict[str, str | int | float | bool] = {}
    flags: tuple[tuple[str, bool | int], ...] = ()
    """What is known there of how earlier waits ended."""
    local: LocalWait | None = None
    ways: dict[str, int] = {}
    task: HandOff | None = None
    """What is handed to people here."""
    call: Call | None = None
    """What is asked of a service here."""
    leaving: str = ""
    """At a last step: the exit by which the person has left."""
    holdout: Holdout | None = None
    """At ``send``: from whom the message is withheld."""

    @property
    def candidates(self) -> tuple[str, ...]:
        """At ``send``: the templates of which one is sent."""
        return self.templates or (self.template,)


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """A way from a resume point to a stop. ``taken`` says in words what was decided on it."""

    hop: int
    to_step: int
    reason: str | None = None
    """Why the enrollment ends, when it does."""
    taken: tuple[str, ...] = ()


class Leaf(msgspec.Struct, frozen=True):
    hop: int


class Decide(msgspec.Struct, frozen=True):
    """``when`` TRUE → ``yes``; NULL → ``unknown``; else ``no``."""

    when: Expr
    yes: "Tree"
    unknown: "Tree"
    no: "Tree"


class Bucket(msgspec.Struct, frozen=True):
    """The first arm whose upper bound exceeds bucket(name, person)."""

    name: str
    arms: tuple[tuple[int, "Tree"], ...]


Tree = Union[Leaf, Decide, Bucket]


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """A journey version, flattened. ``resumes[0]`` is the start. ``exits``: exit that has last steps -> index into
    ``resumes``, from wherever one is."""

    stops: tuple[Stop, ...]
    resumes: tuple[Tree, ...]
    hops: tuple[Hop, ...]
    exits: dict[str, int] = {}


def flatten(journey: Journey) -> Graph:
    """The graph of a journey. Raises JourneyTooLarge."""
    return _Flattening(journey).graph()


class _Place(msgspec.Struct, frozen=True):
    """A position: the steps of one list from ``index`` on, then ``after`` the list."""

    steps: tuple[Step, ...]
    prefix: str
    index: int
    after: Union["_Place", None]


RESTING = (Send, Wait, WaitFor, Update)
"""Steps at which a person can stand."""


def _places(steps: tuple[Step, ...]) -> Iterator[tuple[str, Step, _Place]]:
    """Every step with its path and the place that follows it."""
    return _places_in(_Place(steps, "", 0, None))


def _places_in(first: _Place) -> Iterator[tuple[str, Step, _Place]]:
    for index, step in enumerate(first.steps):
        path = f"{first.prefix or 'steps'}[{index}]"
        following = _Place(first.steps, first.prefix, index + 1, first.after)
        yield path, step, following
        for name, _, below in lists_in(step):
            yield from _places_in(_Place(below, f"{path}.{name}", 0, following))


def resting_paths(journey: Journey) -> list[str]:
    """The paths of the steps at which a person can stand."""
    return [path for path, step, _ in _places(journey.steps) if isinstance(step, RESTING)]


class _Flattening:
    def __init__(self, journey: Journey) -> None:
        self._journey = journey
        self._stops: dict[tuple[str, Flags], int] = {}
        self._built: dict[int, Stop] = {}
        self._resumes: list[Tree | None] = []
        self._hops: list[Hop] = []
        self._spots = spots_of(journey.steps)
        self._labels = labels_of(self._spots)
        self._ahead = jumps_ahead(self._spots)
        self._places: dict[str, _Place] = {}
        if self._ahead:
            self._note_places(journey.steps, "", None)

    def _note_places(self, steps: tuple[Step, ...], prefix: str, after: _Place | None) -> None:
        """Where each step stands, for the jumps to it."""
        for i, step in enumerate(steps):
            path = f"{prefix or 'steps'}[{i}]"
            self._places[path] = _Place(steps, prefix, i, after)
            for name, _, inside in lists_in(step):
                self._note_places(inside, f"{path}.{name}", _Place(steps, prefix, i + 1, after))

    def graph(self) -> Graph:
        self._resume(_Place(self._journey.steps, "", 0, None), ())
        self._arrivals()
        exits = {
            name: self._resume(_Place((*steps, ExitStep(reason=name)), f"exit.{name}.then", 0, None), ())
            for name, steps in self._journey.exit.last_steps.items()
        }
        return Graph(
            stops=tuple(self._built[i] for i in sorted(self._built)),
            resumes=tuple(tree for tree in self._resumes if tree is not None),
            hops=tuple(self._hops),
            exits=exits,
        )

    def _arrivals(self) -> None:
        """Where those come in who were inside another version: the start, or a step of the map with any flags."""
        journey = self._journey
        if "restart" in (journey.in_flight, journey.unmapped if journey.in_flight == "map" else None):
            number = self._stops[START_PATH, ()] = len(self._stops)
            self._built[number] = Stop(step=number, path=START_PATH, kind="start", ways={"restarted": 0})
        if journey.in_flight != "map":
            return
        names = sorted(set(flags_of(journey.steps)))
        wanted = set(journey.step_map.values())
        for path, step, following in _places(journey.steps):
            if path in wanted and isinstance(step, RESTING):
                for values in product((None, False, True), repeat=len(names)):
                    known = [(name, value) for name, value in zip(names, values, strict=True) if value is not None]
                    self._stop(step, path, following, tuple(known))

    def _resume(self, place: _Place | None, flags: Flags) -> int:
        return self._resumed(lambda: self._tree(place, flags, ()))

    def _resumed(self, tree: Callable[[], Tree]) -> int:
        index = len(self._resumes)
        self._resumes.append(None)
        self._resumes[index] = tree()
        return index

    def _tree(self, place: _Place | None, flags: Flags, taken: tuple[str, ...]) -> Tree:
        while place is not None and place.index >= len(place.steps):
            place = place.after
        if place is None:
            return self._end("completed", taken)
        step = place.steps[place.index]
        path = f"{place.prefix}steps[{place.index}]" if not place.prefix else f"{place.prefix}[{place.index}]"
        following = _Place(place.steps, place.prefix, place.index + 1, place.after)
        if self._ahead:
            flags = tuple(flag for flag in flags if isinstance(flag[1], bool) or flag[0] in self._ahead[path])
        match step:
            case Jump():
                return self._jump(step, path, following, flags, taken)
            case ExitStep(reason=reason):
                return self._end(reason, taken)
            case Branch():
                return self._branch(step, path, following, flags, taken)
            case Split():
                return self._split(step, path, following, flags, taken)
            case WaitFor():
                return self._wait_for(step, path, following, flags, taken)
        return self._leaf(self._stop(step, path, following, flags), None, taken)

    def _leaf(self, to_step: int, reason: str | None, taken: tuple[str, ...]) -> Leaf:
        if len(self._hops) >= MAX_HOPS:
            raise JourneyTooLarge(
                f"journey '{self._journey.name}' has more than {MAX_HOPS} paths between resting steps.",
                remedy="Use fewer flags and branches, or split the journey in two.",
            )
        hop = Hop(hop=len(self._hops), to_step=to_step, reason=reason, taken=taken)
        self._hops.append(hop)
        return Leaf(hop.hop)

    def _end(self, reason: str, taken: tuple[str, ...]) -> Leaf:
        return self._leaf(END, reason, taken)

    def _jump(self, step: Jump, path: str, after: _Place, flags: Flags, taken: tuple[str, ...]) -> Tree:
        times = dict(flags).get(path, 0)
        if times >= step.at_most:
            return self._tree(after, flags, (*taken, f"{path}: used up"))
        again = (*taken, f"{path}: again")
        if again[-1] in taken:
            raise JourneyTooLarge(
                f"the jump to '{step.to}' would go round at one instant.", remedy="Put a wait in the loop."
            )
        return self._tree(self._places[self._labels[step.to]], _with(flags, path, times + 1), again)

    def _branch(self, step: Branch, path: str, after: _Place, flags: Flags, taken: tuple[str, ...]) -> Tree:
        def inside(steps: tuple[Step, ...], name: str) -> Tree:
            label = (*taken, f"{path}: {name}")
            return self._tree(_Place(steps, f"{path}.branch.{name}", 0, after), flags, label)

        def arms_from(i: int) -> Tree:
            if i == len(step.arms):
                return inside(step.otherwise, "otherwise")
            when = with_flags(step.arms[i].when, dict(flags))
            if isinstance(when, Lit):
                chosen = {"true": f"arms[{i}].steps", None: "unknown"}.get(when.text)
                if chosen is None:
                    return arms_from(i + 1)
                return inside(step.arms[i].steps if when.text == "true" else step.unknown, chosen)
            return Decide(when, inside(step.arms[i].steps, f"arms[{i}].steps"),
                          inside(step.unknown, "unknown"), arms_from(i + 1))  # fmt: skip

        return arms_from(0)

    def _split(self, step: Split, path: str, after: _Place, flags: Flags, taken: tuple[str, ...]) -> Tree:
        upper, arms = 0, []
        for arm in step.arms:
            upper += arm.share_bp
            label = (*taken, f"{path}: {arm.name}")
            place = _Place(arm.steps, f"{path}.split.{arm.name}.steps", 0, after)
            arms.append((min(upper, BUCKETS), self._tree(place, flags, label)))
        return Bucket(step.name, tuple(arms))

    def _wait_for(self, step: WaitFor, path: str, after: _Place, flags: Flags, taken: tuple[str, ...]) -> Tree:
        arrived = [without_events(with_flags(c, dict(flags))) for c in step.conditions]
        leaf = self._leaf(self._stop(step, path, after, flags), None, taken)
        label = (*taken, f"{path}: already matched")
        tree: Tree = leaf
        if step.all:
            if FALSE in arrived:
                return leaf
            tree = self._matched(step, 0, path, after, flags, label)
            for condition in reversed(arrived):
                tree = Decide(condition, tree, leaf, leaf)
            return tree
        for i, condition in reversed(list(enumerate(arrived))):
            if condition != FALSE:
                tree = Decide(condition, self._matched(step, i, path, after, flags, label), tree, tree)
        return tree

    def _matched(self, step: WaitFor, i: int, path: str, after: _Place, flags: Flags, taken: tuple[str, ...]) -> Tree:
        """The way on when condition ``i`` of ``any``, or ``all``, came true."""
        known = _with(flags, step.as_, True)
        if step.matched:
            return self._tree(_Place(step.matched, f"{path}.wait_for.matched", 0, after), known, taken)
        if not step.arms:
            return self._tree(after, known, taken)
        name = f"any[{i}].steps"
        return self._tree(_Place(step.arms[i], f"{path}.wait_for.{name}", 0, after), known, (*taken, f"{path}: {name}"))

    def _came_true(self, step: WaitFor, path: str, after: _Place, flags: Flags) -> int:
        """The resume point of a wait that matched: the first in order that is TRUE decides."""
        if not step.arms:
            return self._resumed(lambda: self._matched(step, 0, path, after, flags, ()))

        def first(i: int) -> Tree:
            here = self._matched(step, i, path, after, flags, ())
            if i == len(step.any) - 1:
                return here
            rest = first(i + 1)
            return Decide(with_flags(step.any[i], dict(flags)), here, rest, rest)

        return self._resumed(lambda: first(0))

    def _handed(self, step: HandOff, path: str, after: _Place, flags: Flags) -> dict[str, int]:
        """The ways on from a hand-off: one for each outcome, and one for none in time."""
        arms = [(outcome_way(arm.name), arm.name, arm.steps) for arm in step.outcomes]
        arms += [(BREACHED, BREACHED, step.breached.steps)] if step.breached else []
        return {
            way: self._resume(_Place(steps, f"{path}.hand_off.{name}.steps", 0, after), flags)
            for way, name, steps in arms
        }

    def _called(self, step: Call, path: str, after: _Place, flags: Flags) -> dict[str, int]:
        """The ways on from a call."""
        arms = ((ANSWERED, step.answered), (FAILED, step.failed), (UNANSWERED, step.unanswered))
        return {
            way: self._resume(_Place(steps, f"{path}.call.{way}", 0, after), _with(flags, step.as_, way == ANSWERED))
            for way, steps in arms
        }

    def _stop(self, step: Step, path: str, after: _Place, flags: Flags) -> int:
        key = (path, flags)
        if key in self._stops:
            return self._stops[key]
        number = self._stops[key] = len(self._stops)
        stop = Stop(step=number, path=path, kind="")
        match step:
            case Send(template=template, holdout=holdout):
                ways = {"verdict": self._resume(after, flags)}
                stop = Stop(step=number, path=path, kind="send", template=template, templates=step.templates, ways=ways,
                            holdout=holdout)  # fmt: skip
            case Wait(local=LocalWait() as local):
                stop = Stop(step=number, path=path, kind="wait_date" if local.until_date else "wait", local=local,
                            ways=self._local_ways(local, self._resume(after, flags)))  # fmt: skip
            case Wait(duration_s=seconds):
                stop = Stop(step=number, path=path, kind="wait", seconds=seconds,
                            ways={"timer": self._resume(after, flags)})  # fmt: skip
            case Enter(journey=name):
                stop = Stop(
                    step=number, path=path, kind="enter", journey=name, ways={"asked": self._resume(after, flags)}
                )
            case Update(set=values):
                stop = Stop(step=number, path=path, kind="update", set=values,
                            ways={"updated": self._resume(after, flags)})  # fmt: skip
            case HandOff():
                stop = Stop(step=number, path=path, kind="hand_off", seconds=step.due_s, task=step,
                            ways=self._handed(step, path, after, flags))  # fmt: skip
            case Call():
                stop = Stop(step=number, path=path, kind="call", seconds=step.timeout_s, call=step,
                            ways=self._called(step, path, after, flags))  # fmt: skip
            case WaitFor(until_s=seconds, as_=name):
                late = _Place(step.timeout, f"{path}.wait_for.timeout", 0, after)
                ways = {
                    "matched": self._came_true(step, path, after, flags),
                    "timeout": self._resume(late, _with(flags, name, False)),
                }
                stop = Stop(step=number, path=path, kind="wait_for", seconds=seconds, ways=ways, every=bool(step.all),
                            conditions=tuple(with_flags(c, dict(flags)) for c in step.conditions))  # fmt: skip
        rounds = sum(times for _, times in flags if not isinstance(times, bool))
        leaving = path.split(".")[1] if path.startswith("exit.") else ""
        self._built[number] = msgspec.structs.replace(stop, round=rounds, flags=flags, leaving=leaving)
        return number

    def _local_ways(self, local: LocalWait, on: int) -> dict[str, int]:
        """The ways on from a wait in local time; one for a date has three, of which two may end the passage."""
        ways = {"timer": on}
        if local.until_date:
            for way, action in (("past", local.past), ("unknown", local.unknown)):
                ways[way] = on if action == "go_on" else self._ending(f"{way}_date")
        return ways

    def _ending(self, reason: str) -> int:
        self._resumes.append(self._end(reason, ()))
        return len(self._resumes) - 1


def outcome_way(outcome: str) -> str:
    """The name of the way on from a hand-off that was completed so."""
    return f"outcome:{outcome}"


BREACHED = "breached"
"""The name of the way on from a hand-off that nobody completed in time."""


ANSWERED, FAILED, UNANSWERED = "answered", "failed", "unanswered"
"""The names of the ways on from a call."""


def _with(flags: Flags, name: str | None, value: bool | int) -> Flags:
    return tuple(sorted({**dict(flags), name: value}.items())) if name else flags


def with_flags(node: Expr, flags: dict[str, bool | int]) -> Expr:
    """The expression with known flags as literals, and/or/not simplified.

    An unknown flag (its wait_for was not passed) is NULL.
    """
    match node:
        case Flag(name):
            return Lit({True: "true", False: "false", None: None}[flags.get(name)], "boolean")
        case Not(arg):
            inner = with_flags(arg, flags)
            if isinstance(inner, Lit) and inner.type == "boolean":
                return Lit({"true": "false", "false": "true", None: None}[inner.text], "boolean")
            return Not(inner)
        case Binary("and" | "or" as op, left, right):
            return _junction(op, with_flags(left, flags), with_flags(right, flags))
        case Binary(op, left, right):
            return Binary(op, with_flags(left, flags), with_flags(right, flags))
        case IsNull(arg):
            return IsNull(with_flags(arg, flags))
        case InList(arg, items):
            return InList(with_flags(arg, flags), items)
        case Like(arg, pattern):
            return Like(with_flags(arg, flags), pattern)
        case OlderThan(arg, seconds):
            return OlderThan(with_flags(arg, flags), seconds)
        case Coalesce(args):
            return Coalesce(tuple(with_flags(a, flags) for a in args))
    return node


def _junction(op: str, left: Expr, right: Expr) -> Expr:
    absorbing, neutral = ("false", "true") if op == "and" else ("true", "false")
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Lit) and one.type == "boolean":
            if one.text == absorbing:
                return one
            if one.text == neutral:
                return other
            if one.text is None and isinstance(other, Lit) and other.text is None:
                return one
    return Binary(op, left, right)


def without_events(node: Expr) -> Expr:
    """The expression with every ``event(...)`` taken as FALSE, simplified."""
    match node:
        case EventIs():
            return FALSE
        case Agg():
            return node
        case Not(arg):
            inner = without_events(arg)
            return with_flags(Not(inner), {})
        case Binary("and" | "or" as op, left, right):
            return _junction(op, without_events(left), without_events(right))
        case Binary(op, left, right):
            return Binary(op, without_events(left), without_events(right))
        case Coalesce(args):
            return Coalesce(tuple(without_events(a) for a in args))
        case IsNull(arg):
            return IsNull(without_events(arg))
    return node
