"""Fault points: known names only, and the process really dies at the n-th passage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from cadenza.errors import OperatingError
from cadenza.faults import FAULT_POINTS, VARIABLE, Armed, fault, parse


def test_unarmed_points_do_nothing():
    for point in FAULT_POINTS:
        fault(point)


def test_an_unknown_point_fails_and_names_the_nearest():
    with pytest.raises(OperatingError, match=r"Did you mean 'log\.before_commit'"):
        fault("log.before_comit")


@pytest.mark.parametrize(
    "text",
    [
        "log.before_commit",
        "log.before_commit:0:kill",
        "log.before_commit:1:sleep",
        "log.x:1:kill",
        "log.before_commit:²:kill",
    ],
)
def test_what_is_not_a_fault_is_refused(text):
    with pytest.raises(OperatingError):
        parse(text)


def test_parse():
    assert parse("tick.mid_wave:3:kill") == Armed("tick.mid_wave", 3)


def test_kills_at_the_nth_passage_and_not_before():
    program = "from cadenza.faults import fault\nfor i in range(5):\n    print(i, flush=True)\n    fault('tick.mid_wave')\n    fault('publish.after')"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {VARIABLE: "tick.mid_wave:3:kill", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == ["0", "1", "2"]
