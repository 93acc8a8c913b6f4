"""The additions to generated worlds, by name: one module each."""

from __future__ import annotations

from cadenza.simulate.addition import Addition
from cadenza.simulate.additions import (
    calls,
    caps,
    control,
    enters,
    entries,
    exits,
    hand_off,
    holdouts,
    hours,
    jumps,
    local_waits,
    merges,
    suppressions,
    values,
    versions,
    waits,
)

ADDITIONS: dict[str, Addition] = {
    "calls": calls.ADDITION,
    "caps": caps.ADDITION,
    "control": control.ADDITION,
    "enters": enters.ADDITION,
    "entries": entries.ADDITION,
    "exits": exits.ADDITION,
    "hand_off": hand_off.ADDITION,
    "holdouts": holdouts.ADDITION,
    "hours": hours.ADDITION,
    "jumps": jumps.ADDITION,
    "local_waits": local_waits.ADDITION,
    "merges": merges.ADDITION,
    "suppressions": suppressions.ADDITION,
    "values": values.ADDITION,
    "waits": waits.ADDITION,
    "versions": versions.ADDITION,
}
