"""The Segment wire format, which RudderStack's and Jitsu's clients speak too, each with a little more.

``sentat``: a header in which RudderStack's browser client says when it sent. ``content-type``: JSON lines may come to
the batch path as ``application/x-ndjson``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from cadenza.runtime.dialects import jsonlines
from cadenza.runtime.dialects.received import Received
from cadenza.runtime.wire import (
    TYPES,
    Call,
    Decoded,
    Unusable,
    decode as decode_body,
    parse_instant,
    parse_object,
    translated,
)


class _Keyed(msgspec.Struct):
    writeKey: str | None = None


_read_key = msgspec.json.Decoder(_Keyed).decode


def write_key(received: Received) -> str | None:
    """The ``writeKey`` of the body. Raises Malformed."""
    if jsonlines.is_meant(received):
        return None
    try:
        return _read_key(received.body).writeKey
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        key = parse_object(received.body).get("writeKey")
        return key if isinstance(key, str) else None


def decode(received: Received) -> Decoded:
    """Calls of ``{"batch": [...]}`` or one call. Raises Malformed."""
    if not received.call_type and jsonlines.is_meant(received):
        return jsonlines.decode(received)
    decoded = decode_body(received.body, not received.call_type)
    if received.call_type:
        for call in decoded.calls:
            call.type = received.call_type
    elif not {call.type for call in decoded.calls} <= TYPES:
        decoded = _with_other_types(decoded, received.body)
    return _sent(decoded, received)


def _with_other_types(decoded: Decoded, body: bytes) -> Decoded:
    """A batch in which there is something else than the six calls, read again so that it is kept whole, or as a merge."""
    items = parse_object(body)["batch"]
    again = translated(items, _merge_or_itself, size=decoded.size)
    return msgspec.structs.replace(decoded, calls=again.calls, bad=again.bad)


def _merge_or_itself(item: Any) -> Any:
    kind = item.get("type") if isinstance(item, dict) else None
    if kind == "merge":
        return _merged(item)
    if isinstance(item, dict) and kind not in TYPES:
        raise Unusable("unknown_type", f"There is no call of type {kind!r}.")
    return item


def _sent(decoded: Decoded, received: Received) -> Decoded:
    said = received.facts.get("sentat")
    if said is None or decoded.sent_at is not None:
        return decoded
    return msgspec.structs.replace(decoded, sent_at=parse_instant(said))


# --- Jitsu ------------------------------------------------------------------------------------------


def decode_jitsu(received: Received) -> Decoded:
    """One call. On calls of every type Jitsu repeats what it remembers: the ``groupId``, which Segment has in the context, and
    ``context.traits``, in which it mixes those of the person with those of the group. The latter say nothing new and would
    make the group's name the person's, so they are only kept, as ``context.rememberedTraits``. The write key in the body is
    masked and means nothing. Raises Malformed."""
    decoded = decode(received)
    for call in decoded.calls:
        call.context = _remembered(call)
    return msgspec.structs.replace(decoded, write_key=None)


def _remembered(call: Call) -> msgspec.Raw:
    try:
        context = msgspec.json.decode(call.context) if bytes(call.context) else {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return call.context
    if not isinstance(context, dict):
        return call.context
    if call.type != "group" and call.groupId:
        context.setdefault("groupId", call.groupId)
    if call.type != "identify" and context.get("traits"):
        context["rememberedTraits"] = context.pop("traits")
    return msgspec.Raw(msgspec.json.encode(context))


def no_write_key(received: Received) -> str | None:
    """For formats that never carry the key in the body."""
    return None


# --- RudderStack's merge ------------------------------------------------------------------------------


def decode_merge(received: Received) -> Decoded:
    """RudderStack's ``merge`` call: two identifiers of one person, as an alias of two user ids, or an identify that
    says both. Raises Malformed."""
    value = parse_object(received.body)
    decoded = translated([value], _merged, size=len(received.body))
    key = value.get("writeKey")
    return _sent(msgspec.structs.replace(decoded, write_key=key if isinstance(key, str) else None), received)


_KINDS = {"user_id": "userId", "userId": "userId", "anonymous_id": "anonymousId", "anonymousId": "anonymousId"}
_TRAITS = {"email": "email", "phone": "phone", "mobile": "phone"}


def _merged(item: dict[str, Any]) -> dict[str, Any]:
    named = item.get("mergeProperties")
    if not isinstance(named, list) or len(named) != 2 or not all(isinstance(one, dict) for one in named):
        raise Unusable(
            "missing: mergeProperties", "A merge needs 'mergeProperties' with two objects of type and value."
        )
    call = {key: item.get(key) for key in ("messageId", "timestamp", "originalTimestamp", "sentAt", "context")}
    first, second = ((one.get("type"), one.get("value")) for one in named)
    if first[0] == second[0] and _KINDS.get(str(first[0])) == "userId":
        return call | {"type": "alias", "userId": first[1], "previousId": second[1]}
    if first[0] == second[0] or not {first[0], second[0]} <= {*_KINDS, *_TRAITS}:
        raise Unusable("unsupported: merge", f"A merge of {first[0]!r} and {second[0]!r} has no counterpart here.")
    ids = {_KINDS[str(kind)]: value for kind, value in (first, second) if kind in _KINDS}
    traits = {_TRAITS[str(kind)]: value for kind, value in (first, second) if kind in _TRAITS}
    return call | {"type": "identify", "traits": traits} | ids
