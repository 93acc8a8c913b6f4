"""A draft over the real history, with every rule in force, by the same tick, beside what really ran.

Both sides are stores: the draft's is made in a scratch file by the tick itself; what really ran is read from the real
store, or made anew from the log where that store cannot be read or stands elsewhere (same log, same decisions). Nothing is
appended to the log and nothing is published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime

import msgspec

from cadenza.clock import from_micros, to_micros
from cadenza.definitions.project import Project, encode
from cadenza.errors import CadenzaError, StoreInUse, near_miss
from cadenza.ids import fingerprint
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Log
from cadenza.runtime.status import current_project
from cadenza.runtime.tick import Progress
from cadenza.runtime.trials.changes import Changes, changes
from cadenza.runtime.trials.figures import Side, side
from cadenza.runtime.trials.past import Replayed, end_of, just_after, last_before, replay, replay_under

Scratch = Callable[[], AbstractContextManager[Engine]]
Progressing = Callable[[str, Progress], None]
"""Called with what is being made and how far it is."""
RAN = "what really ran"


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """What a draft would have done from ``since`` to ``until`` (both naive UTC, inclusive), beside ``against``.

    ``since``: None in the request means the beginning of the history. ``draft``, ``against``: figures of both sides;
    ``changes``: from ``against`` to the draft.
    """

    since: datetime
    until: datetime
    draft_fingerprint: str
    compared_with: str
    made: Replayed
    draft: Side
    against: Side
    changes: Changes


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to try. ``against``: None is what really ran. ``delivered``: the draft's messages count as handed over when they
    are decided (see ``past.replay_under``)."""

    draft: Project
    since: datetime | None = None
    until: datetime | None = None
    against: Project | None = None
    journey: str | None = None
    delivered: bool = True


def backtest(
    wanted: Wanted, log: Log, scratch: Scratch, real: Scratch, progress: Progressing | None = None
) -> Backtest:
    """Try a draft. ``real`` opens the real store for reading (StoreError, StoreInUse where it cannot be). Raises
    CadenzaError for a journey that neither side knows, or a time that ends before it begins; OperatingError, LedgerError."""
    until = wanted.until or stands_at(log, real)
    began = _beginning(log)
    since = began if wanted.since is None else max(wanted.since, began)
    if until < since:
        raise CadenzaError(
            f"the history from {since} to {until} holds nothing.", remedy="Give an earlier --from or a later --to."
        )
    before = just_after(until)
    with _other(wanted, log, scratch, real, until, progress) as (other, in_force), scratch() as made:
        if wanted.journey is not None:
            _known(wanted.journey, wanted.draft, in_force)
        start = None if wanted.since is None or wanted.since <= began else wanted.since
        showing = named(progress, "Deciding under the draft")
        done = replay_under(made, log, wanted.draft, start, until, showing, wanted.delivered)
        found = Backtest(
            since=since, until=until, draft_fingerprint=fingerprint([encode(wanted.draft)]),
            compared_with=RAN if wanted.against is None else fingerprint([encode(wanted.against)]), made=done,
            draft=side(made, wanted.draft, since, before), against=side(other, in_force, since, before),
            changes=changes(other, made, since, before),
        )  # fmt: skip
    return found if wanted.journey is None else _only(found, wanted.journey)


@contextmanager
def _other(
    wanted: Wanted, log: Log, scratch: Scratch, real: Scratch, until: datetime, progress: Progressing | None
) -> Iterator[tuple[Engine, Project]]:
    """The other side's store, and what is in force in it at the end."""
    if wanted.against is not None:
        with scratch() as engine:
            start = None if wanted.since is None or wanted.since <= _beginning(log) else wanted.since
            replay_under(engine, log, wanted.against, start, until, named(progress, "Deciding under the other version"))
            yield engine, wanted.against
        return
    with what_ran(log, scratch, real, until, progress) as engine:
        yield engine, current_project(engine) or Project()


@contextmanager
def what_ran(
    log: Log, scratch: Scratch, real: Scratch, until: datetime, progress: Progressing | None
) -> Iterator[Engine]:
    """The store as of ``until``: the real one where it can be read and says nothing else, otherwise made from the log."""
    with ExitStack() as opened:
        engine = opened_store(opened, real)
        if engine is None or not covers(engine, log, until):
            engine = opened.enter_context(scratch())
            replay(engine, log, until, named(progress, "Deciding what really ran"))
        yield engine


def opened_store(opened: ExitStack, real: Scratch) -> Engine | None:
    """The real store; None while a server holds it."""
    try:
        return opened.enter_context(real())
    except StoreInUse:
        return None


def covers(engine: Engine, log: Log, until: datetime) -> bool:
    """Whether a store has decided everything until then, and nobody was merged and nothing was deployed since: then its facts
    with an instant up to there are what they were there."""
    consumed, horizon = engine.query("SELECT consumed, horizon FROM clock")[0]
    if consumed < last_before(log, to_micros(until) + 1)[0] or horizon < until:
        return False
    later = engine.query(
        "SELECT (SELECT count(*) FROM link WHERE other_pid IS NOT NULL AND recorded_at > ?) + "
        "(SELECT count(*) FROM deployment WHERE recorded_at > ?)",
        [until, until],
    )
    return later[0][0] == 0


def stands_at(log: Log, real: Scratch) -> datetime:
    """Where the real store stands; the end of the log where it cannot be read or stands before it."""
    end = end_of(log)
    with ExitStack() as opened:
        engine = opened_store(opened, real)
        return end if engine is None else max(engine.query("SELECT horizon FROM clock")[0][0], end)


def _beginning(log: Log) -> datetime:
    first = log.read(0, 1)
    return from_micros(first[0].recorded_at) if first else end_of(log)


def named(progress: Progressing | None, what: str) -> Callable[[Progress], None] | None:
    return None if progress is None else lambda done: progress(what, done)


def _known(journey: str, *projects: Project) -> None:
    names = sorted({j.name for project in projects for j in project.journeys})
    if journey not in names:
        raise CadenzaError(f"there is no journey '{journey}'.", remedy=near_miss(journey, names))


def _only(found: Backtest, journey: str) -> Backtest:
    return msgspec.structs.replace(
        found, draft=found.draft.only(journey), against=found.against.only(journey), changes=found.changes.only(journey)
    )
