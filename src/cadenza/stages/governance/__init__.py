"""Governance: whether, when, and why not. Once per wave over all its candidate messages."""

from __future__ import annotations

from cadenza.stages.governance.judging import due as due
from cadenza.stages.governance.judging import suppress_journeys as suppress_journeys
from cadenza.stages.governance.judging import values as values
from cadenza.stages.governance.judging import verdicts as verdicts
