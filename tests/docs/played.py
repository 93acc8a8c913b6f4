"""Plays a page of the documentation in an empty folder: writes its files, runs its commands, compares what they print."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.conftest import Served, environment, preloaded, serving
from tests.docs import pages
from tests.docs.pages import Block, Spoken

ADDRESS = "http://127.0.0.1:8400"
"""Where a server listens that was told nothing else; while a page is played it takes any free port."""
READING = re.compile(
    r"cadenza (messages|explain|status|doctor|plan|quarantine(?! (fix|replay|drop))|report|query)|curl .*/(mailbox|api)/?"
)
"""Asked again until the answer comes: the server decides and delivers on its own."""
MOST_TRIES = 20
PROGRESS = re.compile(r"^(Applying|Deciding|Importing|Rebuilding|Going live)\b.*\d/s.*\n", re.MULTILINE)


def write_files(page: Path, folder: Path) -> None:
    """Every file that a page shows, the last version of each."""
    for block in pages.blocks(page):
        _write(block, folder)


def _write(block: Block, folder: Path) -> None:
    if block.path is not None:
        target = folder / block.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text, encoding="utf-8")


class Player:
    """One page, one folder."""

    def __init__(self, folder: Path, open_servers: ExitStack) -> None:
        self._folder, self._servers = folder, open_servers
        self._server: Served | None = None
        self._url = ADDRESS
        bin_folder = folder / ".bin"
        bin_folder.mkdir()
        command = bin_folder / "cadenza"
        command.write_text(f'#!/bin/sh\nexec {shlex.join(preloaded())} "$@"\n')
        command.chmod(0o755)
        self._environment = environment(PATH=f"{bin_folder}{os.pathsep}{os.environ['PATH']}")

    def play(self, page: Path) -> int:
        """Every example of the page, in order; the number of commands."""
        commands = 0
        for block in pages.blocks(page):
            if block.language == "console":
                for spoken in pages.spoken(block):
                    self._do(spoken)
                    commands += 1
            else:
                _write(block, self._folder)
        return commands

    def _do(self, spoken: Spoken) -> None:
        words = spoken.command.split()
        if words[0] == "cd":
            self._folder = self._folder / words[1]
        elif words[:2] == ["cadenza", "run"]:
            self._server = self._servers.enter_context(serving("run", *words[2:], cwd=self._folder))
            self._url = self._server.url
        elif spoken.command == "^C":
            assert self._server is not None, f"{spoken.place}: nothing runs"
            self._server.process.send_signal(signal.SIGINT)
            assert self._server.process.wait(120) == 0
            self._url = ADDRESS
        else:
            self._see(spoken)

    def _see(self, spoken: Spoken) -> None:
        """Run a command until it prints what the page shows; at most once where nothing works meanwhile."""
        tries = MOST_TRIES if READING.match(spoken.command) and self._url != ADDRESS else 1
        for _ in range(tries):
            code, printed = self._run(spoken.command)
            if _as_shown(spoken, code, printed):
                return
        pytest.fail(
            f"{spoken.place}: $ {spoken.command}\nthe page shows:\n{spoken.output}\nit printed ({code}):\n{printed}"
        )

    def _run(self, command: str) -> tuple[int, str]:
        done = subprocess.run(
            ["sh", "-c", command.replace(ADDRESS, self._url)], cwd=self._folder, env=self._environment, text=True,
            capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=300,
        )  # fmt: skip
        return done.returncode, PROGRESS.sub("", done.stdout + done.stderr).replace(self._url, ADDRESS)


def _as_shown(spoken: Spoken, code: int, printed: str) -> bool:
    return (code != 0) == spoken.refused and pages.agrees(spoken.output, printed)
