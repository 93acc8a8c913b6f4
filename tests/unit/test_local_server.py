"""How a command finds the server that holds the store, and what it says when it cannot."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cadenza.adapters import local_server
from cadenza.adapters.local_server import ServerInfo
from cadenza.errors import TransientError


def info(pid: int, url: str = "http://127.0.0.1:1") -> ServerInfo:
    return ServerInfo(url=url, pid=pid, started_at="2026-01-01T00:00:00Z", token="secret")


def test_an_announced_server_is_found(tmp_path: Path) -> None:
    assert local_server.find(tmp_path) is None
    local_server.announce(tmp_path, info(os.getpid()))
    found = local_server.find(tmp_path)
    assert found is not None and found.info == info(os.getpid())
    found.close()
    local_server.withdraw(tmp_path)
    assert local_server.find(tmp_path) is None


def test_only_its_owner_reads_the_token(tmp_path: Path) -> None:
    local_server.announce(tmp_path, info(1))
    assert (tmp_path / local_server.FILE).stat().st_mode & 0o077 == 0


def test_a_dead_process_serves_nothing(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    local_server.announce(tmp_path, info(ended.pid))
    assert local_server.find(tmp_path) is None


def test_a_damaged_file_serves_nothing(tmp_path: Path) -> None:
    (tmp_path / local_server.FILE).write_bytes(b'{"url": ')
    assert local_server.find(tmp_path) is None


def test_no_answer_is_said_clearly(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        local_server.announce(tmp_path, info(os.getpid(), url))
        found = local_server.find(tmp_path)
        assert found is not None
        with pytest.raises(TransientError, match="does not answer"):
            found.get("/api/status")
        found.close()
