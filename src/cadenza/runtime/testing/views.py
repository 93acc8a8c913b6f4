"""What a run of journey tests answers."""

from __future__ import annotations

import msgspec

from cadenza.definitions.project import Location


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An expectation that was not so: what was ``expected``, what ``happened``, and the explanation's own words."""

    expected: str
    happened: tuple[str, ...]
    why: tuple[str, ...] = ()
    file: str
    line: int


class CaseResult(msgspec.Struct, frozen=True, kw_only=True):
    """One test and what did not hold; it passed when nothing did."""

    name: str
    journey: str | None
    expectations: int
    failures: tuple[Failure, ...]
    file: str
    line: int

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.failures


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """Something of a journey that a test may reach. ``kind``: step, way, exit or refusal."""

    kind: str
    words: str
    file: str
    line: int
    reached: bool


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a journey the tests reach."""

    journey: str
    points: tuple[Point, ...]

    @property
    def reached(self) -> int:
        """How many points some test reached."""
        return sum(point.reached for point in self.points)

    @property
    def share(self) -> float:
        """Percent of the points; a journey without any is reached whole."""
        return 100 * self.reached / len(self.points) if self.points else 100.0


class SuiteResult(msgspec.Struct, frozen=True, kw_only=True):
    """Every test that ran, the coverage of the journeys they are about, how many engines it took, and how long (s)."""

    tests: tuple[CaseResult, ...]
    coverage: tuple[Covered, ...]
    engines: int
    seconds: float

    @property
    def failed(self) -> int:
        """How many tests did not pass."""
        return sum(not test.passed for test in self.tests)


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """A person of a test in the log: the offset of their first record."""

    test: str
    actor: str
    offset: int


def place(location: Location | None) -> tuple[str, int]:
    """File and line; nowhere is the project file."""
    return (location.file, location.line) if location else ("cadenza.yaml", 1)
