"""People on a virtual clock who behave as the model says: what they do on a day, who comes, how they answer messages.

Everything is drawn by name from one seed, so that the same seed gives the same people, and what one of them does never
depends on how many others were drawn before.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlglot import exp

from cadenza.clock import to_micros
from cadenza.ids import ACCOUNTS, seeded_random
from cadenza.ports.engine import Engine
from cadenza.runtime.trials.resample import Drawn, rename
from cadenza.runtime.trials.response.model import ANSWERS, MARK, NANO, UNSEEN, WITHIN_S, Arriving, Donor, Model
from cadenza.sql import step
from cadenza.statistics.rates import overdispersed

_SCRIPT = step.Script.beside(__file__, "measure")
DAY = timedelta(days=1)
OWN, REPORTED = "task", "outcome"
"""Both kinds of records name their person by number; a report also says what became of a message."""


class People:
    """The people of one draw, in a store of their own that has the tables of the fit."""

    def __init__(self, engine: Engine, model: Model, seed: int, draw: int, soonest_us: int) -> None:
        """``soonest_us``: nobody answers a message sooner than this after it was decided (µs)."""
        self._engine, self._model, self._soonest_us = engine, model, soonest_us
        self._seed = (seed, draw)
        self._kinds = [exp.Tuple(expressions=[step.text(kind), step.text(name)]) for kind, name in ANSWERS.items()]
        chance = seeded_random(*self._seed, "newcomers")
        self._newcomers_a_day = model.newcomers.per_day.draw(chance)[1]
        self._rates()
        self._shares()
        self._persons = engine.query(f"SELECT count(*) FROM profile WHERE pid < {ACCOUNTS}")[0][0]
        self._lifts = any(a.lift for a in model.arriving)
        engine.execute("CREATE OR REPLACE TEMP TABLE sim_touched (pid BIGINT)")

    # --- what is true in this draw ---------------------------------------------------------------------------

    def _rates(self) -> None:
        rows: list[tuple[int, int, int]] = []
        unseen: list[tuple[int, int, int]] = []
        for arriving in self._model.arriving:
            chance = seeded_random(*self._seed, "rate", arriving.name)
            values, other = arriving.per_day.draw(chance)
            lift = _drawn_lift(arriving, chance.gauss(0.0, 1.0))
            # The history's rate holds recent messages; without one it is lower by what they did.
            without = 1 + (lift - 1) * (arriving.lift.recent if arriving.lift else 0.0)
            rows += [
                (arriving.number, c, round(NANO * v / without)) for c, v in zip(arriving.cells, values, strict=True)
            ]
            unseen.append((arriving.number, round(NANO * other / without), round(NANO * lift)))
        self._load("sim_chances", ("number", "cell", "rate"), rows)
        self._load("sim_chance", ("number", "rate", "lift"), unseen)

    def _shares(self) -> None:
        rows: list[list[int]] = []
        channels: list[str] = []
        for answering in self._model.answering:
            drawn = {
                kind: shrunk.draw(seeded_random(*self._seed, "share", answering.channel, kind))
                for kind, shrunk in answering.shares.items()
            }
            for place, cell in enumerate((*answering.cells, UNSEEN)):
                values = [
                    0.0 if kind not in drawn else drawn[kind][1] if cell == UNSEEN else drawn[kind][0][place]
                    for kind in ANSWERS
                ]
                rows.append([cell, *(round(NANO * value) for value in values)])
                channels.append(answering.channel)
        columns: dict[str, tuple[str, list[Any]]] = {"channel": ("VARCHAR", channels)}
        for place, name in enumerate(("cell", *ANSWERS)):
            columns[name] = ("BIGINT", [row[place] for row in rows])
        self._engine.load("sim_share", columns)

    def _load(self, table: str, names: tuple[str, ...], rows: list[tuple[int, int, int]]) -> None:
        self._engine.load(table, {name: ("BIGINT", [row[i] for row in rows]) for i, name in enumerate(names)})

    # --- a day ------------------------------------------------------------------------------------------------

    def day(self, begins: datetime, number: int) -> list[Drawn]:
        """What happens on a day to come, counted from 0, as records: what people do by themselves, and who is new."""
        cut = {"day": step.instant(begins.isoformat(" "))}
        # The tick may have left the engine set for few rows.
        self._engine.expect(self._persons)
        self._engine.execute(_sql("sim_cell", cell=self._model.cells.of_profile()))
        if self._lifts:
            since = step.instant(self._model.since.isoformat(" "))
            self._engine.execute(_sql("sim_touched", **cut, since=since, within_s=step.number(WITHIN_S)))
        return [*self._arrivals(begins, number), *self._newcomers(begins, number)]

    def _arrivals(self, begins: datetime, number: int) -> list[Drawn]:
        engine = self._engine
        engine.execute(_sql("sim_stand"))
        totals = dict(engine.query(_sql("totals")))
        drawn = [
            (a.number, self._count(a, totals[a.number], number), totals[a.number])
            for a in self._model.arriving if a.number in totals
        ]  # fmt: skip
        self._load("sim_drawn", ("number", "n", "total"), [row for row in drawn if row[1]])
        key = f"{self._seed[0]}|{self._seed[1]}|{number}"
        rows = engine.query(
            _sql("arrivals", day=step.instant(begins.isoformat(" ")), key=step.text(key), mark=step.text(MARK))
        )
        return [(at, OWN, f"does-{tag}", body.encode()) for at, tag, body in rows]

    def _count(self, arriving: Arriving, total: int, number: int) -> int:
        chance = seeded_random(*self._seed, "count", arriving.name, number)
        mean = total / NANO * self._model.weekday(arriving.weekdays, number)
        return overdispersed(chance, mean, arriving.dispersion)

    def _newcomers(self, begins: datetime, number: int) -> list[Drawn]:
        new = self._model.newcomers
        if not new.donors:
            return []
        chance = seeded_random(*self._seed, "newcomers", number)
        mean = self._newcomers_a_day * self._model.weekday(new.weekdays, number)
        found: list[Drawn] = []
        for nth in range(overdispersed(chance, mean, new.dispersion)):
            for place, donor in enumerate(chance.choice(new.donors)):
                found.append(self._again(donor, to_micros(begins), f"{self._seed[1]}.{number}.{nth}", place))
        return found

    def _again(self, donor: Donor, begins_us: int, who: str, place: int) -> Drawn:
        """A donor's record for somebody new."""
        body: dict[str, Any] = msgspec.json.decode(donor.body)
        at = begins_us + donor.within_us
        body["occurred_at"] = at
        for path in self._model.identifiers:
            rename(body, list(path), f"~{who}")
        return at, "call", f"comes-{who}-{place}", msgspec.json.encode(body, order="sorted")

    def answers(self, after: datetime, upto: datetime) -> list[Drawn]:
        """What becomes of the messages that were planned after one instant and up to another."""
        if not self._model.answering:
            return []
        rows = self._engine.query(_sql(
            "answers", after=step.instant(after.isoformat(" ")), upto=step.instant(upto.isoformat(" ")),
            key=step.text(f"{self._seed[0]}|{self._seed[1]}|"), kinds=self._kinds, soonest=step.number(self._soonest_us),
            cell=self._model.cells.of_profile(),
        ))  # fmt: skip
        return [(at, REPORTED if said else OWN, f"answers-{tag}", body.encode()) for at, tag, said, body in rows]


def _drawn_lift(arriving: Arriving, normal: float) -> float:
    """How many times the rate is after a message what it is without; never below none at all."""
    if arriving.lift is None:
        return 1.0
    return max(1 + arriving.lift.ratio + arriving.lift.error * normal, 0.0)


def _sql(name: str, /, **parts: step.Part) -> str:
    return _SCRIPT.step(name, **parts).sql
