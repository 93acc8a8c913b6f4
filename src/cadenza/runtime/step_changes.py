"""What changed in the steps of a journey, step by step and in words."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal

import msgspec

from cadenza.definitions.expression_text import write
from cadenza.definitions.kinds import Branch, ExitStep, Journey, Split, Step
from cadenza.runtime.explain.wording import position, steps_by_path


class StepChange(msgspec.Struct, frozen=True, kw_only=True):
    """A step that is there on one side only, or says something else. ``path``: in the new version, or of a removed step in
    the old one. ``was``: what it said before."""

    change: Literal["added", "removed", "changed"]
    path: str
    words: str
    was: str | None = None


def step_changes(old: Journey, new: Journey) -> tuple[StepChange, ...]:
    """The steps that were added, removed or changed, in the order of the new version. A step that only moved is none."""
    before, after = _said(old), _said(new)
    matcher = SequenceMatcher(None, [words for _, words in before], [words for _, words in after], autojunk=False)
    found: list[StepChange] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag != "equal":
            found += _changes(before[a:b], after[c:d])
    return tuple(found)


def _changes(before: list[tuple[str, str]], after: list[tuple[str, str]]) -> Iterator[StepChange]:
    both = min(len(before), len(after))
    for (_, was), (path, words) in zip(before[:both], after[:both], strict=True):
        yield StepChange(change="changed", path=path, words=words, was=was)
    yield from (StepChange(change="removed", path=path, words=words) for path, words in before[both:])
    yield from (StepChange(change="added", path=path, words=words) for path, words in after[both:])


def _said(journey: Journey) -> list[tuple[str, str]]:
    return [(path, _words(journey, path, step)) for path, step in steps_by_path(journey).items()]


def _words(journey: Journey, path: str, step: Step) -> str:
    match step:
        case Branch(arms=arms):
            return f"branch on {' / '.join(write(arm.when) for arm in arms)}"
        case Split(name=name, arms=arms):
            return f"split {name}: {', '.join(f'{arm.name} {arm.share_bp / 100:g}%' for arm in arms)}"
        case ExitStep(reason=reason):
            return f"exit {reason}"
    return position(journey, path, None)
