"""A wave: for every lane at once, the next item through all stages. What each statement needs is found out just
before it is generated, so a wave holds only the SQL that its items call for."""

from __future__ import annotations

from datetime import datetime

import msgspec

from cadenza.definitions.builtin import CALL_EVENTS, TASK_EVENTS
from cadenza.definitions.expression import Trait
from cadenza.ports.engine import Engine
from cadenza.runtime.deploy import changed_segments, run
from cadenza.sql import jurisdictions
from cadenza.sql.expression import Compiler, Needs
from cadenza.sql.program import Program
from cadenza.stages import calls, effects, events, governance, identity, journeys, profiles, segments, tasks

CONSENT_EVENTS = frozenset({"Consent Updated", "Unsubscribed"})
SUPPRESSION_EVENTS = frozenset({"Email Bounced", "Email Marked as Spam", "Suppressed", "Unsuppressed"})


class _Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """What the wave's records are."""

    events: frozenset[str] = frozenset()
    traits: bool = False
    fresh: bool = False
    known: bool = True
    merged: bool = False
    answered: bool = False
    """Whether services answered calls."""


class _Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What the wave's journeys may touch: stops where passages rest and those that are due, journeys that may get
    candidates, changes of segments, names of events. Widened where they are many, except what is due or changed."""

    frontier: journeys.Frontier
    due: journeys.Frontier
    candidates: frozenset[int]
    changed: frozenset[tuple[str, bool]]
    names: frozenset[str]
    handed: journeys.Frontier
    """Hand-offs at which passages rest; ``worked``: somebody said something of a task; ``merged``: somebody merged;
    ``sends``: some passage rests at a send."""
    worked: bool
    merged: bool
    sends: bool
    answered: bool
    """Services answered calls; ``called``: some passage is due at a call."""
    called: bool


class Wave:
    """Runs waves of one tick."""

    def __init__(
        self, engine: Engine, program: Program, controls: journeys.Controls, *, live: bool, outcomes: bool, queued: bool,
        timed: bool = True,
    ) -> None:  # fmt: skip
        """``live``: messages of now are delivered; ``outcomes``: delivery's reports, or what people said of tasks or persons,
        are among the records; ``queued``: there are records; ``timed``: some suppression ends by itself."""
        self._engine, self._program, self._live, self._outcomes = engine, program, live, outcomes
        self._controls, self._queued, self.timed = controls, queued, timed
        self._nothing_live = False
        self._windowed = journeys.windowed_journeys(program)
        self.sent = self.cancelled = False

    def run(self, number: int, *, records: bool, timers: bool, aliases: bool, alone: bool) -> datetime | None:
        """One wave; returns its latest instant where that was asked. ``records``, ``timers``: which there may be;
        ``alone``: one record is all there is."""
        engine = self._engine
        n_records, n_timers, at = 1, 0, None
        if not alone:
            run(engine, [events.next_items(records=records, timers=timers, rechecked=bool(self._windowed))])
            n_records, n_timers, at = engine.query(
                "SELECT count(record_at), count(timer_at), max(coalesce(record_at, timer_at)) FROM w_next"
            )[0]
        engine.expect(n_records + n_timers)
        engine.execute(f"SET VARIABLE wave = {number}::BIGINT")
        arrived = self._records(aliases, alone) if n_records else _Arrived()
        checks = self._timers() if n_timers else False
        run(
            engine,
            [
                identity.persons(n_records > 0, n_timers > 0),
                journeys.passages(tuple(journeys.kept_columns(self._program))),
            ],
        )
        self._decide(arrived, n_records > 0, n_timers > 0, checks)
        return at

    # --- records and identity ----------------------------------------------------------------------

    def _records(self, aliases: bool, alone: bool) -> _Arrived:
        engine, program = self._engine, self._program
        run(engine, events.wave_records(alone))
        run(engine, identity.resolve(program, self._outcomes, aliases))
        names, traits, fresh, brought, merged, lost, identified = engine.query(identity.known())[0]
        run(engine, identity.attach(fresh > 0, brought > 0, lost > 0))
        if merged:
            run(engine, identity.merge(program))
            if program.hands:
                run(engine, tasks.adrift())
        run(engine, events.append(program, self._outcomes))
        if set(names) & TASK_EVENTS.keys():
            run(engine, tasks.said())
        answered = program.calls and bool(set(names) & CALL_EVENTS.keys())
        if answered:
            run(engine, calls.answered(program, events.typed))
        arrived = _Arrived(events=frozenset(names), traits=bool(traits), fresh=fresh > 0, known=identified > fresh,
                           merged=merged > 0, answered=answered)  # fmt: skip
        run(engine, profiles.take_in(
            program, events.path_index(program), events.typed, traits=arrived.traits and bool(program.schema.from_traits),
            consents=bool(arrived.events & CONSENT_EVENTS), suppressions=bool(arrived.events & SUPPRESSION_EVENTS),
            lifted="Unsuppressed" in arrived.events,
        ))  # fmt: skip
        if not self.timed and "Suppressed" in arrived.events:
            self.timed = engine.query(profiles.timed())[0][0]
        return arrived

    def _timers(self) -> bool:
        run(self._engine, [events.wave_timers(bool(self._windowed))])
        return bool(self._engine.query("SELECT bool_or(checks) FROM w_timer")[0][0])

    # --- profiles, segments, journeys ----------------------------------------------------------------

    def _decide(self, arrived: _Arrived, records: bool, timers: bool, checks: bool) -> None:
        engine, program = self._engine, self._program
        rows = engine.query(
            "SELECT jid, step, bool_or(wake_at <= now) FROM w_enr GROUP BY jid, step ORDER BY jid, step"
        )
        frontier = frozenset((jid, step) for jid, step, _ in rows)
        due = frozenset((jid, step) for jid, step, is_due in rows if is_due)
        updates = any(self._kind(stop) == "update" for stop in due)
        if updates:
            run(engine, [profiles.updates()])
        set_ = updates or arrived.answered
        scheduled = bool(program.scheduled) and timers and (checks or set_)
        shape = self._shape(journeys.widened(program, frontier), arrived, records or checks, set_, scheduled)
        run(engine, profiles.row(program, shape, events.typed))
        changed = changed_segments(engine, program, scheduled) if shape.segments else frozenset()
        run(engine, segments.memberships(program, changed))
        run(engine, profiles.write_back(program, shape, arrived.fresh, arrived.known or timers, bool(changed)))
        if self._live and (shape.consents or arrived.events & SUPPRESSION_EVENTS) and program.templates:
            run(engine, [effects.cancel_withdrawn(program)])
            self.cancelled = True
        if self._live and (shape.consents or arrived.events & SUPPRESSION_EVENTS) and program.consented_calls:
            run(engine, [calls.cancel_withdrawn(program)])
            self.cancelled = True
        candidates = journeys.triggered(program, arrived.events, changed) | journeys.asked(program, due)
        if frontier or candidates:
            names = journeys.widened_events(program, arrived.events)
            reach = _Reach(
                frontier=journeys.widened(program, frontier), due=due, candidates=journeys.widened_candidates(program, candidates),
                changed=changed, names=names, handed=frozenset(s for s in frontier if self._kind(s) == "hand_off"),
                worked=program.hands and not arrived.events.isdisjoint(TASK_EVENTS), merged=arrived.merged,
                sends=any(self._kind(s) == "send" for s in frontier),
                answered=arrived.answered and any(self._kind(s) == "call" for s in frontier), called=any(self._kind(s) == "call" for s in due),
            )  # fmt: skip
            settled = self._journeys(reach, shape)
            run(engine, journeys.remembering(program, reach.frontier, reach.candidates, reach.names, settled=settled))
            if not self._windowed.isdisjoint(candidates | {jid for jid, _ in frontier}):
                run(engine, [journeys.recheck(program, journeys.rechecked(program, reach.frontier, reach.candidates))])

    def _kind(self, stop: tuple[int, int]) -> str:
        jid, step = stop
        return self._program.versions[jid].graph.stops[step].kind

    def _shape(self, frontier: journeys.Frontier, arrived: _Arrived, checks: bool, updates: bool,
               scheduled: bool) -> profiles.Row:  # fmt: skip
        evaluate = checks or updates
        key = ("wave.shape", frontier, arrived, evaluate, updates, self.timed, scheduled)
        return self._program.cached(key, lambda: self._make_shape(frontier, arrived, evaluate, updates, scheduled))

    def _make_shape(
        self, frontier: journeys.Frontier, arrived: _Arrived, evaluate: bool, updates: bool, scheduled: bool
    ) -> profiles.Row:
        program = self._program
        changes = frozenset(segments.possible(program, scheduled)) if evaluate else frozenset()
        candidates = journeys.widened_candidates(
            program, journeys.triggered(program, arrived.events, changes) | journeys.asked(program, frontier)
        )
        needs = Needs()
        compiler = Compiler(program.schema, needs, journeys.widened_events(program, arrived.events))
        for tree in journeys.expressions(program, frontier, candidates):
            compiler.condition(tree)
        for tree in journeys.local_traits(program, frontier, candidates):
            compiler.condition(tree)
        for name in {
            n for jid in candidates | {j for j, _ in frontier} for n in journeys.read_at_entry(program).get(jid, ())
        }:
            compiler.condition(Trait(name))
        if self._windowed:
            journeys.boundaries(program, journeys.rechecked(program, frontier, candidates), compiler)
        sends = journeys.reachable_sends(program, frontier, candidates)
        if sends:
            for rule in program.project.policy.suppress:
                compiler.condition(rule.when)
            for trait in sorted(effects.template_traits(program, sends)):
                compiler.condition(Trait(trait))
            for tree in (*governance.values(program, sends), *governance.responses(program, sends)):
                compiler.condition(tree)
            needs.traits |= self._contact_traits(sends)
        policy = program.project.policy
        if jurisdictions.opts_out(policy) and policy.jurisdiction_trait:
            needs.traits.add(policy.jurisdiction_trait)  # A wave of consent asks it of messages that were decided.
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
            suppressions=arrived.merged or bool(arrived.events & SUPPRESSION_EVENTS)
            or (self.timed and bool(sends or program.consented_calls or arrived.events & CONSENT_EVENTS)),
            events=bool(arrived.events),
            scheduled=scheduled,
        )  # fmt: skip

    def _contact_traits(self, sends: effects.Sends) -> set[str]:
        project = self._program.project
        names = {t.name for t in project.traits}
        stops = (self._program.versions[j].graph.stops[s] for j, s in sends)
        channels = {self._program.templates[name].channel for stop in stops for name in stop.candidates}
        own = {project.policy.time_zone_trait, project.policy.jurisdiction_trait}
        return ({project.destination_of(c).address_trait for c in channels} | own) & names

    def _journeys(self, reach: _Reach, shape: profiles.Row) -> bool:
        """Exits, entries, moves and sends; whether any passage rests elsewhere than before."""
        engine, program, frontier = self._engine, self._program, reach.frontier
        if frontier:
            run(engine, journeys.dated(program, frontier, reach.names))
            run(engine, journeys.exits(program, frontier, reach.names))
        elif not self._nothing_live:
            run(engine, journeys.nothing_live())
        self._nothing_live = not frontier
        starts = self._enter(reach) if reach.candidates else frozenset()
        if not frontier and not starts:
            return False
        run(engine, journeys.ends(bool(starts), bool(frontier), journeys.leavers(program, frontier)))
        run(engine, journeys.goers(program, frontier, bool(starts), reach.names))
        late = self._work_off(reach)
        if frontier:
            standing = self._controls.standing(program, frontier)
            run(engine, journeys.hold_back(standing, self._controls.taken_up))
            run(engine, journeys.leave(program, frontier))
        ways = engine.query(journeys.ways())
        ended, moved = any(way is None for _, _, way in ways), frozenset(w for w in ways if w[2] is not None)
        if ended and self._live:
            run(engine, [effects.cancel_ended()])
            self.cancelled = True
        if program.calls and self._live:
            self._call_off(ended, any(way == "unanswered" for _, _, way in moved))
        withdrawn = any(way is None and (jid, step) in reach.handed for jid, step, way in ways)
        if withdrawn:
            run(engine, tasks.left())
        released = program.holds and reach.sends and (withdrawn or late or reach.worked or reach.merged)
        waiting = any(self._kind(stop) == "send" for stop in reach.due)
        if not ended and not moved and not waiting and not released:
            return False
        taken = journeys.widened_ways(program, moved, frontier, reach.candidates)
        run(engine, [journeys.moves(program, taken, reach.names), *journeys.rests(program, taken, reach.names)])
        self._hand_over(journeys.hand_offs(program, moved) if program.hands else frozenset(), reach, after=False)
        self._put_calls(moved, reach, after=False)
        sends = self._send(waiting, released, moved, reach, shape)
        if not (ended or moved or sends):
            return False
        run(engine, journeys.settle(
            live=bool(frontier), entrants=bool(starts), sends=sends, ended=ended, moved=bool(moved),
            left=journeys.left(program, moved),
        ))  # fmt: skip
        run(engine, journeys.keep_at_entry(program, starts))
        return True

    # --- tasks -------------------------------------------------------------------------------------

    def _work_off(self, reach: _Reach) -> bool:
        """Passages go on whose task was completed, or was not in time, or whose call is over; whether some tasks were late."""
        late = bool(reach.handed & reach.due)
        if reach.handed and reach.worked:
            run(self._engine, tasks.completed())
        if late:
            run(self._engine, tasks.overdue())
        if reach.answered or reach.called:
            run(self._engine, calls.go_on(reach.answered, reach.called))
        return late

    def _hand_over(self, stops: journeys.Frontier, reach: _Reach, after: bool) -> None:
        """Open the tasks of those who come to these hand-offs."""
        if stops:
            owners = identity.owners(self._outcomes) if self._queued else None
            run(self._engine, [tasks.opened(self._program, stops, reach.names, owners, after)])

    # --- calls -------------------------------------------------------------------------------------

    def _call_off(self, ended: bool, unanswered: bool) -> None:
        """Withdraw the calls of passages that ended or wait no longer."""
        for reason, some in (("ended", ended), ("unanswered", unanswered)):
            if some:
                run(self._engine, [calls.cancel(reason)])
                self.cancelled = True

    def _put_calls(self, taken: journeys.Ways, reach: _Reach, after: bool) -> None:
        """Put the questions of those who come to a call by one of these ways."""
        stops = journeys.calls(self._program, taken) if self._program.calls else frozenset()
        if stops:
            run(self._engine, calls.put(self._program, stops, reach.names, self._kills(), after))
            self.sent = True

    def _kills(self) -> calls.Kills:
        return tuple((kill.journey, kill.channel) for kill in self._controls.dropping())

    def _enter(self, reach: _Reach) -> frozenset[int]:
        engine = self._engine
        run(engine, [journeys.candidates(self._program, reach.candidates, reach.changed, reach.names)])
        if asked := journeys.asked(self._program, reach.due):
            run(engine, [journeys.asking(self._program, asked, reach.names)])
        unqualified, others = engine.query(
            "SELECT count(*) FILTER (WHERE late OR NOT coalesce(qualifies, FALSE)), "
            "count(*) FILTER (WHERE NOT late AND (qualifies OR (keyed AND key IS NULL))) FROM w_cand WHERE fires"
        )[0]
        if unqualified:
            run(engine, [journeys.count_unqualified()])
        if not others:
            return frozenset()
        goals = journeys.asks_for_goals(self._program, reach.candidates)
        grouped = journeys.programmes(self._program, reach.candidates)
        run(engine, journeys.judge(self._controls.refusing(self._program, reach.candidates), goals, grouped))
        rows = engine.query("SELECT DISTINCT verdict, jid FROM w_entry")
        held = any(self._program.versions[jid].journey.holdout for _, jid in rows)
        run(engine, journeys.record_entries(frozenset(verdict for verdict, _ in rows), held, bool(grouped)))
        return frozenset(jid for verdict, jid in rows if verdict == "enter")

    # --- governance and effects --------------------------------------------------------------------

    def _send(self, waiting: bool, released: bool, moved: journeys.Ways, reach: _Reach, shape: profiles.Row) -> bool:
        engine, program = self._engine, self._program
        arriving = journeys.may_send(program, moved)
        if not waiting and not arriving and not released:
            return False
        run(engine, governance.due(moves=arriving, live=waiting or released))
        held = program.holds and tasks.holding(program, reach.handed | journeys.hand_offs(program, moved))
        if held or released:
            run(engine, tasks.held_persons())
        if released:
            run(engine, tasks.released())
        sends = frozenset(engine.query("SELECT DISTINCT jid, step FROM w_due"))
        if not sends:
            return False
        if held:
            run(engine, tasks.hold_back(program))
        asked = governance.suppress_journeys(program.project.policy)
        live_columns = profiles.journey_columns(program, asked, "l") if asked else []
        columns = tuple(f"j_{name}" for name in sorted(asked & shape.journeys))
        run(engine, governance.verdicts(program, sends, reach.names, live_columns, columns, self._kills()))
        if held:
            run(engine, tasks.held_verdicts())
        run(engine, effects.messages(program, sends))
        wide = journeys.widened_sends(program, sends, reach.frontier, reach.candidates)
        run(engine, journeys.after_sends(program, wide, reach.names))
        on = frozenset((jid, step, "verdict") for jid, step in wide)
        run(engine, journeys.rests(program, on, reach.names, after=True))
        if program.hands:
            gone_on = frozenset((jid, step, "verdict") for jid, step in sends)
            self._hand_over(journeys.hand_offs(program, gone_on), reach, after=True)
        self._put_calls(on, reach, after=True)
        self.sent = True
        return True
