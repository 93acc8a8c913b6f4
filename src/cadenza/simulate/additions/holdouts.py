"""Worlds with holdouts of programmes and of steps, beside those of journeys and the global one."""

from __future__ import annotations

from msgspec.structs import replace

from cadenza.definitions.kinds import Holdout, Journey, Send, Step
from cadenza.definitions.kinds_policy import Programme
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.additions.caps import crowd
from cadenza.simulate.chooser import Chooser, chance, pick

_GLOBAL = Holdout(name="everybody", share_bp=1500)
_OWN = Holdout(name="of_journeys", share_bp=3000)
_STEPS = (Holdout(name="of_steps", share_bp=4000), Holdout(name="of_one_step", share_bp=5000), _OWN, None)


def _project(c: Chooser, project: Project) -> Project:
    """Journeys that compete and that do not, in two programmes or in none; some of their messages withheld."""
    groups = tuple(
        Programme(name=name, holdout=Holdout(name=f"in_{name}", share_bp=share)) for name, share in (("a", 4000), ("b", 2500))
    )  # fmt: skip
    journeys = tuple(_grouped(c, j, project) for j in crowd(c, project.journeys))
    taken = {j.programme for j in journeys}
    policy = replace(
        project.policy, programmes=tuple(g for g in groups if g.name in taken), suppress=(),
        holdout=_GLOBAL if chance(c, 30) else None, caps=project.policy.caps if chance(c, 40) else (),
    )  # fmt: skip
    return replace(project, policy=policy, journeys=journeys)


def _grouped(c: Chooser, journey: Journey, project: Project) -> Journey:
    marketing = {t.name for t in project.templates if t.message_class == "marketing"}
    return replace(
        journey, programme=pick(c, ["a", "a", "b", None]), holdout=_OWN if chance(c, 40) else None,
        arena=pick(c, [None, None, "shared"]), steps=tuple(_withheld(c, step, marketing) for step in journey.steps),
    )  # fmt: skip


def _withheld(c: Chooser, step: Step, marketing: set[str]) -> Step:
    if not isinstance(step, Send) or step.template not in marketing:
        return step
    return replace(step, holdout=pick(c, _STEPS))


ADDITION = Addition(project=_project)
