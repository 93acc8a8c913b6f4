"""What the tests of delivery share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deliver.outbox_kit import Kit, Made


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Made]:
    made: list[Kit] = []

    def make(**channels: Any) -> Kit:
        made.append(Kit(tmp_path, **channels))
        return made[-1]

    yield make
    for one in made:
        one.close()
