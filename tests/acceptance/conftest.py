"""The real thing: the command in a subprocess, the server on a free port, requests over HTTP."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
PATIENCE_S = 120
"""A test that waits longer than this for something to happen has failed; none of them measures time."""


class Ran(msgspec.Struct, frozen=True):
    """A command that ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CADENZA_")}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1", **more}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cadenza.surfaces.cli", *arguments]


@cache
def preloaded() -> list[str]:
    """The words that run the command line in a process that has imported it; it lives as long as this one."""
    folder = tempfile.mkdtemp(prefix="cadenza-")
    path = str(Path(folder) / "socket")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.acceptance.preloaded", path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=environment(PYTHONPATH=f"{ROOT / 'src'}{os.pathsep}{ROOT}"),
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()

    def end() -> None:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return [sys.executable, "-S", "-E", str(Path(__file__).with_name("preloaded.py")), path]


def cadenza(*arguments: str, cwd: Path, **more: str) -> Ran:
    """Run one command to its end."""
    done = subprocess.run(
        [*preloaded(), *arguments], cwd=cwd, env=environment(**more), capture_output=True, text=True, stdin=subprocess.DEVNULL,
        check=False, timeout=600,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


class Served:
    """A running server and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str], said: list[str], spoke: threading.Condition) -> None:
        self.process, self._said, self._spoke = process, said, spoke

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match of a pattern in what the server prints."""
        with self._spoke:
            found = self._spoke.wait_for(lambda: re.search(pattern, "".join(self._said)) or self._ended(), PATIENCE_S)
        match = re.search(pattern, "".join(self._said))
        assert found and match, f"the server did not say {pattern!r}:\n{''.join(self._said)}"
        return match

    def _ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def url(self) -> str:
        return self.wait_for(r"is live at (http://\S+)")[1]

    def get(self, path: str, token: str | None = None) -> tuple[int, Any]:
        """Status and JSON (or text) of a request."""
        return fetch(self.url + path, token)

    def stop(self) -> int:
        """End it as a supervisor would; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@contextmanager
def serving(*arguments: str, cwd: Path, **more: str) -> Iterator[Served]:
    """A server process; killed at the end if it still runs."""
    said: list[str] = []
    spoke = threading.Condition()
    process = subprocess.Popen(
        command(*arguments, "--port", "0"), cwd=cwd, env=environment(**more), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with spoke:
                said.append(line)
                spoke.notify_all()
        with spoke:
            spoke.notify_all()

    listening = threading.Thread(target=listen)
    listening.start()
    try:
        yield Served(process, said, spoke)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        listening.join()
        if process.stdout is not None:
            process.stdout.close()


def fetch(
    url: str, token: str | None = None, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """Status and JSON (or text) of a request."""
    given = {**({"authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=given)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, _decoded(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _decoded(error.read())


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


def eventually(ask: Callable[[], T], good: Callable[[T], bool]) -> T:
    """The first good answer. The server works on its own; how fast is not what these tests are about."""
    pause = threading.Event()
    for _ in range(PATIENCE_S * 20):
        answer = ask()
        if good(answer):
            return answer
        pause.wait(0.05)
    raise AssertionError(f"never came: {answer!r}")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter project, applied; shared by the tests of a module."""
    folder = tmp_path_factory.mktemp("acceptance")
    assert cadenza("init", "shop", cwd=folder).code == 0
    ran = cadenza("apply", "--yes", cwd=folder / "shop")
    assert ran.code == 0, ran.err
    return folder / "shop"
