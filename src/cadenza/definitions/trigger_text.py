"""Triggers of journeys in words."""

from __future__ import annotations

from cadenza.definitions.expression_text import duration_text, write
from cadenza.definitions.kinds_journey import Journey


def trigger_words(journey: Journey) -> str:
    """What a trigger that is neither an event nor a segment says, as it stands after "by"."""
    on = journey.entry.on
    if on.becomes is not None:
        return f"{write(on.becomes)} becoming true"
    if on.absence is not None:
        since = f" after '{on.absence.after}'" if on.absence.after else ""
        return f"no '{on.absence.event}' for {duration_text(on.absence.for_s)}{since}"
    if on.trait is not None:
        return f"{on.trait} changing" + "".join(
            f" {w} {v}" for w, v in (("from", on.from_), ("to", on.to)) if v is not None
        )
    if on.date is not None:
        side = "before " if on.before_s else "after " if on.after_s else ""
        length = duration_text(on.before_s or on.after_s) + " " if side else ""
        return f"the time coming {length}{side}{on.date}" + (f", at {on.at}" if on.at else "")
    if on.schedule is not None:
        return f"the schedule '{on.schedule}' for segment '{on.segment}'"
    return "a call of the API"
