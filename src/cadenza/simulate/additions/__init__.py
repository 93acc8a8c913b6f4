"""The additions to generated worlds, by name: one module each."""

from __future__ import annotations

from cadenza.simulate.addition import Addition
from cadenza.simulate.additions import (
    calls,
    caps,
    control,
    enters,
    entries,
    hand_off,
    hours,
    jumps,
    local_waits,
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
    "hand_off": hand_off.ADDITION,
    "hours": hours.ADDITION,
    "jumps": jumps.ADDITION,
    "local_waits": local_waits.ADDITION,
    "values": values.ADDITION,
    "waits": waits.ADDITION,
    "versions": versions.ADDITION,
}
