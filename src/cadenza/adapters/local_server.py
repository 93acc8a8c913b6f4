"""The way to a Cadenza server that runs on this machine, for commands that find the store in its hands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from cadenza.errors import CadenzaError, TransientError

FILE = "server.json"
"""Where a server says it runs, in the project's state folder."""


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of itself. ``token`` guards the read API; None is open (loopback only)."""

    url: str
    pid: int
    started_at: str
    token: str | None = None


class LocalServer:
    """A running server's read API."""

    def __init__(self, info: ServerInfo) -> None:
        self.info = info
        headers = {"authorization": f"Bearer {info.token}"} if info.token else {}
        # A proxy of the environment must never see what is said on loopback.
        self._client = httpx2.Client(base_url=info.url, headers=headers, timeout=60, trust_env=False)

    def get(self, path: str, **parameters: object) -> bytes:
        """The answer's body. Raises CadenzaError with what the server says, TransientError when it does not answer."""
        given = {name: str(value) for name, value in parameters.items() if value is not None}
        return self._ask("GET", path, params=given)

    def post(self, path: str, body: bytes = b"{}") -> bytes:
        """As ``get``, for the few calls that do something; ``body`` is JSON."""
        return self._ask("POST", path, content=body, headers={"content-type": "application/json"})

    def _ask(self, method: str, path: str, **more: Any) -> bytes:
        try:
            answer = self._client.request(method, path, **more)
        except httpx2.HTTPError as error:
            raise TransientError(
                f"the server does not answer: {error}", where=self.info.url,
                remedy=f"It may be busy or stopping (process {self.info.pid}); try again, or stop it.",
            ) from error  # fmt: skip
        if answer.is_success:
            return answer.content
        problem = _problem(answer.content)
        what = problem.get("detail") or problem.get("title") or f"the server answered {answer.status_code}"
        raise CadenzaError(str(what), where=problem.get("where"), remedy=problem.get("remedy"))

    def close(self) -> None:
        self._client.close()


def find(state_dir: Path) -> LocalServer | None:
    """The server that holds this project's store, or None. A file left by a dead process counts as none."""
    try:
        info = msgspec.json.decode((state_dir / FILE).read_bytes(), type=ServerInfo)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return LocalServer(info) if _alive(info.pid) else None


def announce(state_dir: Path, info: ServerInfo) -> None:
    """Say that this process serves the project. The file is for its owner's eyes: it may hold the token."""
    path = state_dir / FILE
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(info), indent=2) + b"\n")


def withdraw(state_dir: Path) -> None:
    """Take the announcement back."""
    (state_dir / FILE).unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _problem(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}
