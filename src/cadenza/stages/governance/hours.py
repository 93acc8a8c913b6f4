"""When a channel rests: quiet hours and send windows in the person's zone, by jurisdiction."""

from __future__ import annotations

from cadenza.sql.program import Program
from cadenza.sql.step import Script, Step, any_of, query, sql
from cadenza.stages.governance import caps

_SCRIPT = Script.beside(__file__, "governance")


def quiet(program: Program) -> Step:
    """Until when each candidate waits; and whose zone has to be known but is not."""
    calendar = caps.calendar_concerns(program)
    if not program.closed and not calendar:
        return _SCRIPT.step("w_quiet_none")
    rests = (
        sql("g.channel || '/' || g.jurisdiction")
        .copy()
        .isin(query("SELECT channel || '/' || jurisdiction FROM t_closed"))
    )
    return _SCRIPT.step("w_quiet", local=any_of([rests, *calendar]))
