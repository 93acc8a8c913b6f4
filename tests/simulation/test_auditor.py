"""The auditor finds nothing where the engine is right, and by itself what is wrong where it is not."""

from __future__ import annotations

import pytest

from cadenza.audit.auditor import AuditReport
from cadenza.clock import from_micros
from tests.simulation.audit_faults import AUDIT_FAULTS, town
from tests.simulation.audited import audited
from tests.simulation.engine import run_engine
from tests.simulation.engine_faults import planted


def lived() -> AuditReport:
    """What the auditor says of the town."""
    world, found = town(), []
    run_engine(
        world.project, world.records, (1000,), False, from_micros(world.horizon),
        after=lambda engine, outbox: found.append(audited(world.records, engine, outbox)),
    )  # fmt: skip
    return found[0]


def test_the_town_is_clean_and_every_rule_is_asked() -> None:
    report = lived()
    assert report.clean and not report.violations, report.violations
    assert {rule.rule for rule in report.rules if rule.checked == 0} == set()


@pytest.mark.parametrize("name", AUDIT_FAULTS)
def test_the_auditor_turns_red_by_itself(name: str) -> None:
    rule, slips = AUDIT_FAULTS[name]
    with planted(slips):
        report = lived()
    assert not report.clean
    assert rule in {violation.rule for violation in report.violations}, report.rules
