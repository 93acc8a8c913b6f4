"""What every test run shares."""

from __future__ import annotations

import os

from hypothesis import settings

# CI searches the same examples every time, so that a red run is the change's fault; other runs search anew.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")
