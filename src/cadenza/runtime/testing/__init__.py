"""Journey tests: the tests of a project, run by the same tick on a store of their own and a clock that stands where it is put."""

from cadenza.runtime.testing.run import JourneyTests
from cadenza.runtime.testing.views import CaseResult, Covered, Failure, Point, SuiteResult

__all__ = ["CaseResult", "Covered", "Failure", "JourneyTests", "Point", "SuiteResult"]
