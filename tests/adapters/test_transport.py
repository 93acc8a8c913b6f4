"""The guard: no destination's address leads into a private network, however it is written."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import httpx2
import pytest
from hypothesis import given, strategies as st

from cadenza.adapters.transport import forbidden, guarded_client, resolve
from cadenza.errors import TerminalError, TransientError
from tests.adapters.certificate import certificate
from tests.adapters.receivers import Answer, closed_port, http_server

PRIVATE = [
    "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "::1", "fc00::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::", "2001:0:0:0:0:0:f5ff:fffe",
    "::ffff:0:10.0.0.1",
]  # fmt: skip
NEVER = [
    "0.0.0.0", "0.1.2.3", "169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fe80::1%eth0", "::", "224.0.0.1", "ff02::1",
    "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "2001:db8::1", "fd00:ec2::254", "64:ff9b::169.254.169.254",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE + NEVER + ["localhost", "", "1.2.3", "2130706433"])
def test_refused_addresses(address: str) -> None:
    assert forbidden(address)


@pytest.mark.parametrize("address", NEVER)
def test_refused_even_if_private_is_allowed(address: str) -> None:
    assert forbidden(address, allow_private=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::8.8.8.8"])
def test_public_addresses_pass(address: str) -> None:
    assert forbidden(address) is None


@given(st.ip_addresses(v=4, network="10.0.0.0/8") | st.ip_addresses(v=4, network="127.0.0.0/8"))
def test_a_private_address_inside_ipv6_stays_private(address: object) -> None:
    for form in ("::ffff:{}", "::{}", "64:ff9b::{}", "::ffff:0:{}"):
        assert forbidden(form.format(address))


def get(url: str, **options: object) -> httpx2.Response:
    async def go() -> httpx2.Response:
        async with guarded_client(timeout_s=5, **{"allow_private": False, **options}) as client:  # type: ignore[arg-type]
            return await client.post(url, content=b"{}")

    return asyncio.run(go())


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0",
        "0.0.0.0",
    ],
)
def test_no_spelling_of_this_machine_is_reached(host: str) -> None:
    with http_server() as (posts, port):
        with pytest.raises((TerminalError, TransientError, httpx2.InvalidURL)) as caught:
            get(f"http://{host}:{port}/")
        assert not isinstance(caught.value, TransientError) or "resolved" in str(caught.value)
        assert posts.received == []


def test_a_name_that_changes_its_mind_gains_nothing() -> None:
    """Rebinding: the second answer would be private, so there must be no second question."""
    asked: list[str] = []

    async def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["93.184.216.34"] if len(asked) > 1 else ["127.0.0.1"]

    with http_server() as (posts, port):
        get(f"http://hooks.example:{port}/", resolver=resolver, allow_private=True)
        assert asked == ["hooks.example"] and len(posts.received) == 1
        assert posts.received[0][0]["host"] == f"hooks.example:{port}"


def test_one_private_address_among_public_ones_is_enough() -> None:
    async def resolver(host: str, port: int) -> list[str]:
        return ["93.184.216.34", "10.0.0.7"]

    with pytest.raises(TerminalError, match=r"10\.0\.0\.7 is a private address"):
        get("http://hooks.example/", resolver=resolver)


def test_the_next_address_is_tried() -> None:
    async def resolver(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    with http_server() as (posts, port):
        assert get(f"http://hooks.example:{port}/", resolver=resolver, allow_private=True).status_code == 200
        assert len(posts.received) == 1


def test_redirects_are_not_followed() -> None:
    with http_server() as (posts, port):
        posts.answers = [Answer(302, {"location": f"http://127.0.0.1:{port}/inner"})]
        assert get(f"http://127.0.0.1:{port}/", allow_private=True).status_code == 302
        assert len(posts.received) == 1


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    with http_server() as (_, port):
        assert get(f"http://127.0.0.1:{port}/", allow_private=True).status_code == 200


def test_tls_verifies_the_name_though_the_connection_goes_to_an_address(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(made.certificate, made.key)
    names: list[str | None] = []
    server_side.sni_callback = lambda _socket, name, _context: names.append(name)

    async def resolver(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async def go() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_side)
        port = server.sockets[0].getsockname()[1]
        trusting = ssl.create_default_context(cafile=str(made.certificate))
        async with guarded_client(allow_private=True, timeout_s=5, resolver=resolver, verify=trusting) as client:
            assert (await client.get(f"https://hooks.example:{port}/")).status_code == 200
            with pytest.raises(Exception, match=r"(?i)certificate|hostname"):
                await client.get(f"https://other.example:{port}/")
        server.close()
        await server.wait_closed()

    asyncio.run(go())
    assert names[0] == "hooks.example"


def test_the_systems_resolver_reads_odd_spellings_as_the_addresses_they_are() -> None:
    assert asyncio.run(resolve("2130706433", 80)) == ["127.0.0.1"]
