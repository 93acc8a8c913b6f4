"""When a channel rests: quiet hours and send windows in the person's zone, by jurisdiction."""

from __future__ import annotations

from cadenza.sql.program import Program
from cadenza.sql.step import Script, Step, any_of, column, query, sql
from cadenza.stages.governance import caps

_SCRIPT = Script.beside(__file__, "governance")
_LEVELS = {"of": "g", "of_local": "l", "of_found": "q"}


def quiet(program: Program, chosen: bool) -> Step:
    """Until when each candidate waits; and whose zone has to be known but is not. ``chosen``: for each of its templates."""
    of = {level: [column("template", row)] if chosen else [] for level, row in _LEVELS.items()}
    calendar = caps.calendar_concerns(program)
    if not program.closed and not calendar:
        return _SCRIPT.step("w_quiet_none", of=of["of"])
    rests = (
        sql("g.channel || '/' || g.jurisdiction")
        .copy()
        .isin(query("SELECT channel || '/' || jurisdiction FROM t_closed"))
    )
    return _SCRIPT.step("w_quiet", local=any_of([rests, *calendar]), **of)
