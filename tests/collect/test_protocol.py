"""The connection: the same answers as the ASGI way, in order, and bounded against those who hold on."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from cadenza.runtime.collect import MAX_BODY
from cadenza.surfaces import collect_protocol
from cadenza.surfaces.collect_protocol import Front
from tests.collect.asgi import KEY, Site, site
from tests.collect.server import serving

AUTH = b"Authorization: Basic " + base64.b64encode(f"{KEY}:".encode()) + b"\r\n"


def request(path: str, body: Any, *, auth: bytes = AUTH, headers: bytes = b"", method: str = "POST") -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: collect.example\r\nContent-Length: {len(raw)}\r\n".encode()
    return head + auth + headers + b"\r\n" + raw


def call(message_id: str) -> dict[str, str]:
    return {"event": "E", "messageId": message_id}


class Line:
    """One connection, and a reader of its answers."""

    def __init__(self, address: str) -> None:
        self.address = address
        host, _, port = address.removeprefix("http://").partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.held = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer; status 0 when the other side has hung up."""
        while b"\r\n\r\n" not in self.held:
            if not self._more():
                return 0, {}, b""
        head, _, self.held = self.held.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        size = int(headers["content-length"])
        while len(self.held) < size:
            assert self._more()
        body, self.held = self.held[:size], self.held[size:]
        return int(first.split()[1]), headers, body

    def hung_up(self) -> bool:
        return not self._more()

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65_536)
        except ConnectionResetError:
            data = b""
        self.held += data
        return bool(data)


@contextmanager
def line_to(opened: Site) -> Iterator[Line]:
    with serving(opened.app, Front(opened.app, opened.collector).protocol()) as address:
        line = Line(address)
        yield line
        line.socket.close()


@pytest.fixture
def opened(tmp_path):
    with site(tmp_path) as held:
        yield held


SAMPLES = {
    "one": (request("/v1/track", call("m")), 200),
    "query key": (request("/v1/track?writeKey=" + KEY, call("m"), auth=b""), 200),
    "no key": (request("/v1/track", call("m"), auth=b""), 401),
    "not json": (request("/v1/batch", b"{"), 400),
    "empty batch": (request("/v1/batch", {"batch": []}), 200),
    "browser": (request("/v1/b", {"batch": [call("m") | {"type": "track"}]}, headers=b"Origin: https://shop.example\r\n"), 200),
    "browser, wrong": (request("/v1/b", b"[]", headers=b"Origin: https://shop.example\r\n"), 400),
    "too large": (request("/v1/track", b" " * (MAX_BODY + 1)), 413),
    "another path": (request("/v1/nothing", call("m")), 404),
    "another method": (request("/v1/track", b"", method="GET"), 405),
    "preflight": (request("/v1/track", b"", method="OPTIONS", headers=b"Origin: https://shop.example\r\n"), 200),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_it_answers_as_the_asgi_way_does(tmp_path, name):
    data, status = SAMPLES[name]
    answers = []
    for way in ("direct", "asgi"):
        with site(tmp_path / way) as opened:
            http = Front(opened.app, opened.collector).protocol() if way == "direct" else "httptools"
            with serving(opened.app, http) as address:
                line = Line(address)
                try:
                    line.send(data)
                except ConnectionError:
                    assert name == "too large"
                found_status, headers, body = line.answer()
                assert found_status == status
                answers.append(({k: v for k, v in headers.items() if k not in ("date", "server", "connection")}, body))
                line.socket.close()
            answers[-1] += (opened.stored(), opened.log.stored_counts())
    assert answers[0] == answers[1]


def test_requests_that_do_not_wait_for_answers_are_answered_in_order(opened):
    """Calls, errors and other routes mixed: those behind a call that waits for the disk must not come first."""
    with line_to(opened) as line:
        line.send(b"".join([
            request("/v1/track", call("1")), request("/v1/track", b"{"), request("/v1/nothing", b""),
            request("/v1/track", call("2")), request(f"/v1/projects/{KEY}/settings", b"", method="GET"),
            request("/v1/track", call("3")),
        ]))  # fmt: skip
        answers = [line.answer() for _ in range(6)]
    assert [status for status, _, _ in answers] == [200, 400, 404, 200, 200, 200]
    assert b"integrations" in answers[4][2]
    assert [record.message_id for record in opened.log.read(0, 9)] == ["1", "2", "3"]


def test_a_request_in_many_pieces(opened):
    data = request("/v1/track", call("m"))
    with line_to(opened) as line:
        for at in range(0, len(data), 7):
            line.send(data[at : at + 7])
        assert line.answer()[0] == 200
    assert len(opened.stored()) == 1


def test_a_chunked_request(opened):
    body = json.dumps(call("m")).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:5], body[5:])) + b"0\r\n\r\n"
    with line_to(opened) as line:
        line.send(b"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + AUTH + b"\r\n" + chunks)
        assert line.answer()[0] == 200
    assert len(opened.stored()) == 1


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(opened):
    data = request("/v1/track", call("m"), headers=b"Expect: 100-continue\r\n")
    head, _, body = data.partition(b"\r\n\r\n")
    with line_to(opened) as line:
        line.send(head + b"\r\n\r\n")
        while b"100" not in line.held:
            assert line._more()
        line.held = b""
        line.send(body)
        assert line.answer()[0] == 200


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_client_that_wants_to_close_is_closed(opened, version):
    data = request("/v1/track", call("m"), headers=b"Connection: close\r\n").replace(
        b"HTTP/1.1", f"HTTP/{version}".encode()
    )
    with line_to(opened) as line:
        line.send(data)
        assert line.answer()[0] == 200
        assert line.hung_up()


def test_many_requests_over_one_connection(opened):
    with line_to(opened) as line:
        for n in range(50):
            line.send(request("/v1/track", call(str(n))))
            assert line.answer()[0] == 200
    assert len(opened.stored()) == 50


def test_a_body_that_grows_too_large_is_answered_and_hung_up_on(opened):
    with line_to(opened) as line:
        line.send(b"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + AUTH + b"\r\n")
        part = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
        with suppress(ConnectionError):
            for _ in range(MAX_BODY // (1 << 20) + 2):
                line.send(part)
        status = line.answer()[0]
        assert status in (413, 0)  # a sender who does not stop may lose the answer with the connection
    assert opened.log.stored_counts().rejected == 1


def test_too_much_being_received_at_once_is_overload(opened, monkeypatch):
    monkeypatch.setattr(collect_protocol, "RECEIVING_BYTES", 100_000)
    with line_to(opened) as line:
        line.send(request("/v1/track", b" " * 200_000)[:150_000])
        status, headers, body = line.answer()
        assert (status, headers["retry-after"]) == (429, "1")
        assert set(json.loads(body)) == {"code", "message"}
        other = Line(line.address)
        other.send(request("/v1/track", call("m")))
        assert other.answer()[0] == 200, "what was given up takes no room any more"
        other.socket.close()


@pytest.mark.parametrize("sent", [b"", b"POST /v1/track HTTP/1.1\r\nHos", request("/v1/track", call("m"))[:-3]])
def test_a_request_that_does_not_end_is_given_up(opened, monkeypatch, sent):
    monkeypatch.setattr(collect_protocol, "REQUEST_S", 0.05)
    with line_to(opened) as line:
        line.send(sent)
        assert line.hung_up()
    assert opened.log.stored_counts().rejected == 1
    assert opened.stored() == []


def test_a_connection_too_many_is_told_so(opened, monkeypatch):
    monkeypatch.setattr(collect_protocol, "CONNECTIONS", 1)
    with line_to(opened) as line:
        line.send(request("/v1/track", call("1")))
        assert line.answer()[0] == 200
        second = Line(line.address)
        assert second.answer()[0] == 429
        assert second.hung_up()
        second.socket.close()
        line.send(request("/v1/track", call("2")))
        assert line.answer()[0] == 200


def test_a_client_that_leaves_before_its_answer_breaks_nothing(opened):
    with serving(opened.app, Front(opened.app, opened.collector).protocol()) as address:
        for n in range(20):
            line = Line(address)
            line.send(request("/v1/track", call(str(n))))
            line.socket.close()
        last = Line(address)
        last.send(request("/v1/track", call("last")))
        assert last.answer()[0] == 200
        last.socket.close()
    assert "last" in [record.message_id for record in opened.log.read(0, 99)]
