"""Tasks: people handed to people. What was said of a task, what becomes of it in time, and what waits meanwhile."""

from __future__ import annotations

from functools import lru_cache

from sqlglot import exp

from cadenza.definitions.builtin import TASK_EVENTS
from cadenza.definitions.expression import Trait
from cadenza.sql.expression import Compiler, Needs
from cadenza.sql.program import RESUMES, Program
from cadenza.sql.step import Script, Step, case_on, number, sql, text

_SCRIPT = Script.beside(__file__, "tasks")

Stops = frozenset[tuple[int, int]]
"""(jid, step) of hand-offs."""


@lru_cache(maxsize=1)
def said() -> list[Step]:
    """What people said of tasks in this wave, and whether it has an effect."""
    return [_SCRIPT.step("w_said", names=[text(name) for name in TASK_EVENTS]), _SCRIPT.step("task_said")]


def completed() -> list[Step]:
    """Passages whose task was completed go on."""
    return [_SCRIPT.step("task_go")]


def overdue() -> list[Step]:
    """Tasks whose time is up: breached, passed to another team, or given up."""
    return [_SCRIPT.step(name) for name in ("w_sla", "task_sla", "task_go_breached", "task_wait")]


def left() -> list[Step]:
    """Tasks of passages that an exit ended in this wave are withdrawn."""
    return [_SCRIPT.step("task_left")]


def adrift() -> list[Step]:
    """So are those of passages that a merge ended."""
    return [_SCRIPT.step("task_adrift")]


def deployed(program: Program) -> list[Step]:
    """And those of passages that a deployment ended or moved; messages that waited for them are due."""
    return [*adrift(), *([_SCRIPT.step("wake_released")] if program.holds else [])]


def opened(program: Program, stops: Stops, events: frozenset[str], owners: exp.Expr | None, after: bool) -> Step:
    """A task for each passage that comes to one of these hand-offs, from the wave's moves or (``after``) from those
    after its sends. ``owners``: who the queued records are of; None: nothing is queued."""
    key = ("tasks.opened", stops, events, owners.sql() if owners is not None else None, after)
    return program.cached(key, lambda: _opened(program, stops, events, owners, after))


def _opened(program: Program, stops: Stops, events: frozenset[str], owners: exp.Expr | None, after: bool) -> Step:
    compiler = Compiler(program.schema, Needs(), events)
    arms = [(number(jid * RESUMES + step), _context(program, jid, step, compiler)) for jid, step in sorted(stops)]
    heard, payload = _SCRIPT.query("heard"), _SCRIPT.query("payload")
    if owners is not None:
        heard, payload = _SCRIPT.query("heard_queued"), _SCRIPT.query("payload_queued")
        for table in list(heard.find_all(exp.Table)):
            if table.name == "owners_":
                table.replace(exp.Subquery(this=owners.copy(), alias=exp.TableAlias(this=exp.to_identifier("o"))))
    context = case_on(sql(f"m.jid * {RESUMES} + m.to_step"), arms, text("{}"))
    renamed = {"w_move": "w_move_after"} if after else None
    return _SCRIPT.step("task", renamed, context=context, heard=heard, payload=payload)


_TEXTS = {
    "string": "v_",
    "integer": "CAST(v_ AS VARCHAR)",
    "boolean": "CAST(v_ AS VARCHAR)",
    "decimal": "CAST(TRY_CAST(v_ AS DECIMAL(18,4)) AS VARCHAR)",
    "timestamp": "strftime(v_, '%Y-%m-%dT%H:%M:%S.%fZ')",
}  # fmt: skip
"""The text of a trait's value, by type."""


def _context(program: Program, jid: int, step: int, compiler: Compiler) -> exp.Expr:
    """JSON of the traits that the task shows, each as its text."""
    task = program.versions[jid].graph.stops[step].task
    assert task is not None
    types = {trait.name: trait.type for trait in program.project.traits}
    pairs: list[exp.Expr] = []
    for name in task.context:
        # A version that is kept for those inside it may name a trait that the project has no longer.
        value: exp.Expr = compiler.condition(Trait(name)) if name in types else exp.Null()
        pairs += [text(name), _text(value, types.get(name, "string"))]
    return exp.cast(exp.Anonymous(this="json_object", expressions=pairs), "varchar", dialect="duckdb")


def _text(value: exp.Expr, kind: str) -> exp.Expr:
    tree = sql(_TEXTS[kind]).copy()
    if isinstance(tree, exp.Column):
        return value
    for node in list(tree.find_all(exp.Column)):
        node.replace(exp.paren(value.copy()))
    return tree


def holding(program: Program, stops: Stops) -> bool:
    """Whether marketing waits while a person is at one of these stops."""
    tasks = (program.versions[jid].graph.stops[step].task for jid, step in stops)
    return any(task is not None and task.hold_marketing for task in tasks)


def held_persons() -> list[Step]:
    """Persons whose marketing waits after this item's moves."""
    return [_SCRIPT.step("w_hold")]


def released() -> list[Step]:
    """Messages that were put off are candidates again where the last holding task ended."""
    return [_SCRIPT.step("w_due_released")]


def hold_back(program: Program) -> list[Step]:
    """Marketing candidates of those persons are put off, or dropped at their deadline."""
    deadline = number(program.project.policy.deadline_s)
    return [_SCRIPT.step("w_held", deadline=deadline), _SCRIPT.step("held_away"), _SCRIPT.step("held_decision")]


def held_verdicts() -> list[Step]:
    """Their verdicts, beside those that governance gave the others."""
    return [_SCRIPT.step("held_verdict")]
