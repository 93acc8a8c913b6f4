"""The dialects by name. A name is written into the log with the request: it never changes its meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from cadenza.errors import TerminalError
from cadenza.runtime.dialects import cloudevents, customerio, jsonlines, posthog, segment
from cadenza.runtime.dialects.received import Received
from cadenza.runtime.wire import Decoded, Seen, look as look_at_body


class _Dialect(NamedTuple):
    decode: Callable[[Received], Decoded]
    write_key: Callable[[Received], str | None]


DIALECTS: Mapping[str, _Dialect] = MappingProxyType({
    "segment": _Dialect(segment.decode, segment.write_key),
    "rudder-merge": _Dialect(segment.decode_merge, segment.write_key),
    "jitsu": _Dialect(segment.decode_jitsu, segment.no_write_key),
    "jsonlines": _Dialect(jsonlines.decode, jsonlines.write_key),
    "posthog": _Dialect(posthog.decode, posthog.write_key),
    "customerio": _Dialect(customerio.decode, segment.no_write_key),
    "cloudevents": _Dialect(cloudevents.decode, segment.no_write_key),
})  # fmt: skip


def decode(received: Received) -> Decoded:
    """The calls of a request, complete: types and the sender's clock are filled in. Raises Malformed; TerminalError when this
    version does not know the dialect."""
    return _named(received).decode(received)


def look(received: Received) -> Seen:
    """What the door sees of a request: whether it can be read at all, how many calls it has, the write key in it. Raises
    what ``decode`` raises."""
    if received.dialect == "segment" and not jsonlines.is_meant(received):
        return look_at_body(received.body, not received.call_type)
    decoded = decode(received)
    return Seen(len(decoded.calls) + len(decoded.bad), write_key(received))


def write_key(received: Received) -> str | None:
    """The write key that the body carries, None when it carries none. Raises Malformed."""
    return _named(received).write_key(received)


def _named(received: Received) -> _Dialect:
    dialect = DIALECTS.get(received.dialect)
    if dialect is None:
        raise TerminalError(
            f"There is no dialect {received.dialect!r}.", remedy="A newer Cadenza wrote this request: use that version."
        )
    return dialect
