"""The project in force as a file, for collectors that run as processes of their own: only the engine can open the store.

The file holds no secrets (definitions name them), and is replaced as a whole.
"""

from __future__ import annotations

import os
from pathlib import Path

from cadenza.clock import Clock
from cadenza.definitions.project import Project, decode, encode
from cadenza.errors import OperatingError

FILE = "deployed.json"
_LOOK_S = 1.0


def publish(state_dir: Path, project: Project) -> None:
    """Write the project that is in force now."""
    path = state_dir / FILE
    body = encode(project)
    if path.is_file() and path.read_bytes() == body:
        return
    fresh = path.with_suffix(".next")
    with fresh.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


class DeployedFile:
    """What was published last. Looks at the file at most once a second."""

    def __init__(self, state_dir: Path, clock: Clock) -> None:
        self._path, self._clock = state_dir / FILE, clock
        self._look_at = 0.0
        self._seen: tuple[int, int] | None = None
        self._project: Project | None = None

    def project(self) -> Project | None:
        """The project in force, None before any. Raises OperatingError when the file cannot be read."""
        now = self._clock.monotonic()
        if self._seen is not None and now < self._look_at:
            return self._project
        self._look_at = now + _LOOK_S
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return self._project
        seen = found.st_mtime_ns, found.st_ino
        if seen != self._seen:
            try:
                self._project, self._seen = decode(self._path.read_bytes()), seen
            except (ValueError, OSError) as error:
                raise OperatingError(
                    f"The project in force cannot be read: {error}", where=str(self._path),
                    remedy="'cadenza run' writes it anew when it starts.",
                ) from error  # fmt: skip
        return self._project
