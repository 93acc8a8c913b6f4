"""Who goes another way: the passages of two stores over the same history, one beside the other."""

from __future__ import annotations

from datetime import datetime

import msgspec

from cadenza.ids import subject_name
from cadenza.ports.engine import Engine
from cadenza.sql import step

_SCRIPT = step.Script.beside(__file__, "measure")
EXAMPLES = 3
_COLUMNS = {
    "journey": "VARCHAR",
    "pid": "BIGINT",
    "key": "VARCHAR",
    "nth": "BIGINT",
    "ending": "VARCHAR",
    "way": "VARCHAR",
}


class PathChange(msgspec.Struct, frozen=True, kw_only=True):
    """Passages that end (or stand, or are refused) as ``was`` on one side and as ``becomes`` on the other. Where the two
    are the same, ``another_way`` passages took other steps to it. ``examples``: the persons with the smallest ids."""

    journey: str
    was: str
    becomes: str
    passages: int
    persons: int
    another_way: int
    examples: tuple[str, ...]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """The passages of a journey: in both, only in the old, only in the new; ``alike``: step by step the same."""

    journey: str
    both: int
    only_old: int
    only_new: int
    alike: int


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """The difference of two versions over the same history."""

    journeys: tuple[Compared, ...]
    paths: tuple[PathChange, ...]

    def only(self, journey: str) -> Changes:
        """The part about one journey."""
        return Changes(
            journeys=tuple(j for j in self.journeys if j.journey == journey),
            paths=tuple(p for p in self.paths if p.journey == journey),
        )


def changes(old: Engine, new: Engine, since: datetime, before: datetime) -> Changes:
    """The passages that began in [``since``, ``before``) in two stores. ``new`` gets temporary tables."""
    query = _SCRIPT.step(
        "paths", since=step.instant(since.isoformat(" ")), before=step.instant(before.isoformat(" "))
    ).sql  # fmt: skip
    new.execute(f"CREATE OR REPLACE TEMP TABLE t_new_path AS {query}")
    rows = old.query(query)
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(_COLUMNS)
    new.load(
        "t_old_path", {name: (kind, values) for (name, kind), values in zip(_COLUMNS.items(), columns, strict=True)}
    )
    compared = [
        Compared(journey=journey, both=both, only_old=only_old, only_new=only_new, alike=alike)
        for journey, both, only_old, only_new, alike in new.query(_SCRIPT.step("compared").sql)
    ]
    found = [
        PathChange(journey=journey, was=was, becomes=becomes, passages=passages, persons=persons, another_way=another,
                   examples=tuple(subject_name(pid) for pid in examples))
        for journey, was, becomes, passages, persons, another, examples in new.query(
            _SCRIPT.step("changes", examples=step.number(EXAMPLES)).sql
        )
    ]  # fmt: skip
    new.execute("DROP TABLE t_new_path")
    new.execute("DROP TABLE t_old_path")
    return Changes(journeys=tuple(compared), paths=tuple(found))
