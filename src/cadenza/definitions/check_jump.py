"""What is wrong with the labels and jumps of a journey."""

from __future__ import annotations

from collections import Counter

from cadenza.definitions.findings import Findings
from cadenza.definitions.kinds_journey import Journey, Jump
from cadenza.definitions.spots import labels_of, spots_of, timeless_jumps
from cadenza.errors import near_miss


def check_jumps(journey: Journey, findings: Findings) -> None:
    """Labels are there and unique; no loop could turn without time passing; every label is jumped to."""
    spots = spots_of(journey.steps)
    labels, name = labels_of(spots), journey.name
    said = Counter(spot.step.label for spot in spots.values() if spot.step.label)
    jumps = [spot for spot in spots.values() if isinstance(spot.step, Jump)]
    for spot in spots.values():
        label = spot.step.label
        if label and said[label] > 1:
            findings.problem(
                f"The label '{label}' is on {said[label]} steps.", "journeys", name, spot.place, "Rename it."
            )
            said[label] = 1
    for spot in jumps:
        assert isinstance(spot.step, Jump)
        if spot.step.to and spot.step.to not in labels:
            remedy = near_miss(spot.step.to, labels) or "Write 'label: NAME' beside the step to jump to."
            findings.problem(f"No step has the label '{spot.step.to}'.", "journeys", name, spot.place, remedy)
    for spot in timeless_jumps(spots):
        assert isinstance(spot.step, Jump)
        what = f"This loop could turn at one instant: nothing that surely takes time stands between '{spot.step.to}' and the jump."
        remedy = "Put a wait between them, or jump from the 'timeout' of a wait_for."
        findings.problem(what, "journeys", name, spot.place, remedy)
