"""What the door knows of a request, kept beside its body in the journal."""

from __future__ import annotations

import msgspec

from cadenza.runtime.dialects.received import Received


class Receipt(msgspec.Struct, frozen=True, array_like=True):
    """``source``: whose write key it was. The rest is what its dialect sees beside the body (``dialects/received.py``)."""

    source: str
    dialect: str = "segment"
    call_type: str = ""
    facts: dict[str, str] = {}

    def received(self, body: bytes) -> Received:
        """The request again."""
        return Received(dialect=self.dialect, call_type=self.call_type, body=body, facts=self.facts)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Receipt).decode


def write_receipt(receipt: Receipt) -> bytes:
    """The meta bytes of a journal entry."""
    return _encode(receipt)


def read_receipt(meta: bytes) -> Receipt:
    """The receipt of a journal entry. Raises msgspec.DecodeError."""
    return _decode(meta)
