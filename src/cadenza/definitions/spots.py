"""Where the steps of a journey stand and what can follow them: for jumps, and for loops that would take no time."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from cadenza.definitions.kinds_journey import Branch, Call, ExitStep, HandOff, Journey, Jump, Split, Step, Wait, WaitFor


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """A step. ``path``: as enrollments have it; ``place``: as findings have it; ``follows``: the path behind it (None: the
    end); ``inside``: (its name, the path it begins with) of each list of steps within it, empty ones lead on."""

    path: str
    place: str
    step: Step
    follows: str | None
    inside: tuple[tuple[str, str | None], ...]


def spots_of(steps: tuple[Step, ...]) -> dict[str, Spot]:
    """Every step of a journey, by its path, in the order written."""
    return {spot.path: spot for spot in _spots(steps, "steps", "steps", None)}


def steps_of(journey: Journey) -> Iterator[tuple[Step, str]]:
    """Every step of a journey, the last steps of its exits too, with its place in findings."""
    yield from ((spot.step, spot.place) for spot in spots_of(journey.steps).values())
    for name, last in journey.exit.last_steps.items():
        yield from ((step, f"exit.{name}.then.{number}") for number, step in enumerate(last))


def _spots(steps: tuple[Step, ...], prefix: str, place: str, after: str | None) -> Iterator[Spot]:
    for i, step in enumerate(steps):
        path, at = f"{prefix}[{i}]", f"{place}.{i}"
        follows = f"{prefix}[{i + 1}]" if i + 1 < len(steps) else after
        lists = [(name, f"{path}.{name}", f"{at}.{written}", found) for name, written, found in lists_in(step)]
        begun = tuple((name, f"{below}[0]" if found else follows) for name, below, _, found in lists)
        yield Spot(path=path, place=at, step=step, follows=follows, inside=begun)
        for _, below, written, found in lists:
            yield from _spots(found, below, written, follows)


def lists_in(step: Step) -> list[tuple[str, str, tuple[Step, ...]]]:
    """(name in paths, name in findings, steps) of each list inside a step."""
    match step:
        case Branch(arms=arms, unknown=unknown, otherwise=otherwise):
            found = [(f"branch.arms[{i}].steps", f"arms.{i}.steps", arm.steps) for i, arm in enumerate(arms)]
            return [*found, ("branch.unknown", "unknown", unknown), ("branch.otherwise", "otherwise", otherwise)]
        case Split(arms=split_arms):
            return [(f"split.{arm.name}.steps", f"arms.{arm.name}.steps", arm.steps) for arm in split_arms]
        case WaitFor(arms=own, matched=matched, timeout=timeout):
            found = [(f"wait_for.any[{i}].steps", f"any.{i}.steps", steps) for i, steps in enumerate(own)]
            return [*found, ("wait_for.matched", "matched", matched), ("wait_for.timeout", "timeout", timeout)]
        case HandOff(outcomes=outcomes, breached=breached):
            found = [(f"hand_off.{arm.name}.steps", f"outcomes.{arm.name}.steps", arm.steps) for arm in outcomes]
            return [*found, *([("hand_off.breached.steps", "breached.steps", breached.steps)] if breached else [])]
        case Call(answered=answered, failed=failed, unanswered=unanswered):
            lists = (("answered", answered), ("failed", failed), ("unanswered", unanswered))
            return [(f"call.{name}", name, steps) for name, steps in lists]
    return []


def labels_of(spots: dict[str, Spot]) -> dict[str, str]:
    """Label -> path of the step that has it."""
    return {spot.step.label: path for path, spot in spots.items() if spot.step.label}


def next_paths(spot: Spot, labels: dict[str, str]) -> Iterator[tuple[str, bool]]:
    """The paths that can come behind a step, and whether that surely takes time. The end is none of them."""
    step = spot.step
    follows = [] if spot.follows is None else [spot.follows]
    match step:
        case ExitStep():
            return
        case Jump(to=label):
            yield from ((path, False) for path in ([labels[label]] if label in labels else []) + follows)
        case Wait():
            sure = step.duration_s > 0 or (step.local is not None and step.local.until_date is None)
            yield from ((path, sure) for path in follows)
        case WaitFor():
            late = [path for name, path in spot.inside if name == "wait_for.timeout"]
            ways = [path for name, path in spot.inside if name != "wait_for.timeout"] or [spot.follows]
            yield from ((path, True) for path in late if path is not None)
            yield from ((path, False) for path in ways if path is not None)
        case HandOff():
            yield from ((path, True) for _, path in spot.inside if path is not None)
        case Call():
            # A call that is not allowed fails at once.
            yield from ((path, name != "call.failed") for name, path in spot.inside if path is not None)
        case _:
            ways = [path for _, path in spot.inside] or [spot.follows]
            yield from ((path, False) for path in ways if path is not None)


def jumps_ahead(spots: dict[str, Spot]) -> dict[str, frozenset[str]]:
    """Path -> the jumps that can still be come to from there."""
    labels = labels_of(spots)
    if not any(isinstance(spot.step, Jump) for spot in spots.values()):
        return {}
    ahead: dict[str, frozenset[str]] = {}
    for start in spots:
        seen, left = {start}, [start]
        while left:
            for path, _ in next_paths(spots[left.pop()], labels):
                if path not in seen:
                    seen.add(path)
                    left.append(path)
        ahead[start] = frozenset(path for path in seen if isinstance(spots[path].step, Jump))
    return ahead


def timeless_jumps(spots: dict[str, Spot]) -> Iterator[Spot]:
    """The jumps that could lead back to themselves at one instant."""
    labels = labels_of(spots)
    for spot in spots.values():
        if isinstance(spot.step, Jump) and spot.step.to in labels and _returns(spot, spots, labels):
            yield spot


def _returns(jump: Spot, spots: dict[str, Spot], labels: dict[str, str]) -> bool:
    assert isinstance(jump.step, Jump)
    seen, left = set[str](), [labels[jump.step.to]]
    while left:
        path = left.pop()
        if path == jump.path:
            return True
        if path not in seen:
            seen.add(path)
            left += [ahead for ahead, takes_time in next_paths(spots[path], labels) if not takes_time]
    return False
