"""The additions to generated worlds, by name: one module each."""

from __future__ import annotations

from cadenza.simulate.addition import Addition
from cadenza.simulate.additions import (
    accounts,
    at_entry,
    best_channel,
    calls,
    caps,
    control,
    enters,
    entries,
    exits,
    experiments,
    hand_off,
    holdouts,
    hours,
    jumps,
    local_waits,
    merges,
    schedules,
    suppressions,
    values,
    versions,
    waits,
)

ADDITIONS: dict[str, Addition] = {
    "accounts": accounts.ADDITION,
    "at_entry": at_entry.ADDITION,
    "best_channel": best_channel.ADDITION,
    "calls": calls.ADDITION,
    "caps": caps.ADDITION,
    "control": control.ADDITION,
    "enters": enters.ADDITION,
    "entries": entries.ADDITION,
    "exits": exits.ADDITION,
    "experiments": experiments.ADDITION,
    "hand_off": hand_off.ADDITION,
    "holdouts": holdouts.ADDITION,
    "hours": hours.ADDITION,
    "jumps": jumps.ADDITION,
    "local_waits": local_waits.ADDITION,
    "merges": merges.ADDITION,
    "suppressions": suppressions.ADDITION,
    "schedules": schedules.ADDITION,
    "values": values.ADDITION,
    "waits": waits.ADDITION,
    "versions": versions.ADDITION,
}
