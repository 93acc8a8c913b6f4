"""A shop with two campaigns that compete, and what five people do there: a history to try drafts on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from cadenza.clock import SystemClock, VirtualClock, from_micros, to_micros
from cadenza.definitions.kinds import Cap, Holdout, Journey, Metric, Policy
from cadenza.definitions.project import Project
from cadenza.errors import StoreInUse
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Record
from cadenza.runtime.tick import Ticker
from cadenza.runtime.trials.trials import Trials
from cadenza.simulate.worlds import World, deploy_record
from cadenza.store.duckdb_engine import DuckEngine
from tests.simulation import stored
from tests.simulation.tape import DAY, at, journey, project as taped, send, split, wait

CAP = Cap(name="daily", limit=1, per_s=DAY)
SPLIT = split("offer", a=(5_000, send("hello")), b=(5_000, wait(1)))


def thanks(**more: Any) -> Journey:
    """After every order, if nobody more important is there."""
    settings: dict[str, Any] = {"priority": 20, "again": "after_exit", "goal": "event('Refund')"} | more
    return journey(send(), wait(4), send(), name="thanks", **settings)


def launch(**more: Any) -> Journey:
    """A campaign with priority over the thanks."""
    return journey(send(), SPLIT, wait(30), name="launch", on="Launch", **({"priority": 60, "again": "once"} | more))


def aside(**more: Any) -> Journey:
    """A campaign in no arena: it competes for contacts only."""
    return journey(send("news"), name="aside", on="Launch", arena=None, again="once", **more)


def project(*journeys: Journey, cap: Cap | None = CAP) -> Project:
    """The shop's project with these journeys."""
    found = taped(*journeys, policy=Policy(caps=(cap,) if cap else ()))
    metric = Metric(name="m", kind="sum", event="Order", property="total", within_s=2 * DAY)
    return msgspec.structs.replace(found, metrics=(metric,))


RAN = project(thanks(), launch(holdout=Holdout(name="held", share_bp=2_000)), aside())
"""What was deployed."""


def started(deployed: Project, live: bool = False) -> list[Record]:
    """The beginning of a log: a deployment, and whether what follows is replayed, as an import does, or ``live``."""
    said = msgspec.json.encode({"command": "live" if live else "replay"})
    command = msgspec.structs.replace(_record(2, to_micros(at(0)) + 1, said), kind="command")
    return [deploy_record(deployed, to_micros(at(0))), command]


def call(log: list[Record], hours: float, user: str, **body: Any) -> None:
    """Append what a person does at an hour, or a microsecond after the record before it."""
    instant = max(to_micros(at(hours)), log[-1].recorded_at + 1)
    body = {"userId": user, "occurred_at": instant, "type": "track", **body}
    log.append(_record(len(log) + 1, instant, msgspec.json.encode(body, order="sorted")))


def history(deployed: Project = RAN, live: bool = False) -> World:
    """What five people did in two days: consent, orders, a launch for everybody, orders again, a refund."""
    log = started(deployed, live)
    people = [f"u{n}" for n in range(5)]
    for user in people:
        call(log, 0, user, type="identify", traits={"email": f"{user}@x.example", "time_zone": "UTC"})
        for purpose in ("marketing", "news"):
            consent = {"purpose": purpose, "channel": "email", "granted": user != "u4"}
            call(log, 0, user, event="Consent Updated", properties=consent)
    for hours, users, event in (
        (1, people, "Order"),
        (3, people, "Launch"),
        (26, people[:3], "Order"),
        (28, people[:1], "Refund"),
    ):
        for user in users:
            call(log, hours, user, event=event, properties={"total": 10, "order_id": f"{user}-{hours}"})
    return World(project=deployed, records=tuple(log), horizon=to_micros(at(48)))


def _record(offset: int, instant: int, body: bytes) -> Record:
    return Record(
        offset=offset, recorded_at=instant, writer="main", kind="call", source="shop", message_id=f"m{offset}",
        imported=False, body=body,
    )  # fmt: skip


class Site:
    """A folder in which a world was lived, and the trials of it. ``served``: a server holds the store."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world, self.served = folder, world, False
        self.log = SqliteLog.open(folder / "log.db")
        self.trials = Trials(lambda: self.log, folder, self.store, SystemClock(), 1)

    @contextmanager
    def store(self) -> Iterator[Engine]:
        """The real store."""
        if self.served:
            raise StoreInUse("the store is in use by another process.")
        engine = DuckEngine.open(self.folder / "store.duckdb", threads=1)
        try:
            yield engine
        finally:
            engine.close()

    def apply(self, wanted: Project, at: int, until: int) -> None:
        """Deploy for real at an instant (µs) that is not before the last record, and run until another."""
        record = deploy_record(wanted, at, self.log.head().offset + 1)
        stored.append(self.folder, [msgspec.structs.replace(record, message_id=f"deploy{record.offset}")])
        self.run(until)

    def run(self, until: int) -> None:
        """Tick for real until an instant (µs)."""
        outbox = SqliteOutbox.open(self.folder / "outbox.db")
        with self.store() as engine:
            Ticker(engine, self.log, outbox, VirtualClock()).run(from_micros(until))
        outbox.close()

    def close(self) -> None:
        self.log.close()


@contextmanager
def lived(folder: Path, world: World) -> Iterator[Site]:
    """Live a world in a folder."""
    folder.mkdir(exist_ok=True)
    stored.live(folder, world)
    site = Site(folder, world)
    try:
        yield site
    finally:
        site.close()


__all__ = ["CAP", "RAN", "Site", "aside", "call", "history", "launch", "lived", "project", "started", "thanks"]
