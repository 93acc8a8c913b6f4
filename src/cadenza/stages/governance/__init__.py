"""Governance: whether, when, and why not. Once per wave over all its candidate messages."""

from __future__ import annotations

from cadenza.stages.governance.choosing import responses as responses
from cadenza.stages.governance.judging import (
    due as due,
    suppress_journeys as suppress_journeys,
    values as values,
    verdicts as verdicts,
)
