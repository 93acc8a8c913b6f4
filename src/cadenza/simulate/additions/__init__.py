"""The additions to generated worlds, by name: one module each."""

from __future__ import annotations

from cadenza.simulate.addition import Addition
from cadenza.simulate.additions import control, enters, hand_off, jumps, local_waits, waits

ADDITIONS: dict[str, Addition] = {
    "control": control.ADDITION,
    "enters": enters.ADDITION,
    "hand_off": hand_off.ADDITION,
    "jumps": jumps.ADDITION,
    "local_waits": local_waits.ADDITION,
    "waits": waits.ADDITION,
}
