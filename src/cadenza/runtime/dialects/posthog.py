"""The PostHog wire format: ``{api_key, batch}`` of servers, and the single events and arrays of browsers.

Names that begin with ``$`` are PostHog's own: some make a call (``$identify``, ``$set``, ``$create_alias``, ``$pageview``,
``$screen``, ``$groupidentify``), as properties they go to ``context.posthog``, away from what the caller said. ``$set`` are
traits on whatever event they ride; ``$set_once`` and ``$unset`` have no counterpart and stay in the context.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import msgspec

from cadenza.clock import EPOCH
from cadenza.runtime.dialects.received import Received
from cadenza.runtime.wire import Decoded, Malformed, Unusable, parse, parse_instant, translated

_LARGEST = 4 * 1024 * 1024
"""Bytes that a base64 form may unpack to."""
_PAGE = {"$current_url": "url", "$pathname": "path", "$referrer": "referrer", "$title": "title"}
_SENT = EPOCH + timedelta(days=10_000)
"""Any instant: browsers say how long ago an event was (``offset``), and only the difference to it counts."""


def decode(received: Received) -> Decoded:
    """The events of a request. Raises Malformed."""
    value = _read(received)
    events, sent = [value], None
    if isinstance(value, list):
        events = value
    elif isinstance(value, dict):
        sent = parse_instant(value.get("sent_at") or value.get("sentAt"))
        for name in ("batch", "data"):
            if isinstance(value.get(name), list):
                events = value[name]
    decoded = translated(events, _call, size=len(received.body))
    return msgspec.structs.replace(decoded, write_key=_key_in(value), sent_at=sent)


def write_key(received: Received) -> str | None:
    """``api_key`` or ``token`` of the body, of its first event, or of that event's properties. Raises Malformed."""
    return _key_in(_read(received))


def _key_in(value: Any) -> str | None:
    if isinstance(value, list):
        return _key_in(value[0]) if value else None
    if not isinstance(value, dict):
        return None
    properties = value.get("properties")
    inner = properties if isinstance(properties, dict) else {}
    for key in (value.get("api_key"), value.get("token"), inner.get("token")):
        if isinstance(key, str) and key:
            return key
    return _key_in(value.get("data"))


def _read(received: Received) -> Any:
    """The JSON of a body, which may be a form's ``data=`` in base64. Raises Malformed."""
    body = received.body
    start = body.lstrip()[:1]
    if start in (b"{", b"["):
        return parse(body)
    if body.startswith(b"data="):
        body = parse_qs(body.decode("latin-1"), keep_blank_values=True)["data"][0].encode("latin-1")
    if body.lstrip()[:1] in (b"{", b"["):
        return parse(body)
    try:
        # A '+' that a form turned into a blank is a '+' again.
        raw = base64.b64decode(body.strip().replace(b" ", b"+"), validate=True)
        if raw[:2] == b"\x1f\x8b":
            unpacker = zlib.decompressobj(wbits=31)
            raw = unpacker.decompress(raw, _LARGEST)
            if not unpacker.eof:
                raise Malformed("The gzip data is cut off or too large.", remedy="Send smaller batches.")
    except (binascii.Error, zlib.error):
        raise Malformed("The body is neither JSON nor base64 of JSON.", remedy="Send JSON.") from None
    return parse(raw)


def _call(event: Any) -> dict[str, Any]:
    """The Segment form of one event. Raises Unusable."""
    if not isinstance(event, dict):
        raise Unusable("not_an_object", "An event must be a JSON object.")
    name, given = event.get("event"), _object(event.get("properties"))
    own = {
        key: value for key, value in given.items() if not key.startswith("$") and key not in ("distinct_id", "token")
    }
    theirs = {key: value for key, value in given.items() if key.startswith("$")}
    for key in ("$set", "$set_once", "$unset"):
        if key in event:
            theirs[key] = event[key]
    traits = _object(theirs.pop("$set", None))
    person = event.get("distinct_id") or given.get("distinct_id") or event.get("$distinct_id")
    call = _ids(person, theirs) | _times(event) | {"messageId": event.get("uuid") or theirs.get("$insert_id")}
    call |= {"type": "track", "event": name, "properties": own}
    if name == "$create_alias":
        # The other way round than everywhere else: the event is of the earlier id.
        call |= {
            "type": "alias",
            "userId": given.get("alias"),
            "previousId": person,
            "anonymousId": None,
            "properties": {},
        }
    elif name == "$merge_dangerously":
        call |= {
            "type": "alias",
            "userId": person,
            "previousId": given.get("alias"),
            "anonymousId": None,
            "properties": {},
        }
    elif name in ("$identify", "$set"):
        call |= {"type": "identify", "traits": traits, "anonymousId": theirs.get("$anon_distinct_id")}
        traits = {}
    elif name == "$groupidentify":
        call |= _group(person, theirs)
    elif name == "$pageview":
        call |= {"type": "page", "properties": _page(own, theirs)}
    elif name == "$screen":
        call |= {"type": "screen", "name": theirs.get("$screen_name")}
    return call | {"context": _context(theirs, traits)}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _ids(person: Any, theirs: dict[str, Any]) -> dict[str, Any]:
    """An id of nobody in particular is an anonymous one."""
    nameless = theirs.get("$is_identified") is False or theirs.get("$process_person_profile") is False
    return {"anonymousId": person} if nameless else {"userId": person}


def _times(event: dict[str, Any]) -> dict[str, Any]:
    offset = event.get("offset")
    if isinstance(offset, int | float) and not isinstance(offset, bool) and not event.get("timestamp"):
        try:
            ago = _SENT - timedelta(milliseconds=max(0.0, float(offset)))
        except OverflowError:
            raise Unusable("timestamp_out_of_range", "'offset' is too large.") from None
        return {"timestamp": ago.isoformat(), "sentAt": _SENT.isoformat()}
    return {"timestamp": event.get("timestamp")}


def _group(person: Any, theirs: dict[str, Any]) -> dict[str, Any]:
    """The same key in two types of group is two groups, so the type is part of the id. Servers describe the group only and
    make a person up (from type and key, or by chance); browsers name the one who belongs to it."""
    kind, key = theirs.get("$group_type"), theirs.get("$group_key")
    if kind in (None, "") or key in (None, ""):
        raise Unusable("missing: $group_key", "A $groupidentify needs '$group_type' and '$group_key'.")
    made_up = theirs.get("$is_server") is True or str(person).lstrip("$") == f"{kind}_{key}"
    traits = {"type": kind, "key": key} | _object(theirs.get("$group_set"))
    ids: dict[str, Any] = {"userId": None, "anonymousId": None} if made_up else {}
    return ids | {"type": "group", "groupId": f"{kind}:{key}", "traits": traits, "properties": None}


def _page(own: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    return {name: theirs[key] for key, name in _PAGE.items() if key in theirs} | own


def _context(theirs: dict[str, Any], traits: dict[str, Any]) -> dict[str, Any]:
    library = {name: theirs[key] for name, key in (("name", "$lib"), ("version", "$lib_version")) if key in theirs}
    context: dict[str, Any] = {"library": library} if library else {}
    kept = {key.removeprefix("$"): value for key, value in theirs.items() if key not in ("$lib", "$lib_version")}
    groups = _object(theirs.get("$groups"))
    if len(groups) == 1:
        context["groupId"] = ":".join(str(part) for part in next(iter(groups.items())))
    if traits:
        context["traits"] = traits
    return context | ({"posthog": kept} if kept else {})
