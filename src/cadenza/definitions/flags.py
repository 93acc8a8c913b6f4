"""Flags: the names that ``wait_for ... as NAME`` gives to how a wait ended."""

from __future__ import annotations

import msgspec

from cadenza.definitions import kinds
from cadenza.definitions.expression import (
    Binary,
    Coalesce,
    Expr,
    Flag,
    InList,
    IsNull,
    Like,
    Not,
    OlderThan,
    Trait,
)  # fmt: skip


def nested_steps(step: kinds.Step) -> tuple[tuple[kinds.Step, ...], ...]:
    """The step lists inside a branch (arms, unknown, otherwise), split or wait_for; nothing for other steps."""
    match step:
        case kinds.WaitFor():
            return (*step.arms, step.matched, step.timeout)
        case kinds.Branch():
            return (*(arm.steps for arm in step.arms), step.unknown, step.otherwise)
        case kinds.Split():
            return tuple(arm.steps for arm in step.arms)
        case kinds.Call():
            return (step.answered, step.failed, step.unanswered)
        case kinds.HandOff():
            return (*(arm.steps for arm in step.outcomes), *((step.breached.steps,) if step.breached else ()))
    return ()


def with_flags(journey: kinds.Journey) -> kinds.Journey:
    """The journey with the names of its ``wait_for`` and ``call ... as NAME`` resolved in the conditions of its steps."""
    names = frozenset(flags_of(journey.steps))
    return msgspec.structs.replace(journey, steps=_resolve(journey.steps, names)) if names else journey


def flags_of(steps: tuple[kinds.Step, ...]) -> list[str]:
    """The names given by ``wait_for`` and ``call ... as NAME`` anywhere in the steps, in order, repeats included."""
    found = [step.as_ for step in steps if isinstance(step, kinds.WaitFor | kinds.Call) and step.as_]
    for step in steps:
        for below in nested_steps(step):
            found += flags_of(below)
    return found


def _resolve(steps: tuple[kinds.Step, ...], names: frozenset[str]) -> tuple[kinds.Step, ...]:
    resolved: list[kinds.Step] = []
    for step in steps:
        if isinstance(step, kinds.Branch):
            arms = tuple(kinds.Arm(when=_flagged(a.when, names), steps=_resolve(a.steps, names)) for a in step.arms)
            step = msgspec.structs.replace(
                step, arms=arms, unknown=_resolve(step.unknown, names), otherwise=_resolve(step.otherwise, names)
            )
        elif isinstance(step, kinds.WaitFor):
            step = msgspec.structs.replace(
                step, any=tuple(_flagged(tree, names) for tree in step.any),
                all=tuple(_flagged(tree, names) for tree in step.all),
                arms=tuple(_resolve(arm, names) for arm in step.arms),
                matched=_resolve(step.matched, names), timeout=_resolve(step.timeout, names),
            )  # fmt: skip
        elif isinstance(step, kinds.Split):
            changed = (msgspec.structs.replace(a, steps=_resolve(a.steps, names)) for a in step.arms)
            step = msgspec.structs.replace(step, arms=tuple(changed))
        elif isinstance(step, kinds.HandOff):
            step = _resolved_hand_off(step, names)
        elif isinstance(step, kinds.Call):
            step = msgspec.structs.replace(
                step, answered=_resolve(step.answered, names), failed=_resolve(step.failed, names),
                unanswered=_resolve(step.unanswered, names),
            )  # fmt: skip
        resolved.append(step)
    return tuple(resolved)


def _resolved_hand_off(step: kinds.HandOff, names: frozenset[str]) -> kinds.HandOff:
    arms = tuple(msgspec.structs.replace(arm, steps=_resolve(arm.steps, names)) for arm in step.outcomes)
    breached = step.breached and kinds.BreachedArm(steps=_resolve(step.breached.steps, names))
    return msgspec.structs.replace(step, outcomes=arms, breached=breached)


def _flagged(node: Expr, names: frozenset[str]) -> Expr:
    match node:
        case Trait(name) if name in names:
            return Flag(name)
        case Not(arg):
            return Not(_flagged(arg, names))
        case IsNull(arg):
            return IsNull(_flagged(arg, names))
        case OlderThan(arg, seconds):
            return OlderThan(_flagged(arg, names), seconds)
        case Binary(op, left, right):
            return Binary(op, _flagged(left, names), _flagged(right, names))
        case InList(arg, items):
            return InList(_flagged(arg, names), items)
        case Like(arg, pattern):
            return Like(_flagged(arg, names), pattern)
        case Coalesce(args):
            return Coalesce(tuple(_flagged(arg, names) for arg in args))
    return node


def calls_in(steps: tuple[kinds.Step, ...]) -> list[kinds.Call]:
    """The calls among the steps, in order."""
    found = [step for step in steps if isinstance(step, kinds.Call)]
    for step in steps:
        for below in nested_steps(step):
            found += calls_in(below)
    return found


def chooses(journey: kinds.Journey) -> bool:
    """Whether a send of the journey says ``channel: best``."""
    return any(_chooses(steps) for steps in (journey.steps, *journey.exit.last_steps.values()))


def _chooses(steps: tuple[kinds.Step, ...]) -> bool:
    return any(
        (isinstance(step, kinds.Send) and step.templates) or any(_chooses(below) for below in nested_steps(step))
        for step in steps
    )


def sent_templates(steps: tuple[kinds.Step, ...]) -> list[str]:
    """The templates that the steps send, in order, repeats included."""
    found = [template for step in steps if isinstance(step, kinds.Send) for template in step.candidates]
    for step in steps:
        for below in nested_steps(step):
            found += sent_templates(below)
    return found
