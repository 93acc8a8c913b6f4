"""Faults planted in a copy of the reference model, to know which worlds show them.

That says nothing of the engine. It says that the agreement test would see such a fault in the engine, and in which worlds
to look (``worlds_that_show``), so that a test of a faulty engine need not try them all.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import cadenza.simulate
from cadenza.clock import from_micros
from cadenza.errors import CadenzaError
from cadenza.simulate.worlds import World, seeded
from tests.simulation.seeded_faults import FAULTS, SEEDS
from tests.simulation.strategies import Rows, play

SOURCE = Path(cadenza.simulate.__file__).parent
RECORDS, TOWNS = 40, 6

PLANTED: dict[str, tuple[str, str, str]] = {
    "window_closed_at_the_start": (
        "evaluate", "    events = _counted(node, view)\n",
        "    events = _counted(node, view)\n    edge = view.now - timedelta(seconds=node.within_s or 0)\n    events += ["
        "e for e in view.events if node.within_s and e.name == node.event and e.occurred_at == edge and holds(node.where, view, e)]\n",
    ),
    "check_at_forgets_older_than": ("evaluate", "elif isinstance(part, OlderThan):", "elif False:"),
    "merge_keeps_the_latest": (
        "model", "sorted(inside(survivor), key=order)", "sorted(inside(survivor), key=order, reverse=True)",
    ),
    "survivor_is_the_largest": (
        "model", "owners = sorted({self.owner[i] for i in found if i in self.owner})",
        "owners = sorted({self.owner[i] for i in found if i in self.owner}, reverse=True)",
    ),
    "email_keeps_its_case": ("person", 'value.lower() if kind.type == "email" else value', "value"),
    "tie_grants_consent": ("person", "bool(said) and all(", "bool(said) and any("),
    "late_statement_wins": ("person", "if at == latest)", "if (at, granted) == said[-1])"),
    "late_trait_wins": ("person", "(at, order, text) for trait, at, order, text", "(order, at, text) for trait, at, order, text"),
    "disqualified_before_goal": (
        "passages", "if holds(e.journey.exit.goal, e.sees(view)):",
        "if holds(e.journey.exit.goal, e.sees(view)) and not holds(e.journey.exit.disqualified, e.sees(view)):",
    ),
    "null_takes_otherwise": ("passages", "if answer is not False:", "if answer is True:"),
    "record_before_timer": ("model", "        self.run_timers(now)\n", "        self.run_timers(from_micros(record.recorded_at - 1))\n"),
    "arrival_sees_the_event": ("passages", "replace(view, item=None)", "replace(view)"),
    "holdout_bucket_off": ("passages", "< holdout.share_bp", "<= holdout.share_bp // 2"),
    "re_entry_counts_from_the_exit": (
        "passages", "max((e.entered_at for e in same), default=EPOCH)",
        'max((t for i, t, _ in self.rows["ends"] if i in [e.eid for e in same]), default=EPOCH)',
    ),
    "overdue_blocks_re_entry": ("passages", "if e.eid not in overdue]", "]"),
    "priority_tie_lets_in": ("passages", "e.journey.priority >= journey.priority", "e.journey.priority > journey.priority"),
    "wait_outlives_the_limit": ("passages", "None, now\n        e.wake_at = min(until, e.limit_at)", "None, now\n        e.wake_at = until"),
    "suppress_unknown_lets_through": ("verdicts", "evaluate(when, view) is not False", "evaluate(when, view) is True"),
    "transactional_asks_consent": (
        "verdicts", "    if not marketing:\n        return SEND\n",
        '    if not marketing and person.consented(template.purpose, template.channel):\n        return SEND\n',
    ),
    "quiet_hours_one_hour_off_in_summer": ("clocks", "max(begin, target - held)", "max(begin, target - offset(zone, after or begin))"),
    "cap_off_by_one": ("verdicts", "excess = len(times) - cap.limit", "excess = len(times) - cap.limit - 1"),
    "cap_window_closed_at_the_start": (
        "verdicts", "if now - per < at <= now)", "if now - per <= at <= now)\n    per += timedelta(microseconds=1)",
    ),
    "all_candidates_at_once": (
        "contact", "[:1]:\n            counted = [m for m in person.messages if", ":\n            counted = [m for m in person.messages if m.planned_at < now and",
    ),
    "deadline_from_the_last_deferral": (
        "contact", "e.wake_at = min(verdict.until, e.limit_at)", "e.wake_at = e.due_since = min(verdict.until, e.limit_at)",
    ),
    "failed_messages_count": ("contact", 'and "Message Failed" not in self.outcomes.get(message, ())', ""),
    "completed_cancels": ("passages", "self._end(e, reason, now)", "self._end(e, reason, now, person)"),
    "forbidden_by_now_stays": ("model", "        self._withdraw(person, view)\n", ""),
    "handed_over_is_cancelled": ("passages", "message.deliverable and message.message_id not in self.outcomes:", "message.deliverable:"),
    "replay_is_delivered": ("model", 'self.deliverable = body["command"] == "live"', "pass"),
    "merge_triggers": (
        "model", "for segment in self.project.segments:\n            if isinstance",
        'for segment in self.project.segments:\n            merged = (person.pid, segment.name, view.now, True, "merged")\n'
        '            changes |= {(segment.name, "entered")} if merged in self.rows["memberships"] else set()\n            if isinstance',
    ),
    "supersedes_across_arenas": ("passages", "if lower and _rivals(e, entrant.journey) and", "if lower and"),
    "time_alone_is_not_looked_at": ("model", "e.check_at = self._next_check(e, view)", "e.check_at = None"),
    "entering_asks_no_key": ("passages", "asks.key or None", "None"),
    "two_enter_as_one": ("passages", "if any(e in running for e in same) and", "if any(e in running and e.entered_at < view.now for e in same) and"),
    "a_jump_too_many": ("passages", "if times < most:", "if times <= most:\n                        most += 1"),
    "rounds_share_a_message_id": ("contact", "_said(e), self._round(e))", "_said(e))"),
    "all_must_hold_together": ("passages", "e.seen |= set(true)", "e.seen = set(true)"),
    "the_last_true_condition_wins": ("passages", "any[{true[0]}].steps", "any[{true[-1]}].steps"),
}  # fmt: skip
"""Fault -> module, text, wrong text. ``exits_after_steps`` needs more than a line and is planted in the engine only."""


@cache
def _world(seed: int, addition: str) -> tuple[World, Rows]:
    world = seeded(seed, RECORDS, TOWNS, (addition,) if addition else ())
    return world, play(world)


def worlds_that_show(name: str) -> Iterator[tuple[int, World]]:
    """The seeds and worlds, out of ``SEEDS``, on which a model with the fault differs from the model."""
    package = f"faulty_{name}"
    addition = next(fault.addition for fault in FAULTS if fault.name == name)
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, folder)
        try:
            faulty = _faulty_model(Path(folder), package, *PLANTED[name])
            for seed in SEEDS:
                world, expected = _world(seed, addition)
                if _play(faulty, world) != expected:
                    yield seed, world
        finally:
            sys.path.remove(folder)
            for known in [m for m in sys.modules if m.split(".")[0] == package]:
                del sys.modules[known]


def _faulty_model(folder: Path, package: str, module: str, right: str, wrong: str) -> ModuleType:
    (folder / package).mkdir()
    for file in SOURCE.glob("*.py"):
        name, text = file.stem, file.read_text()
        if name == module:
            assert text.count(right) == 1, f"{name}.py has {text.count(right)} times: {right}"
            text = text.replace(right, wrong)
        text = text.replace("from cadenza.simulate import", f"from {package} import").replace(
            "cadenza.simulate.", f"{package}."
        )
        (folder / package / f"{name}.py").write_text(text)
    importlib.invalidate_caches()
    return importlib.import_module(f"{package}.model")


def _play(faulty: ModuleType, world: World) -> object:
    model = faulty.Model(world.project)
    try:
        for record in world.records:
            model.apply(record)
        model.run_timers(from_micros(world.horizon))
        return model.observations()
    except (
        AssertionError,
        CadenzaError,
    ) as error:  # a fault may also break what the model takes for granted; that shows too
        return repr(error)
