"""Journey tests as JUnit XML, which most CI systems show."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from cadenza.workspace import SuiteResult

_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold."""


def junit_xml(run: SuiteResult) -> bytes:
    """A test suite for each journey that tests are about; what has failed says where, what was expected and why."""
    suites = Element("testsuites", name="cadenza test", tests=str(len(run.tests)), failures=str(run.failed),
                     time=f"{run.seconds:.3f}")  # fmt: skip
    journeys = dict.fromkeys(test.journey or "all journeys" for test in run.tests)
    for journey in journeys:
        tests = [test for test in run.tests if (test.journey or "all journeys") == journey]
        failed = sum(not test.passed for test in tests)
        suite = SubElement(suites, "testsuite", name=journey, tests=str(len(tests)), failures=str(failed))
        for test in tests:
            case = SubElement(suite, "testcase", name=test.name, classname=journey, file=test.file, line=str(test.line))
            for failure in test.failures:
                text = [f"{failure.file}:{failure.line}", "happened:", *failure.happened, "why:", *failure.why]
                said = SubElement(case, "failure", message=_clean(f"expected {failure.expected}"))
                said.text = _clean("\n".join(text))
    indent(suites)
    return tostring(suites, encoding="utf-8", xml_declaration=True) + b"\n"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
