"""Exits with last steps: those who leave go on to them, and end when they are done."""

from __future__ import annotations

from cadenza.sql.program import Program
from cadenza.sql.step import Script, Step
from cadenza.stages.journeys.reach import Frontier, Ways

_SCRIPT = Script.beside(__file__, "journeys")


def leavers(program: Program, frontier: Frontier) -> bool:
    """Whether passages may rest at last steps."""
    return program.leaves and any(program.versions[jid].graph.stops[step].leaving for jid, step in frontier)


def told_apart(program: Program, frontier: Frontier) -> list[Step]:
    """Who has left before is told from those inside."""
    return [_SCRIPT.step("w_state_leaving")] if leavers(program, frontier) else []


def once() -> list[Step]:
    """Nobody leaves twice."""
    return [_SCRIPT.step("w_end_leaving")]


def leave(program: Program, frontier: Frontier) -> list[Step]:
    """Those who leave in this wave by an exit with last steps go on to them."""
    here = program.leaves and any(program.versions[jid].graph.exits for jid, _ in frontier)
    return [_SCRIPT.step("w_go_leaving")] if here else []


def left(program: Program, taken: Ways) -> bool:
    """Whether some of the ways are exits with last steps."""
    return program.leaves and any(way in program.versions[jid].graph.exits for jid, _, way in taken)


def gone() -> list[Step]:
    """The others have ended (``w_gone``); who goes on has no time limit any more."""
    return [_SCRIPT.step("without_limit"), _SCRIPT.step("w_gone")]
