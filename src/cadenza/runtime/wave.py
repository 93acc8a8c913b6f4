"""A wave: for every lane at once, the next item through all stages. What each statement needs is found out just
before it is generated, so a wave holds only the SQL that its items call for."""

from __future__ import annotations

from datetime import datetime

import msgspec

from cadenza.ports.engine import Engine
from cadenza.runtime.deploy import changed_segments, run
from cadenza.sql.expression import Compiler, Needs
from cadenza.sql.program import Program
from cadenza.stages import effects, events, governance, identity, journeys, profiles, segments

CONSENT_EVENTS = frozenset({"Consent Updated", "Unsubscribed"})
SUPPRESSION_EVENTS = frozenset({"Email Bounced", "Email Marked as Spam", "Suppressed"})


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A wave that ran: the latest instant in it and the records still queued."""

    at: datetime
    waiting: int


class _Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """What the wave's records are."""

    events: frozenset[str] = frozenset()
    traits: bool = False
    outcomes: bool = False
    aliases: bool = False
    fresh: bool = False
    known: bool = True
    merged: bool = False


class Wave:
    """Runs waves of one tick."""

    def __init__(self, engine: Engine, program: Program, *, live: bool) -> None:
        self._engine, self._program, self._live = engine, program, live
        self._nothing_live = False

    def run(self, number: int, *, records: bool) -> Found | None:
        """One wave; None when no lane has an item due."""
        engine = self._engine
        run(engine, [events.next_items(records=records, timers=True)])
        n_records, n_timers, at, waiting = engine.query(
            "SELECT count(record_at), count(timer_at), max(coalesce(record_at, timer_at)), "
            + ("(SELECT count(*) FROM t_item) " if records else "0 ") + "FROM w_next"
        )[0]  # fmt: skip
        if not n_records and not n_timers:
            return None
        engine.execute(f"SET VARIABLE wave = {number}::BIGINT")
        arrived = self._records() if n_records else _Arrived()
        checks = self._timers() if n_timers else False
        run(engine, [identity.persons(n_records > 0, n_timers > 0), journeys.passages()])
        self._decide(arrived, n_records > 0, n_timers > 0, checks)
        return Found(at=at, waiting=waiting - n_records)

    # --- records and identity ----------------------------------------------------------------------

    def _records(self) -> _Arrived:
        engine, program = self._engine, self._program
        run(engine, events.wave_records())
        rows = engine.query(
            "SELECT name, bool_or(has_traits), bool_or(kind = 'outcome'), bool_or(type = 'alias') "
            "FROM w_rec GROUP BY name ORDER BY name"
        )
        outcomes, aliases = any(r[2] for r in rows), any(r[3] for r in rows)
        run(engine, identity.resolve(program, outcomes, aliases))
        fresh, brought, merged, lost, identified = engine.query(
            "SELECT count(*) FILTER (WHERE owners = 0), coalesce(sum(brought), 0), count(*) FILTER (WHERE owners > 1), "
            "(SELECT count(*) FROM w_rec) - count(*), count(*) FROM w_res"
        )[0]
        run(engine, identity.attach(fresh > 0, brought > 0, lost > 0))
        if merged:
            run(engine, identity.merge(program))
        run(engine, events.append(program, outcomes))
        names = frozenset(r[0] for r in rows if r[0] is not None)
        arrived = _Arrived(events=names, traits=any(r[1] for r in rows), outcomes=outcomes, aliases=aliases,
                           fresh=fresh > 0, known=identified > fresh, merged=merged > 0)  # fmt: skip
        run(engine, profiles.take_in(
            program, traits=arrived.traits and bool(program.schema.from_traits),
            consents=bool(names & CONSENT_EVENTS), suppressions=bool(names & SUPPRESSION_EVENTS),
        ))  # fmt: skip
        return arrived

    def _timers(self) -> bool:
        run(self._engine, [events.wave_timers()])
        return bool(self._engine.query("SELECT bool_or(checks) FROM w_timer")[0][0])

    # --- profiles, segments, journeys ----------------------------------------------------------------

    def _decide(self, arrived: _Arrived, records: bool, timers: bool, checks: bool) -> None:
        engine, program = self._engine, self._program
        rows = engine.query("SELECT jid, step, bool_or(wake_at <= now) FROM w_enr GROUP BY jid, step ORDER BY jid, step")
        frontier = frozenset((jid, step) for jid, step, _ in rows)
        updates = any(due and program.versions[j].graph.stops[s].kind == "update" for j, s, due in rows)
        if updates:
            run(engine, [profiles.updates()])
        shape = self._shape(frontier, arrived, records, checks, updates)
        run(engine, profiles.row(program, shape, events.typed))
        changed = changed_segments(engine, program) if shape.segments else frozenset()
        run(engine, segments.memberships(program, changed))
        run(engine, profiles.write_back(program, shape, arrived.fresh, arrived.known or timers, bool(changed)))
        if self._live and (shape.consents or shape.suppressions) and program.templates:
            run(engine, [effects.cancel_withdrawn(program)])
        candidates = journeys.triggered(program, arrived.events, changed)
        if frontier or candidates:
            self._journeys(frontier, candidates, changed, arrived.events, shape)

    def _shape(self, frontier: journeys.Frontier, arrived: _Arrived, records: bool, checks: bool,
               updates: bool) -> profiles.Row:  # fmt: skip
        evaluate = records or checks or updates
        key = ("wave.shape", frontier, arrived, evaluate, updates)
        return self._program.cached(key, lambda: self._make_shape(frontier, arrived, evaluate, updates))

    def _make_shape(self, frontier: journeys.Frontier, arrived: _Arrived, evaluate: bool, updates: bool) -> profiles.Row:
        program = self._program
        changes = frozenset((s, e) for s in program.schema.segments for e in (True, False)) if evaluate else frozenset()
        candidates = journeys.triggered(program, arrived.events, changes)
        needs = Needs()
        compiler = Compiler(program.schema, needs, arrived.events)
        for tree in journeys.expressions(program, frontier, candidates):
            compiler.condition(tree)
        sends = self._sends(frontier, candidates)
        if sends:
            for rule in program.project.policy.suppress:
                compiler.condition(rule.when)
            needs.traits |= effects.template_traits(program, sends) | self._contact_traits(sends)
        stored = profiles.stored_terms(program)
        recompute = arrived.fresh or arrived.merged or updates or bool({a.event for a in stored} & arrived.events)
        terms = frozenset(needs.terms.values())
        if recompute:
            terms |= stored
        if evaluate:
            terms |= profiles.segment_terms(program) if recompute else profiles.segment_only_terms(program)
            needs.traits |= profiles.segment_traits(program)
            needs.journeys |= profiles.segment_journeys(program)
        return profiles.Row(
            traits=frozenset(needs.traits), terms=terms, properties=frozenset(needs.properties),
            journeys=frozenset(needs.journeys), recompute=recompute, segments=evaluate and bool(program.schema.segments),
            sent=arrived.traits or arrived.merged or updates,
            consents=arrived.merged or bool(arrived.events & CONSENT_EVENTS),
            suppressions=arrived.merged or bool(arrived.events & SUPPRESSION_EVENTS), events=bool(arrived.events),
        )  # fmt: skip

    def _sends(self, frontier: journeys.Frontier, candidates: frozenset[int]) -> effects.Sends:
        """Sends that the wave may reach."""
        program = self._program
        found = {(j, s) for j, s in frontier if program.versions[j].graph.stops[s].kind == "send"}
        for version, hop in journeys.reachable_hops(program, frontier, candidates):
            if hop.to_step >= 0 and version.graph.stops[hop.to_step].kind == "send":
                found.add((version.jid, hop.to_step))
        return frozenset(found)

    def _contact_traits(self, sends: effects.Sends) -> set[str]:
        project = self._program.project
        names = {t.name for t in project.traits}
        channels = {self._program.templates[self._program.versions[j].graph.stops[s].template].channel for j, s in sends}
        return ({project.destination_of(c).address_trait for c in channels} | {project.policy.time_zone_trait}) & names

    def _journeys(self, frontier: journeys.Frontier, candidates: frozenset[int],
                  changed: frozenset[tuple[str, bool]], names: frozenset[str], shape: profiles.Row) -> None:  # fmt: skip
        engine, program = self._engine, self._program
        if frontier:
            run(engine, [journeys.exits(program, frontier, names)])
        elif not self._nothing_live:
            run(engine, journeys.nothing_live())
        self._nothing_live = not frontier
        starts = self._enter(candidates, changed, names) if candidates else frozenset()
        if not frontier and not starts:
            return
        run(engine, journeys.ends(bool(starts), bool(frontier)))
        if self._live and frontier:
            run(engine, [effects.cancel_ended()])
        run(engine, journeys.moves(program, frontier, starts, names))
        sends = self._send(frontier, names, shape)
        run(engine, journeys.settle(live=bool(frontier), entrants=bool(starts), sends=sends))

    def _enter(self, candidates: frozenset[int], changed: frozenset[tuple[str, bool]],
               names: frozenset[str]) -> frozenset[int]:  # fmt: skip
        engine = self._engine
        run(engine, [journeys.candidates(self._program, candidates, changed, names)])
        unqualified, others = engine.query(
            "SELECT count(*) FILTER (WHERE NOT coalesce(qualifies, FALSE)), "
            "count(*) FILTER (WHERE qualifies OR (keyed AND key IS NULL)) FROM w_cand WHERE fires"
        )[0]
        if unqualified:
            run(engine, [journeys.count_unqualified()])
        if not others:
            return frozenset()
        run(engine, journeys.judge())
        rows = engine.query("SELECT DISTINCT verdict, jid FROM w_entry")
        held = any(self._program.versions[jid].journey.holdout for _, jid in rows)
        run(engine, journeys.record_entries(frozenset(verdict for verdict, _ in rows), held))
        return frozenset(jid for verdict, jid in rows if verdict == "enter")

    # --- governance and effects --------------------------------------------------------------------

    def _send(self, frontier: journeys.Frontier, names: frozenset[str], shape: profiles.Row) -> bool:
        engine, program = self._engine, self._program
        waiting = any(program.versions[j].graph.stops[s].kind == "send" for j, s in frontier)
        run(engine, governance.due(moves=True, live=waiting))
        sends = frozenset(engine.query("SELECT DISTINCT jid, step FROM w_due"))
        if not sends:
            return False
        asked = governance.suppress_journeys(program.project.policy)
        live_columns = profiles.journey_columns(program, asked, "l") if asked else []
        columns = tuple(f"j_{name}" for name in sorted(asked & shape.journeys))
        run(engine, governance.verdicts(program, sends, names, live_columns, columns))
        run(engine, effects.messages(program, sends))
        run(engine, journeys.after_sends(program, sends, names))
        return True
