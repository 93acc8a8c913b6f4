"""CloudEvents 1.0 over HTTP: structured, batch and binary mode, JSON format.

An event becomes a track call: ``type`` is the event, ``data`` its properties, ``subject`` the user id, ``time`` the timestamp.
Extension attributes say more: ``calltype`` (identify, group ...: ``data`` are the traits), ``userid``, ``anonymousid``,
``groupid``, ``previousid``. ``source`` and ``id`` together name an event once and for all: they make its message id.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any
from urllib.parse import unquote

from cadenza.runtime.dialects.received import Received
from cadenza.runtime.wire import Decoded, Malformed, Unusable, parse, translated

_ATTRIBUTES = frozenset({
    "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "data_base64",
    "calltype", "userid", "anonymousid", "groupid", "previousid",
})  # fmt: skip
_HEADER_PREFIX = "ce-"
_LONGEST_ID = 100


def decode(received: Received) -> Decoded:
    """The events of a request, whatever the mode: ``ce-`` headers make it binary, an array a batch. Raises Malformed."""
    if f"{_HEADER_PREFIX}specversion" in received.facts:
        return translated([_binary(received)], _call, size=len(received.body))
    value = parse(received.body)
    if not isinstance(value, dict | list):
        raise Malformed(
            "The body is neither a CloudEvent nor an array of them.", remedy="Send JSON in the CloudEvents 1.0 format."
        )
    return translated(value if isinstance(value, list) else [value], _call, size=len(received.body))


def _binary(received: Received) -> dict[str, Any]:
    """The event whose attributes are headers and whose data is the body."""
    event: dict[str, Any] = {
        name[len(_HEADER_PREFIX) :]: unquote(value)
        for name, value in received.facts.items()
        if name.startswith(_HEADER_PREFIX)
    }
    media = event["datacontenttype"] = received.facts.get("content-type", "application/json")
    if not received.body:
        return event
    if _is_json(media):
        return event | {"data": parse(received.body)}
    try:
        return event | {"data": received.body.decode()}
    except UnicodeDecodeError:
        return event | {"data_base64": base64.b64encode(received.body).decode()}


def _is_json(media: Any) -> bool:
    kind = str(media or "application/json").partition(";")[0].strip().lower()
    return kind.endswith(("/json", "+json"))


def _call(event: Any) -> dict[str, Any]:
    if not isinstance(event, dict):
        raise Unusable("not_an_object", "A CloudEvent must be a JSON object.")
    if event.get("specversion") != "1.0":
        raise Unusable("unsupported: specversion", f"specversion {event.get('specversion')!r} is not 1.0.")
    for name in ("id", "source", "type"):
        if not isinstance(event.get(name), str) or not event[name]:
            raise Unusable(f"missing: {name}", f"A CloudEvent needs '{name}', a string that is not empty.")
    kind = event.get("calltype") or "track"
    data = _data(event)
    extensions = {name: value for name, value in event.items() if name not in _ATTRIBUTES}
    about = {name: event.get(name) for name in ("source", "subject", "dataschema") if event.get(name)}
    call = {
        "type": kind, "userId": event.get("userid") or event.get("subject"), "anonymousId": event.get("anonymousid"),
        "groupId": event.get("groupid"), "previousId": event.get("previousid"), "timestamp": event.get("time"),
        "messageId": _message_id(event["source"], event["id"]),
        "traits" if kind in ("identify", "group") else "properties": data, "context": {"cloudevent": about | extensions},
    }  # fmt: skip
    return call | ({"event": event["type"]} if kind == "track" else {})


def _data(event: dict[str, Any]) -> dict[str, Any]:
    """The data as an object; what is none is held under ``data`` (``data_base64`` when it is no text)."""
    data = event.get("data")
    if "data_base64" in event and data is None:
        encoded = event["data_base64"]
        if not _is_json(event.get("datacontenttype")):
            return {"data_base64": encoded}
        try:
            data = parse(base64.b64decode(encoded, validate=True))
        except (binascii.Error, ValueError, TypeError, Malformed):
            raise Unusable("type: data_base64", "'data_base64' must be JSON in base64.") from None
    if data is None or isinstance(data, dict):
        return data or {}
    return {"data": data}


def _message_id(source: str, event_id: str) -> str:
    whole = f"{source}#{event_id}"
    return whole if len(whole) <= _LONGEST_ID else f"ce-{hashlib.sha256(whole.encode('utf-8', 'replace')).hexdigest()}"
