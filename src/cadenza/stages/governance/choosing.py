"""``channel: best``: which of a send's templates goes to whom. All are judged at once; the first in the order stands for it."""

from __future__ import annotations

from sqlglot import exp

from cadenza.definitions.expression import Expr
from cadenza.definitions.kinds_policy import BestChannel, ChannelWorth, millionths
from cadenza.sql.expression import Compiler, Needs
from cadenza.sql.program import Program
from cadenza.sql.step import DIALECT, Script, Step, case_on, column, number, query, sql, text
from cadenza.stages.governance.caps import Full

_SCRIPT = Script.beside(__file__, "governance")
_NONE = BestChannel(channels=())
_WHOLE_BP = 10_000


def chooses(program: Program, sends: frozenset[tuple[int, int]]) -> bool:
    """Whether one of the sends has a choice."""
    return any(program.versions[jid].graph.stops[step].templates for jid, step in sends)


def channels(program: Program, sends: frozenset[tuple[int, int]]) -> frozenset[str]:
    """The channels that the sends choose from."""
    stops = (program.versions[jid].graph.stops[step] for jid, step in sends)
    return frozenset(program.templates[name].channel for stop in stops for name in stop.templates)


def responses(program: Program, sends: frozenset[tuple[int, int]]) -> list[Expr]:
    """What is asked of a person for the choices of these sends."""
    best = program.project.policy.best_channel or _NONE
    said = (best.of(channel).response for channel in sorted(channels(program, sends)))
    return [tree for tree in said if tree is not None]


def choice(program: Program, weighed: frozenset[str], events: frozenset[str], deadline: exp.Expr, full: Full,
           same: dict[str, exp.Expr]) -> Step:  # fmt: skip
    """What governance says of every template, what each is worth, and in which order they come."""
    best, compiler = program.project.policy.best_channel or _NONE, Compiler(program.schema, Needs(), events)
    said = [best.of(channel) for channel in sorted(weighed)]
    asked = [(text(c.name), compiler.condition(c.response)) for c in said if c.response is not None]
    counted = _asked(best) if asked else []
    sent = sql("coalesce(r.messages, 0)") if asked else exp.Null()
    return _SCRIPT.step(
        "w_choice", deadline=deadline, cap_drop=full.drops, cap_until=full.until, messages=sent,
        responses=_responses(asked), local=[*full.joins, *counted],
        score=case_on(column("channel", "y"), [(text(c.name), _score(best, c)) for c in said], number(0)), **same,
    )  # fmt: skip


def of_verdict() -> list[exp.Join]:
    """The chosen one stands for the send."""
    return [exp.Join(this=exp.alias_(exp.to_table("w_choice"), "b", table=True),
                     on=sql("b.eid = g.eid AND b.template = g.template AND b.rank_ = 1").copy())]  # fmt: skip


def of_decision() -> list[exp.Join]:
    """All of them are evidence, where there was a choice."""
    return [exp.Join(this=query(_SCRIPT.text("choice")).subquery("b"), side="LEFT", on=sql("b.eid = d.eid").copy())]


def _asked(best: BestChannel) -> list[exp.Join]:
    """The person's row, and how many messages they had."""
    sent = query(_SCRIPT.text("sent_before", within=number(best.within_s))).subquery("r")
    return [
        exp.Join(this=exp.alias_(exp.to_table("w_ctx"), "c", table=True), on=sql("c.pid = g.pid").copy()),
        exp.Join(this=sent, side="LEFT", on=sql("r.eid = g.eid AND r.template = g.template").copy()),
    ]


def _responses(asked: list[tuple[exp.Expr, exp.Expr]]) -> exp.Expr:
    """How often the person responded by the channel: not more often than there were messages. NULL: it is not asked."""
    arms = []
    for channel, tree in asked:
        often = f"greatest(coalesce({tree.sql(dialect=DIALECT)}, 0), 0)"
        arms.append((channel, sql(f"CAST(least({often}, coalesce(r.messages, 0)) AS BIGINT)").copy()))
    return case_on(column("channel", "g"), arms, exp.Null()) if arms else sql("CAST(NULL AS BIGINT)")


def _score(best: BestChannel, channel: ChannelWorth) -> exp.Expr:
    """What a message by the channel is worth less its cost, in millionths."""
    worth, cost = millionths(best.worth), millionths(channel.cost)
    if channel.response is None:
        return number(worth * channel.usual_bp // _WHOLE_BP - cost)
    usual = best.weight * channel.usual_bp
    parts = f"CAST({worth} AS HUGEINT) * ({_WHOLE_BP} * y.responses + {usual})"
    return sql(f"({parts}) // ({_WHOLE_BP} * (y.messages + {best.weight})) - {cost}").copy()
