"""The one guarded HTTP transport: every outward HTTP call is made through it.

The host is resolved here, every address it has is checked, and the connection is made to the address that was
checked: a name that answers differently a moment later (rebinding) gains nothing. TLS still verifies the name.
No redirect is followed, no proxy taken from the environment.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import httpcore2
import httpx2

from cadenza.errors import TerminalError, TransientError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Every address of a host, as text. Raises OSError."""

_EMBEDDING = tuple(ipaddress.ip_network(net) for net in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96"))
"""IPv6 networks that carry an IPv4 address in their last 32 bits."""
_NEVER = tuple(
    ipaddress.ip_network(net)
    for net in ("0.0.0.0/8", "169.254.0.0/16", "255.255.255.255/32", "fe80::/10", "fd00:ec2::/32", "64:ff9b:1::/48")
)
"""Refused even where private addresses are allowed: this host's wildcard, link-local, cloud metadata."""
_PRIVATE = tuple(
    ipaddress.ip_network(net)
    for net in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7")
)


def forbidden(address: str, allow_private: bool = False) -> str | None:
    """Why ``address`` must not be connected to, or None.

    >>> forbidden('::ffff:10.0.0.1'), forbidden('93.184.216.34')
    ('10.0.0.1 is a private address', None)
    """
    try:
        plain: IPAddress = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"{address[:60]} is not an IP address"
    for inner in _carried(plain):
        if reason := forbidden(str(inner), allow_private):
            return reason
    if any(plain in net for net in _NEVER) or plain.is_multicast or plain.is_unspecified:
        return f"{plain} is not the address of another machine's service"
    if any(plain in net for net in _PRIVATE):
        return None if allow_private else f"{plain} is a private address"
    return None if plain.is_global else f"{plain} is a reserved address"


def _carried(address: IPAddress) -> list[IPAddress]:
    """The IPv4 addresses that an IPv6 address stands for (mapped, compatible, NAT64, 6to4, Teredo)."""
    if isinstance(address, ipaddress.IPv4Address) or address in (
        ipaddress.ip_address("::1"),
        ipaddress.ip_address("::"),
    ):
        return []
    if any(address in net for net in _EMBEDDING):
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    if address.sixtofour:
        return [address.sixtofour]
    return list(address.teredo) if address.teredo else []


async def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host by the system's resolver. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _GuardedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects only to addresses that were checked."""

    def __init__(self, allow_private: bool, resolver: Resolver) -> None:
        self._allow_private, self._resolver = allow_private, resolver
        self._network: httpcore2.AsyncNetworkBackend = httpcore2.AnyIOBackend()  # type: ignore[assignment]

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:  # fmt: skip
        addresses = await self._checked(host, port, timeout)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def _checked(self, host: str, port: int, timeout: float | None) -> list[str]:
        try:
            addresses = await asyncio.wait_for(self._resolver(host, port), timeout)
        except (OSError, UnicodeError, TimeoutError) as error:
            raise TransientError(f"The host '{host}' cannot be resolved: {error}.") from error
        if not addresses:
            raise TransientError(f"The host '{host}' has no address.")
        for address in addresses:
            # one bad address among good ones is reason enough: an attacker's name server chooses the order
            if reason := forbidden(address, self._allow_private):
                raise TerminalError(
                    f"Refused to connect to '{host}': {reason}.",
                    remedy="If the receiver is your own, write allow_private: true in the destination's settings.",
                )
        return addresses

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        raise TerminalError("Local sockets are not a destination.")


class _Body(httpx2.AsyncByteStream):
    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        closing = getattr(self._stream, "aclose", None)
        if closing is not None:
            await closing()


class GuardedTransport(httpx2.AsyncBaseTransport):
    """The transport for an ``httpx2.AsyncClient``. httpcore2's errors pass through unchanged, so that a caller can tell
    what happened before the request was sent from what happened after; refusals raise TerminalError."""

    def __init__(
        self, *, allow_private: bool = False, resolver: Resolver = resolve, verify: ssl.SSLContext | None = None,
        connections: int = 32,
    ) -> None:  # fmt: skip
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=verify or ssl.create_default_context(), max_connections=connections, keepalive_expiry=15.0,
            network_backend=_GuardedNetwork(allow_private, resolver),
        )  # fmt: skip

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        response = await self._pool.handle_async_request(
            httpcore2.Request(
                method=request.method,
                url=target,
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(
            status_code=response.status, headers=response.headers, stream=_Body(response.stream),  # type: ignore[arg-type]
            extensions=response.extensions,
        )  # fmt: skip

    async def aclose(self) -> None:
        await self._pool.aclose()


def guarded_client(
    *, allow_private: bool, timeout_s: float, resolver: Resolver = resolve, verify: ssl.SSLContext | None = None
) -> httpx2.AsyncClient:
    """A client that connects only where it may, follows no redirect and reads nothing from the environment."""
    return httpx2.AsyncClient(
        transport=GuardedTransport(allow_private=allow_private, resolver=resolver, verify=verify),
        timeout=httpx2.Timeout(timeout_s), follow_redirects=False, trust_env=False,
        headers={"user-agent": "Cadenza"},
    )  # fmt: skip
