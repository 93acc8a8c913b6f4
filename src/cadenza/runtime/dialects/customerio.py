"""The Customer.io Track API: one small request a call, the person in the path.

``PUT customers/{id}`` is an identify, events are track, page or screen calls, ``merge_customers`` an alias, and what has
no call of its own (devices, deletion, suppression) an event with a fixed name. Calls carry no id but events that were
given one; an event with a timestamp gets its id from what it says, so that its repetition is seen.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import msgspec

from cadenza.clock import EPOCH
from cadenza.runtime.dialects.received import Received
from cadenza.runtime.wire import Decoded, Unusable, parse_object, translated

_NAMED = {"delete": "User Deleted", "suppress": "User Suppressed", "unsuppress": "User Unsuppressed"}
_EVENT_TYPES = {"page": "page", "screen": "screen"}


def decode(received: Received) -> Decoded:
    """The one call of a request; ``call_type`` says which: identify, event, device, device_delete, merge, delete, suppress or
    unsuppress. Facts: ``id`` (the person), ``device``. Raises Malformed."""
    body = parse_object(received.body) if received.body.strip() else {}

    def segment_form(item: Any) -> dict[str, Any]:
        return _call(received, item)

    return translated([body], segment_form, size=len(received.body))


def _call(received: Received, body: dict[str, Any]) -> dict[str, Any]:
    person, kind = received.facts.get("id", ""), received.call_type
    if kind == "identify":
        traits = {key: value for key, value in body.items() if key != "anonymous_id"}
        return {"type": "identify", "userId": person, "anonymousId": body.get("anonymous_id"), "traits": traits}
    if kind == "event":
        return _event(person, body)
    if kind == "device":
        return _device(person, body)
    if kind == "merge":
        return _merge(body)
    if kind == "device_delete":
        return _named(person, "Device Deleted", {"id": received.facts.get("device", "")})
    return _named(person, _NAMED[kind], body)


def _named(person: str, event: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "track", "event": event, "userId": person, "properties": properties}


def _event(person: str, body: dict[str, Any]) -> dict[str, Any]:
    name, stamp, given = body.get("name"), body.get("timestamp"), body.get("id")
    kind = _EVENT_TYPES.get(str(body.get("type")), "track")
    call: dict[str, Any] = {
        "type": kind, "userId": person, "anonymousId": body.get("anonymous_id"), "properties": body.get("data"),
        "event" if kind == "track" else "name": name,
    }  # fmt: skip
    if stamp not in (None, ""):
        call["timestamp"] = _instant(stamp)
    if given not in (None, ""):
        call["messageId"] = given
    elif stamp not in (None, ""):
        said = msgspec.json.encode([person, body], order="deterministic")
        call["messageId"] = f"customerio-{hashlib.sha256(said).hexdigest()[:40]}"
    return call


def _device(person: str, body: dict[str, Any]) -> dict[str, Any]:
    device = body.get("device")
    if not isinstance(device, dict) or not device.get("id"):
        raise Unusable("missing: device", "A device needs 'device' with its 'id'.")
    attributes = device.get("attributes")
    properties = {key: value for key, value in device.items() if key != "attributes"}
    properties |= attributes if isinstance(attributes, dict) else {}
    context = {"device": {"token": device["id"], "type": device.get("platform")}}
    return _named(person, "Device Created or Updated", properties) | {"context": context}


def _merge(body: dict[str, Any]) -> dict[str, Any]:
    """``secondary`` becomes ``primary``. An id and an e-mail address of one person are an identify."""
    (kept_by, kept), (gone_by, gone) = _named_person(body, "primary"), _named_person(body, "secondary")
    if kept_by != "email" and gone_by != "email":
        return {"type": "alias", "userId": kept, "previousId": gone}
    if kept_by == gone_by:
        raise Unusable("unsupported: merge by email", "A merge of two persons known by e-mail has no counterpart here.")
    user, email = (gone, kept) if kept_by == "email" else (kept, gone)
    return {"type": "identify", "userId": user, "traits": {"email": email}}


def _named_person(body: dict[str, Any], which: str) -> tuple[str, Any]:
    named = body.get(which)
    if isinstance(named, dict):
        for key in ("id", "cio_id", "email"):
            if named.get(key) not in (None, ""):
                return key, named[key]
    raise Unusable(f"missing: {which}", f"'{which}' needs an id, a cio_id or an email.")


def _instant(stamp: Any) -> str:
    try:
        return (EPOCH + timedelta(seconds=float(stamp))).isoformat()
    except (ValueError, TypeError, OverflowError):
        raise Unusable("type: timestamp", "'timestamp' must be seconds since 1970.") from None
