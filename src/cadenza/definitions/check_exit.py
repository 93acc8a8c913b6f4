"""What is wrong with the last steps of a journey's exits."""

from __future__ import annotations

from cadenza.definitions.findings import Findings
from cadenza.definitions.kinds_journey import Enter, Journey, Send, Update

MOST_LAST_STEPS = 5
_DONE_AT_ONCE = (Send, Update, Enter)


def check_last_steps(journey: Journey, findings: Findings) -> None:
    """They are few, and none of them rests or decides: who has left is not asked anything any more."""
    for name, steps in journey.exit.last_steps.items():
        at = f"exit.{name}.then"
        if len(steps) > MOST_LAST_STEPS:
            what = f"The exit '{name}' has {len(steps)} last steps; at most {MOST_LAST_STEPS} are allowed."
            findings.problem(what, "journeys", journey.name, at, "Put them into a journey, and enter that.")
        for number, step in enumerate(steps):
            kind = step.__struct_config__.tag
            if not isinstance(step, _DONE_AT_ONCE):
                what = f"'{kind}' cannot be a last step of an exit."
                remedy = "Last steps are 'send', 'update' and 'enter'; what takes longer is a journey to enter."
                findings.problem(what, "journeys", journey.name, f"{at}.{number}", remedy)
            elif step.label:
                what = f"The last step '{step.label}' has a label."
                findings.problem(what, "journeys", journey.name, f"{at}.{number}", "No jump leads out of a passage.")
