"""Puts the explanation of one person together."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlglot import exp

from cadenza.clock import EPOCH
from cadenza.definitions.check import property_types
from cadenza.definitions.expression import Agg, Trait, walk
from cadenza.definitions.expression_text import write
from cadenza.definitions.holdouts import holdouts_of
from cadenza.definitions.implied import is_implied
from cadenza.definitions.kinds import TraitDefinition
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError, near_miss
from cadenza.ids import is_account, named_subject, subject_name
from cadenza.ports.engine import Engine
from cadenza.runtime.explain.asof import Moment, evaluate
from cadenza.runtime.explain.not_qualified import shown, why_not
from cadenza.runtime.explain.passages import passages, refusals
from cadenza.runtime.explain.views import (
    AssignmentView,
    ConsentView,
    CountedView,
    Explanation,
    IdentifierView,
    MembershipView,
    MergeView,
    SourceView,
    SuppressionView,
    TraitView,
    as_logged,
)  # fmt: skip
from cadenza.runtime.history import Deployed, deployed
from cadenza.sql import step
from cadenza.sql.columns import expand, schema_of
from cadenza.sql.step import column, number, text
from cadenza.stages import measure

_SCRIPT = step.Script.beside(__file__, "explain")
_LATER = datetime(9999, 1, 1)


def explain(engine: Engine, project: Project, person: str, journey: str | None = None) -> Explanation:
    """Everything that is known of one person, and why. ``person``: ``p_<number>``, or the value of an identifier
    (``type:value`` where persons of two types share it); merged persons lead to their survivor. ``journey`` narrows
    what is said of journeys. Raises CadenzaError for an unknown person or journey, with near misses."""
    if journey is not None and journey not in {j.name for j in project.journeys}:
        names = [j.name for j in project.journeys]
        raise CadenzaError(f"there is no journey '{journey}'.", remedy=near_miss(journey, names))
    with engine.transaction():
        pid = resolve(engine, person)
        found = _Person(engine, project, pid, person).explanation(journey)
        return as_logged(found) if is_account(pid) else found


def resolve(engine: Engine, asked: str) -> int:
    """The number of the living person that an id or an identifier's value names. Raises CadenzaError."""
    found = find(engine, asked)
    if found is not None:
        return found
    near = [f"'{value}'" for value, _ in engine.query(_SCRIPT.step("near", value=text(asked.strip())).sql)]
    remedy = (
        f"Did you mean {' or '.join(near)}?"
        if near
        else "Give p_<number>, a user id, an e-mail address or an anonymous id."
    )
    raise CadenzaError(f"there is no person '{asked}'.", remedy=remedy)


def find(engine: Engine, asked: str) -> int | None:
    """The same, and None where nobody is so named. Raises CadenzaError where several are."""
    wanted = asked.strip()
    if (pid := named_subject(wanted)) is not None:
        rows = engine.query(_SCRIPT.step("person", pid=number(pid)).sql)
        if rows:
            return rows[0][0]
    kind, _, rest = wanted.partition(":")
    typed = {rest, rest.lower()} if rest else set()
    rows = engine.query(_SCRIPT.step("holders", wanted=[text(v) for v in sorted({wanted, wanted.lower()} | typed)]).sql)
    exact = [row for row in rows if row[0] == kind and row[1] in typed]
    exact = exact or [row for row in rows if row[1] == wanted] or rows
    holders = {pid for _, _, pid in exact}
    if len(holders) == 1:
        return holders.pop()
    if holders:
        forms = ", ".join(f"{found}:{value} ({subject_name(pid)})" for found, value, pid in exact)
        raise CadenzaError(f"'{asked}' names {len(holders)} persons.", remedy=f"Say which: {forms}.")
    return None


class _Person:
    """One living person and the queries about it."""

    def __init__(self, engine: Engine, project: Project, pid: int, asked: str) -> None:
        self._engine = engine
        self._project = project
        self._pid = pid
        self._asked = asked
        self._absorbed = tuple(p for (p,) in self._rows("absorbed", pid=number(pid)))
        self._family = (pid, *self._absorbed)
        clock = self._rows("clock")
        self._now: datetime = max(clock[0][0], EPOCH) if clock else EPOCH

    def _rows(self, query: str, **parts: step.Part) -> list[tuple[Any, ...]]:
        return self._engine.query(_SCRIPT.step(query, **parts).sql)

    def _mine(self, query: str) -> list[tuple[Any, ...]]:
        return self._rows(query, pid=number(self._pid))

    def _ours(self, query: str) -> list[tuple[Any, ...]]:
        return self._rows(query, family=[number(p) for p in self._family])

    def explanation(self, journey: str | None) -> Explanation:
        versions = deployed(self._engine, self._project, _LATER)
        unanswered = why_not(self._engine, versions, self._pid, self._family, journey)
        chosen = column("journey", "v").eq(text(journey)) if journey is not None else exp.true()
        return Explanation(
            asked=self._asked, person=subject_name(self._pid), as_of=self._now, created_at=self._ours("born")[0][0],
            absorbed=tuple(f"p_{p}" for p in self._absorbed), identifiers=self._identifiers(), merges=self._merges(),
            records=self._mine("records")[0][0], traits=self._traits(), consents=self._consents(),
            suppressions=self._suppressions(), memberships=self._memberships(), journey=journey,
            passages=passages(self._engine, self._pid, chosen),
            refusals=refusals(self._engine, self._pid, chosen),
            not_qualified_n=unanswered.n, not_qualified=unanswered.latest,
            assignments=self._assignments(versions, journey),
        )  # fmt: skip

    def _identifiers(self) -> tuple[IdentifierView, ...]:
        return tuple(
            IdentifierView(type=kind, value=value, rule=rule, offset=offset, at=at)
            for kind, value, rule, offset, at in self._mine("identifiers")
        )

    def _merges(self) -> tuple[MergeView, ...]:
        return tuple(
            MergeView(at=at, absorbed=f"p_{loser}", survivor=f"p_{winner}", offset=offset, identifier=proof)
            for at, loser, winner, offset, proof in self._ours("merges")
        )

    def _consents(self) -> tuple[ConsentView, ...]:
        return tuple(
            ConsentView(purpose=purpose, channel=channel, granted=granted, in_force=in_force, at=at, offset=offset,
                        source=source, text_version=version)
            for purpose, channel, granted, in_force, at, offset, source, version in self._mine("consents")
        )  # fmt: skip

    def _suppressions(self) -> tuple[SuppressionView, ...]:
        return tuple(
            SuppressionView(
                channel=channel, reason=reason, at=at, offset=offset, until=until, ended_at=ended, said_by=by, ended_by=ended_by,
                in_force=ended is None and (until is None or until > self._now),
            )
            for channel, reason, at, offset, until, ended, by, ended_by in self._mine("suppressions")
        )  # fmt: skip

    def _memberships(self) -> tuple[MembershipView, ...]:
        return tuple(
            MembershipView(segment=segment, since=since, cause=cause, until=until, left_by=left_by)
            for segment, since, cause, until, left_by in self._ours("memberships")
            if not is_implied(segment)
        )

    def _assignments(self, versions: tuple[Deployed, ...], journey: str | None) -> tuple[AssignmentView, ...]:
        every = [*versions, Deployed(project=self._project, first=0, next_first=None, since=EPOCH, until=None)]
        holdouts = {held.holdout.name: held.holdout for d in every for held in holdouts_of(d.project)}
        programmes = {j.programme for j in self._project.journeys if j.name == journey}
        wanted = {
            held.holdout.name
            for held in holdouts_of(self._project)
            if held.level == "global" or held.name in (programmes if held.level == "programme" else {journey})
        }
        return tuple(
            AssignmentView(holdout=name, arm=arm, bucket=bucket, at=at, journey=by, in_force=in_force,
                           share_bp=holdouts[name].share_bp if name in holdouts else None)
            for name, arm, bucket, at, by, in_force in self._mine("assignments")
            if journey is None or name in wanted
        )  # fmt: skip

    # --- traits -----------------------------------------------------------------------------------

    def _traits(self) -> tuple[TraitView, ...]:
        definitions = self._project.traits
        trees = [Trait(t.name) for t in definitions]
        # The moment is just after the horizon, so that what was recorded at it is seen.
        now = self._now + timedelta(microseconds=1)
        moment = Moment(pid=self._pid, family=self._family, now=now, item=None)
        values = evaluate(self._engine, self._project, moment, trees)
        sent = self._sent()
        return tuple(
            TraitView(
                name=t.name, type=t.type, value=shown(value),
                definition=write(t.value) if t.value is not None else f"the last {t.from_}",
                sent=tuple(sent.get(t.name, ())), counted=self._counted(t),
            )
            for t, value in zip(definitions, values, strict=True)
        )  # fmt: skip

    def _sent(self) -> dict[str, list[SourceView]]:
        found: dict[str, list[SourceView]] = {}
        for trait, value, at, cause, offset, kind, name, source in self._mine("sent_values"):
            what = "set by a journey" if cause == "journey" else name or kind or "call"
            found.setdefault(trait, []).append(SourceView(what=what, at=at, offset=offset, value=value, source=source))
        return found

    def _counted(self, trait: TraitDefinition) -> tuple[CountedView, ...]:
        if trait.value is None:
            return ()
        schema = schema_of(self._project, property_types(self._project))
        tree = expand(trait.value, {**schema.values, **schema.live})
        return tuple(self._events_of(node) for node in dict.fromkeys(walk(tree)) if isinstance(node, Agg))

    def _events_of(self, agg: Agg) -> CountedView:
        since = self._now - timedelta(seconds=agg.within_s) if agg.within_s is not None else datetime(1, 1, 1)
        rows = self._rows(
            "counted", pid=number(self._pid), called=text(agg.event), since=step.instant(since.isoformat(" ")),
            condition=measure.condition(self._project, agg.where),
            value=column(f"p_{agg.prop}", "e") if agg.prop else exp.Null(),
        )  # fmt: skip
        events = tuple(
            SourceView(what=name, at=at, offset=offset, value=value, source=source)
            for _, offset, name, at, source, value in rows
        )
        return CountedView(text=write(agg), events=rows[0][0] if rows else 0, shown=events)
