"""Runs journey tests: one engine for as many tests as may share a log, then each test is judged alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from fnmatch import fnmatchcase

import msgspec

from cadenza.clock import Clock, VirtualClock, from_micros
from cadenza.definitions.kinds_testing import JourneyTest
from cadenza.definitions.load import Loaded
from cadenza.errors import CadenzaError, DefinitionError, near_miss
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Cancellation, Head, OutboxMessage, Record
from cadenza.runtime.deploy import deploy_body
from cadenza.runtime.testing.coverage import Key, covered, reached
from cadenza.runtime.testing.judge import Judge
from cadenza.runtime.testing.observed import observe, open_call, open_task
from cadenza.runtime.testing.script import Refusal, Script, end_of, grouped, replied, write_script
from cadenza.runtime.testing.views import CaseResult, Failure, SuiteResult, place
from cadenza.runtime.tick import Ticker

Scratch = Callable[[], AbstractContextManager[Engine]]


class JourneyTests:
    """The tests of one project. ``loaded`` reads the folder; ``scratch`` opens an engine with an empty store, in memory."""

    def __init__(self, loaded: Callable[[], Loaded], scratch: Scratch, clock: Clock) -> None:
        self._loaded, self._scratch, self._clock = loaded, scratch, clock

    def run(self, names: Sequence[str] = (), journey: str | None = None) -> SuiteResult:
        """Run the tests whose names fit one of the patterns (``win_back*``; none: all), of one journey where it is
        named. Raises DefinitionError, and CadenzaError where there is no such test, or none at all."""
        began = self._clock.monotonic()
        loaded = self._loaded()
        if loaded.test_problems:
            raise DefinitionError(loaded.test_problems)
        chosen = _chosen(loaded, names, journey)
        done: dict[str, CaseResult] = {}
        found: dict[str, set[Key]] = {}
        groups = grouped(chosen, loaded.project)
        for group in groups:
            self._play(loaded, group, done, found)
        every = [j.name for j in loaded.project.journeys]
        about = every if not names and journey is None else [j for j in every if j in {t.journey for t in chosen}]
        return SuiteResult(
            tests=tuple(done[test.name] for test in chosen), coverage=covered(loaded.project, about, found, loaded.places),
            engines=len(groups), seconds=self._clock.monotonic() - began,
        )  # fmt: skip

    def _play(
        self, loaded: Loaded, tests: Sequence[JourneyTest], done: dict[str, CaseResult], found: dict[str, set[Key]]
    ) -> None:
        """Decide everything that happens in these tests, then judge each."""
        script = write_script(tests, loaded.project, 2)
        with self._scratch() as engine:
            script = msgspec.structs.replace(script, refused=script.refused + _decide(engine, loaded, script))
            observed = observe(engine, [seat.offset for seat in script.seats.values()])
            for journey, keys in reached(observed).items():
                found.setdefault(journey, set()).update(keys)
            for test in tests:
                people = {
                    seat.actor: observed.people[seat.offset]
                    for (name, _), seat in script.seats.items()
                    if name == test.name
                }
                judge = Judge(engine, loaded.project, test, people, observed, end_of(test, loaded.project))
                done[test.name] = _tested(loaded, test, judge, script)


def _chosen(loaded: Loaded, names: Sequence[str], journey: str | None) -> list[JourneyTest]:
    tests = list(loaded.tests)
    if not tests:
        raise CadenzaError(
            "the project has no tests.", remedy="Write one in its folder tests/; see docs/howto/test-a-journey.md."
        )
    known = [j.name for j in loaded.project.journeys]
    if journey is not None and journey not in known:
        raise CadenzaError(f"there is no journey '{journey}'.", remedy=near_miss(journey, known))
    for pattern in names:
        if not any(fnmatchcase(test.name, pattern) for test in tests):
            raise CadenzaError(f"no test is called '{pattern}'.", remedy=near_miss(pattern, [t.name for t in tests]))
    chosen = [t for t in tests if not names or any(fnmatchcase(t.name, pattern) for pattern in names)]
    chosen = [t for t in chosen if journey in (None, t.journey)]
    if not chosen:
        raise CadenzaError(f"no test is about the journey '{journey}'.", remedy="A test says 'journey: NAME'.")
    return chosen


def _decide(engine: Engine, loaded: Loaded, script: Script) -> tuple[Refusal, ...]:
    """The tick, over the script's log, until the last test has ended. What names a task waits until the run has opened
    it; what names none is told."""
    first = min((record.recorded_at for record in script.records), default=1) - 1_000_000
    deployed = Record(
        offset=1, recorded_at=first, writer="main", kind="deploy", source="test", message_id="deploy", imported=False,
        body=deploy_body(loaded.project),
    )  # fmt: skip
    log, lost = _ScriptLog(deployed), []
    ticker = Ticker(engine, log, _Nowhere(), VirtualClock())  # type: ignore[arg-type]
    done = 0
    for held in script.held:
        record = script.records[held.index]
        log.records += script.records[done : held.index]
        done = held.index + 1
        ticker.run(from_micros(record.recorded_at - 1))
        handed = held.reply.outcome is not None
        found = (open_task if handed else open_call)(engine, script.seats[held.test, held.actor].offset)
        if found is None:
            what = f"The person has no open {'task' if handed else 'call'} at that time."
            lost.append(Refusal(test=held.test, path=held.path, detail=what))
        else:
            log.records.append(replied(record, *found, held.reply))
    log.records += script.records[done:]
    ticker.run(script.until)
    return tuple(lost)


def _tested(loaded: Loaded, test: JourneyTest, judge: Judge, script: Script) -> CaseResult:
    failures = []
    for refused in script.refused:
        if refused.test == test.name:
            file, line = place(_at(loaded, test, refused.path))
            failures.append(
                Failure(
                    expected="something that can be taken into the log",
                    happened=(refused.detail,),
                    file=file,
                    line=line,
                )
            )
    for number, wanted in enumerate(test.expect):
        wrong = judge.against(wanted)
        if wrong is not None:
            expected, happened, why = wrong
            file, line = place(_at(loaded, test, f"expect.{number}"))
            failures.append(Failure(expected=expected, happened=happened, why=why, file=file, line=line))
    file, line = place(loaded.locations.get(("tests", test.name)))
    return CaseResult(
        name=test.name,
        journey=test.journey,
        expectations=len(test.expect),
        failures=tuple(failures),
        file=file,
        line=line,
    )


def _at(loaded: Loaded, test: JourneyTest, path: str):
    return loaded.places.get(("tests", test.name, path)) or loaded.locations.get(("tests", test.name))


class _ScriptLog:
    """A log in memory, which grows between ticks."""

    def __init__(self, first: Record) -> None:
        self.records = [first]

    def read(self, after: int, limit: int) -> list[Record]:
        """Records with offset > ``after``, in order."""
        return [record for record in self.records if record.offset > after][:limit]

    def head(self) -> Head:
        """The last record."""
        return Head(self.records[-1].offset, self.records[-1].recorded_at)


class _Nowhere:
    """An outbox that nothing leaves: what is decided stands in the store."""

    def publish(self, messages: Sequence[OutboxMessage], cancellations: Sequence[Cancellation], through: int) -> None:
        """Take messages and do nothing with them."""
