"""The Segment wire format: bytes of a request -> calls, one by one, nothing guessed.

Two readers give the same calls. The strict one (msgspec, straight into ``Call``) reads what well-behaved
clients send. Whatever it refuses goes to the lenient one (standard JSON), which knows the habits of real clients
(``NaN``, lone surrogates, numbers and blanks in odd places, dates without a time) and names what is wrong with
each single call, so that one bad call never takes its batch down.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from cadenza.clock import EPOCH, MICROSECOND
from cadenza.errors import CadenzaError

TYPES = frozenset({"track", "identify", "page", "screen", "group", "alias"})
"""The calls there are."""

MAX_DEPTH = 32
"""Levels of nesting inside one call."""

_EPOCH_UTC = EPOCH.replace(tzinfo=UTC)


class Malformed(CadenzaError):
    """A request body that cannot be read as calls at all. The client must not send it again."""


class Unusable(Exception):
    """One call that cannot be used: ``reason`` is from a small fixed set, ``detail`` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


class Call(msgspec.Struct, gc=False):
    """One call as it came. Fields that are not here (``integrations``, ``_metadata`` ...) steer other systems."""

    type: str | None = None
    event: str | None = None
    userId: str | int | None = None
    anonymousId: str | int | None = None
    previousId: str | int | None = None
    groupId: str | int | None = None
    messageId: str | int | None = None
    timestamp: datetime | None = None
    originalTimestamp: datetime | None = None
    sentAt: datetime | None = None
    name: str | None = None
    category: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: msgspec.Raw = msgspec.Raw()
    writeKey: str | None = None


class Bad(msgspec.Struct, frozen=True):
    """A call that cannot be used, with its bytes as far as they can be kept. ``headers``: the body is a whole webhook,
    to be read again with these headers of its request."""

    reason: str
    detail: str
    message_id: str | None
    body: bytes
    headers: dict[str, str] | None = None


class Decoded(msgspec.Struct, frozen=True, kw_only=True):
    """A request body: its calls in order, those that cannot be used, and what the envelope says."""

    calls: list[Call]
    bad: list[Bad]
    write_key: str | None
    sent_at: datetime | None
    context: msgspec.Raw | None = None
    size: int


class _Envelope(msgspec.Struct, gc=False):
    batch: list[Call]
    sentAt: datetime | None = None
    writeKey: str | None = None
    context: msgspec.Raw = msgspec.Raw()


_read_batch = msgspec.json.Decoder(_Envelope).decode
_read_call = msgspec.json.Decoder(Call).decode


def decode(body: bytes, batch: bool) -> Decoded:
    """Read a request body: an object with ``batch``, or one call. Raises Malformed."""
    try:
        # msgspec checks the encoding of the strings it reads, not of those it keeps raw.
        if not body.isascii():
            body.decode()
        if batch:
            envelope = _read_batch(body)
            context = envelope.context if bytes(envelope.context) else None
            return Decoded(
                calls=envelope.batch,
                bad=[],
                write_key=envelope.writeKey,
                sent_at=envelope.sentAt,
                context=context,
                size=len(body),
            )
        call = _read_call(body)
        return Decoded(calls=[call], bad=[], write_key=call.writeKey, sent_at=None, size=len(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_lenient(body, batch)


class _BatchSeen(msgspec.Struct, gc=False):
    batch: list[msgspec.Raw]
    writeKey: str | None = None


class _CallSeen(msgspec.Struct, gc=False):
    writeKey: str | None = None


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What the door sees of a body: how many calls it has, and the write key in it."""

    calls: int
    write_key: str | None


_see_batch = msgspec.json.Decoder(_BatchSeen).decode
_see_call = msgspec.json.Decoder(_CallSeen).decode


def look(body: bytes, batch: bool) -> Seen:
    """Whether a body can be read as calls at all, without reading them: what ``decode`` would refuse as a whole is
    refused here, in the same words. Raises Malformed."""
    try:
        # msgspec checks the encoding of the strings it reads, not of those it skips.
        if not body.isascii():
            body.decode()
        if batch:
            envelope = _see_batch(body)
            return Seen(len(envelope.batch), envelope.writeKey)
        return Seen(1, _see_call(body).writeKey)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded = _decode_lenient(body, batch)
        return Seen(len(decoded.calls) + len(decoded.bad), decoded.write_key)


# --- the lenient reader -----------------------------------------------------------------------


def _decode_lenient(body: bytes, batch: bool) -> Decoded:
    value = parse_object(body)
    items = value.get("batch") if batch else [value]
    if not isinstance(items, list):
        raise Malformed("The body has no 'batch' array.", remedy='Send {"batch": [...]}.')
    context = value.get("context")
    return msgspec.structs.replace(
        translated(items, _as_it_is, size=len(body)),
        write_key=_lenient_text(value.get("writeKey")), sent_at=_lenient_instant(value.get("sentAt")),
        context=msgspec.Raw(_kept(context)) if batch and isinstance(context, dict) else None,
    )  # fmt: skip


def translated(items: Iterable[Any], segment_form: Callable[[Any], Any], *, size: int) -> Decoded:
    """The calls of parsed JSON values, each first given its Segment form by ``segment_form`` (which may raise Unusable). What
    cannot be used is kept with its reason: in the Segment form, so that it can be mended, or as it came when it has
    none. ``size``: bytes of the request."""
    calls, bad = [], []
    for item in items:
        form = item
        try:
            form = segment_form(item)
            calls.append(call_of(form))
        except Unusable as error:
            bad.append(Bad(error.reason, error.detail, _id_for_refusal(form), _kept(form)))
    return Decoded(calls=calls, bad=bad, write_key=None, sent_at=None, size=size)


def _as_it_is(item: Any) -> Any:
    return item


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is. Raises Malformed."""
    value = parse(body)
    if not isinstance(value, dict):
        raise Malformed("The body is not a JSON object.", remedy="Send one JSON object.")
    return value


def parse(body: bytes) -> Any:
    """Any JSON value, as lenient as clients need: a byte order mark, ``NaN``, half a surrogate pair. Raises Malformed."""
    try:
        return json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8 (byte {error.start}).", remedy="Send UTF-8.") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON: {error}.", remedy="Send one JSON object.") from None
    except (RecursionError, ValueError) as error:
        raise Malformed(f"The body is not usable JSON: {error}.", remedy=f"Nest at most {MAX_DEPTH} levels.") from None


def call_of(item: Any) -> Call:
    """A call from parsed JSON in the Segment form. Raises Unusable."""
    if not isinstance(item, dict):
        raise Unusable("not_an_object", "A call must be a JSON object.")
    clean = _clean(item, 0)
    return Call(
        type=_text(clean, "type"), event=_text(clean, "event"),
        userId=_id(clean, "userId"), anonymousId=_id(clean, "anonymousId"), previousId=_id(clean, "previousId"),
        groupId=_id(clean, "groupId"), messageId=_id(clean, "messageId"),
        timestamp=_instant(clean, "timestamp"), originalTimestamp=_instant(clean, "originalTimestamp"),
        sentAt=_lenient_instant(clean.get("sentAt")), name=_text(clean, "name"), category=_text(clean, "category"),
        properties=_object(clean, "properties"), traits=_object(clean, "traits"),
        context=_raw(_object(clean, "context")), writeKey=_lenient_text(clean.get("writeKey")),
    )  # fmt: skip


def _raw(context: dict[str, Any] | None) -> msgspec.Raw:
    # Nothing and not ``{}``, which would hide the context of the whole batch.
    return msgspec.Raw() if context is None else msgspec.Raw(msgspec.json.encode(context))


def _clean(value: Any, depth: int) -> Any:
    """The same value, fit for every JSON reader: finite numbers, whole characters, bounded depth."""
    if depth > MAX_DEPTH:
        raise Unusable("too_deep", f"A call may nest {MAX_DEPTH} levels at most.")
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise Unusable("not_finite", f"{value} is not a number that JSON can hold.")
    if isinstance(value, dict):
        return {_whole(key): _clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item, depth + 1) for item in value]
    return value


def _whole(text: str) -> str:
    """Half of a surrogate pair becomes U+FFFD: no store can hold it."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _text(item: dict[str, Any], field: str) -> str | None:
    value = item.get(field)
    if value is None or isinstance(value, str):
        return value
    raise Unusable(f"type: {field}", f"'{field}' must be a string.")


def _lenient_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _id(item: dict[str, Any], field: str) -> str | int | None:
    value = item.get(field)
    if isinstance(value, bool) or not (value is None or isinstance(value, str | int | float)):
        raise Unusable(f"type: {field}", f"'{field}' must be a string or a number.")
    if isinstance(value, float):
        return int(value) if value.is_integer() else msgspec.json.encode(value).decode()
    return value


def _object(item: dict[str, Any], field: str) -> dict[str, Any] | None:
    value = item.get(field)
    if value is None or value == "":
        return None
    if isinstance(value, dict):
        return value
    raise Unusable(f"type: {field}", f"'{field}' must be an object.")


def _instant(item: dict[str, Any], field: str) -> datetime | None:
    value = item.get(field)
    if value is None or value == "":
        return None
    parsed = parse_instant(value)
    if parsed is None:
        raise Unusable(f"type: {field}", f"'{field}' must be an ISO 8601 date and time.")
    return parsed


def _lenient_instant(value: Any) -> datetime | None:
    """``sentAt`` only corrects a clock: what cannot be read corrects nothing."""
    return parse_instant(value)


def parse_instant(value: Any) -> datetime | None:
    """The instant of an ISO 8601 text, or None. Without a zone it is UTC."""
    if not isinstance(value, str):
        return None
    try:
        return msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        pass
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        return None


def micros(instant: datetime) -> int:
    """µs since 1970 UTC of an instant with or without a zone."""
    return (instant - (EPOCH if instant.tzinfo is None else _EPOCH_UTC)) // MICROSECOND


def _id_for_refusal(item: Any) -> str | None:
    value = item.get("messageId") if isinstance(item, dict) else None
    return _whole(value)[:100] if isinstance(value, str) and value else None


def _kept(item: Any) -> bytes:
    """The bytes of something that may hold anything JSON text can."""
    return json.dumps(item, ensure_ascii=True, separators=(",", ":")).encode()
