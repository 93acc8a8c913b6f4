"""A record of quarantine judged again, as if it came as it is now, at the time at which it came.

A ``call`` is read again with what its request said around it. The normal form (``record``) is written as the call that
it would be, so that the same rules decide about both: nothing comes out of quarantine by a side door. Numbers of an
imported record stay the very digits of its file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from cadenza.clock import from_micros, iso
from cadenza.definitions.project import Project
from cadenza.ledger.quarantine import Quarantined, Readmission, StillRefused
from cadenza.runtime.normalise import Envelope, Normaliser, Prepared
from cadenza.runtime.webhooks import Rules
from cadenza.runtime.wire import TYPES, Decoded, Malformed, decode

_read_envelope = msgspec.json.Decoder(Envelope).decode
_HOLDERS = ("properties", "traits")
_NOTHING = (b"null", b'""')


class Judge:
    """Judges records of quarantine against the project in force. One thread uses it."""

    def __init__(self, project: Callable[[], Project]) -> None:
        self._normaliser = Normaliser(project)
        self._rules = Rules(project)

    def judge(self, item: Quarantined, now: int) -> Readmission | StillRefused:
        """What would become of a record that rests here, if nothing has its message id; ``now`` in µs."""
        if item.kind != "call":
            detail = f"A record of kind '{item.kind}' is made by Cadenza itself and cannot come in again."
            return _refused(item, item.reason, detail)
        body = item.corrected or item.body
        try:
            if item.form == "record":
                return self._record(item, body, now)
            prepared = self._webhook(item, body) if item.form == "webhook" else self._call(item, body)
        except _StillBad as bad:
            return _refused(item, *bad.args)
        except Malformed as error:
            reason = "not_an_object" if item.form == "call" or item.corrected else item.reason
            return _refused(item, reason, error.what)
        for bad in (*prepared.refused, *prepared.rejected):
            return _refused(item, bad.reason, bad.detail)
        at = msgspec.json.decode(prepared.batch.bodies[0])["occurred_at"] if item.imported else None
        return _taken(item, zip(prepared.batch.ids, prepared.batch.bodies, strict=True), at)

    def _call(self, item: Quarantined, body: bytes) -> Prepared:
        """A call as its sender wrote it, or as it was corrected. Raises Malformed."""
        around = _read_envelope(item.envelope) if item.envelope else Envelope(item.at)
        decoded = _named(decode(body, batch=False), item)
        if bytes(around.context) != b"null":
            decoded = msgspec.structs.replace(decoded, context=around.context)
        sent_at = None if around.sent_at is None else from_micros(around.sent_at)
        return self._normaliser.prepare(decoded, item.source, around.received, around.type, sent_at)

    def _webhook(self, item: Quarantined, body: bytes) -> Prepared:
        """A webhook's payload under the rules in force: one call or several, all of which are good. Raises _StillBad."""
        around = _read_envelope(item.envelope) if item.envelope else Envelope(item.at)
        mapped = self._rules.map(item.source, body, around.headers or {})
        calls, bad = mapped.decoded.calls, mapped.decoded.bad
        if bad:
            raise _StillBad(bad[0].reason, bad[0].detail)
        if not calls:
            raise _StillBad(item.reason, "By the rules in force this webhook is ignored now; it can be dropped.")
        return self._normaliser.prepare(mapped.decoded, item.source, around.received)

    def _record(self, item: Quarantined, body: bytes, now: int) -> Readmission | StillRefused:
        """A normal form. Raises _StillBad, Malformed."""
        fields = _object(body)
        received = now if item.imported else _received(item)
        occurred = _occurred(fields, now if item.imported else None)
        if item.imported and not (fields.get("messageId") or item.message_id):
            raise _StillBad("no_message_id", "The record has no message id.")
        decoded = _named(decode(_as_call(fields, occurred), batch=False), item)
        prepared = self._normaliser.prepare(decoded, item.source, received)
        for bad in (*prepared.refused, *prepared.rejected):
            return _refused(item, bad.reason, bad.detail)
        stored = prepared.batch.bodies[0]
        if item.imported:
            stored = _with_exact_numbers(body, stored)
        return _taken(item, [(prepared.batch.ids[0], stored)], occurred if item.imported else None)


class _StillBad(Exception):
    """A normal form that cannot be used: reason and detail."""


def _refused(item: Quarantined, reason: str, detail: str) -> StillRefused:
    return StillRefused(id=item.id, revision=item.revision, reason=reason, detail=detail)


def _taken(item: Quarantined, calls: Iterable[tuple[str, bytes]], at: int | None) -> Readmission:
    return Readmission(
        id=item.id, revision=item.revision, source=item.source, calls=tuple(calls), at=at, imported=item.imported
    )


def _received(item: Quarantined) -> int:
    return _read_envelope(item.envelope).received if item.envelope else item.at


def _named(decoded: Decoded, item: Quarantined) -> Decoded:
    """With the id under which it is kept, where the body has none. A correction may name another."""
    if item.message_id is None:
        return decoded
    for call in decoded.calls:
        if call.messageId in (None, ""):
            call.messageId = item.message_id
    return decoded


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _StillBad("not_an_object", f"The record cannot be read: {error}.") from None
    if not isinstance(fields, dict):
        raise _StillBad("not_an_object", "A record must be a JSON object.")
    return fields


def _occurred(fields: Mapping[str, Any], latest: int | None) -> int:
    """``occurred_at`` of a normal form; not after ``latest``, where history must lie in the past."""
    at = fields.get("occurred_at")
    if isinstance(at, bool) or not isinstance(at, int):
        raise _StillBad("bad_timestamp", "'occurred_at' must be microseconds since 1970 UTC, a whole number.")
    if latest is not None and at > latest:
        raise _StillBad("future_timestamp", "the timestamp lies in the future.")
    if not -(10**16) < at < 10**17:
        raise _StillBad("timestamp_out_of_range", "'occurred_at' is out of range.")
    return at


def _as_call(fields: Mapping[str, Any], occurred: int) -> bytes:
    """The call that has this normal form. The traits of a group's member rode in the context."""
    call = {
        name: value for name, value in fields.items() if name not in ("occurred_at", "flags", "timestamp", "sentAt")
    }
    if fields.get("type") not in TYPES:
        raise _StillBad("unknown_type", f"There is no call of type {fields.get('type')!r}.")
    if fields["type"] == "group" and isinstance(fields.get("context", {}), dict):
        call["context"] = {**fields.get("context", {}), "traits": call.pop("traits", None)}
    return msgspec.json.encode(call | {"timestamp": iso(from_micros(occurred))})


def _with_exact_numbers(body: bytes, judged: bytes) -> bytes:
    """The normal form as it is written in ``body``, its numbers digit by digit, with the flags of ``judged``, and
    without the fields that were dropped there."""
    raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    known = msgspec.json.decode(judged)
    for name in ("flags", "messageId"):
        raw.pop(name, None)
    for holder in _HOLDERS:
        if holder in raw and bytes(raw[holder]) not in _NOTHING:
            inside = msgspec.json.decode(raw[holder], type=dict[str, msgspec.Raw])
            kept = {name: value for name, value in inside.items() if name in known.get(holder, {})}
            raw[holder] = msgspec.Raw(msgspec.json.encode(kept, order="sorted") if kept else b"null")
    raw |= {
        name: value
        for name, value in msgspec.json.decode(judged, type=dict[str, msgspec.Raw]).items()
        if name == "flags"
    }
    return msgspec.json.encode(
        {name: value for name, value in raw.items() if bytes(value) not in _NOTHING}, order="sorted"
    )
