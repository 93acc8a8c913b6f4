"""Calls as they came -> records of the log: one shape whatever the client, every refusal with its reason.

The body of a record of kind ``call`` is one JSON object; what is absent is left out, and ``null`` and ``""`` count as
absent (at the top level, and for each property and trait)::

    {"type", "occurred_at": µs, "event", "userId", "anonymousId", "previousId", "groupId",
     "properties": {}, "traits": {}, "context": {}, "flags": []}

- Ids are strings; a number becomes its text, exactly.
- ``traits`` are those of the person, wherever the client put them: ``traits`` over ``context.traits``. The traits of a
  ``group`` call describe the account, so they become the ``properties`` of that call.
- ``name`` and ``category`` of page and screen become properties, unless there are such.
- ``occurred_at`` = received - (sentAt - timestamp): the client's clock may be wrong, the difference is not. It is never
  later than the receipt.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from cadenza.clock import EPOCH, MICROSECOND, to_micros
from cadenza.definitions.project import Project
from cadenza.ids import random_id
from cadenza.ports.ledger import Batch, Refused
from cadenza.runtime.contracts import ContractChecker, Judgement, judged
from cadenza.runtime.wire import MAX_DEPTH, TYPES, Call, Decoded, Unusable, micros

MAX_ID = 100
"""Characters of a message id."""

_EPOCH_UTC = EPOCH.replace(tzinfo=UTC)
_EARLIEST = to_micros(datetime(1900, 1, 1))
_REMEMBERED = 4_096
_CONTEXT_BYTES = 2_048
_SURELY_FLAT = 512
"""A body of so many bytes cannot nest deep enough to trouble anybody: it is not walked."""


class Rejected(msgspec.Struct, frozen=True):
    """A call that its contract rejects: counted under ``reason``, not kept. ``detail`` is for the sender."""

    reason: str
    detail: str


class Prepared(msgspec.Struct, frozen=True):
    """What one request becomes: records to store, records to quarantine, calls that are only counted. ``size`` is the
    bytes of the request."""

    batch: Batch
    refused: list[Refused]
    size: int
    rejected: list[Rejected] = []


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a request said around a call that is kept in quarantine: with it the call is read again as it would have been.

    ``received`` and ``sent_at`` in µs; ``type`` is set by single-call routes; ``context`` is that of the batch, null when
    it has none or one of more than 2 KB: a batch of thousands of bad calls would keep it thousands of times. ``headers``
    are those of a webhook that its mapping reads."""

    received: int
    type: str | None = None
    sent_at: int | None = None
    context: msgspec.Raw = msgspec.Raw(b"null")
    headers: dict[str, str] | None = None


class _Body(msgspec.Struct, omit_defaults=True, gc=False):
    type: str
    occurred_at: int
    event: str = ""
    userId: str = ""
    anonymousId: str = ""
    previousId: str = ""
    groupId: str = ""
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: msgspec.Raw | None = None
    flags: list[str] | None = None


class _Context(msgspec.Struct, frozen=True):
    """A context made canonical, the traits that rode in it, and what its contract says of it."""

    raw: msgspec.Raw | None
    traits: dict[str, Any] | None
    judged: Judgement | None = None


_EMPTY = _Context(None, None)
_encode = msgspec.json.Encoder().encode


class Normaliser:
    """Turns decoded requests into records, against the contracts of the project in force.

    Used by one thread. ``project`` is asked once per request; a new one compiles its contracts.
    """

    def __init__(self, project: Callable[[], Project]) -> None:
        self._project = project
        self._checked: Project | None = None
        self._checker = ContractChecker(Project())
        self._contexts: dict[bytes, _Context] = {}
        self._no_context = _EMPTY
        self._last_context: tuple[bytes, _Context] = (b"", _EMPTY)
        self._acceptors: dict[object, Callable[[dict[str, Any]], bool]] = {}

    def prepare(
        self,
        decoded: Decoded,
        source: str,
        received: int,
        call_type: str | None = None,
        sent_at: datetime | None = None,
    ) -> Prepared:
        """Records of a request that came at ``received`` (µs). ``call_type`` is set by single-call routes; ``sent_at``
        is a header's, where the body has none. Raises nothing for bad calls: they come back as refused or rejected."""
        self._follow_project()
        sent = decoded.sent_at or sent_at
        sent_us = None if sent is None else micros(sent)
        shared = self._no_context if decoded.context is None else self._context(decoded.context)
        ids: list[str] = []
        bodies: list[bytes] = []
        around: bytes | None = None
        if decoded.bad:
            around = _envelope(received, call_type, sent_us, decoded.context)
        refused = [
            Refused(
                source=source, reason=bad.reason, detail=bad.detail, body=bad.body, message_id=bad.message_id,
                form="call" if bad.headers is None else "webhook",
                envelope=around if bad.headers is None else _encode(Envelope(received, headers=bad.headers)),
            )
            for bad in decoded.bad
        ]  # fmt: skip
        rejected: list[Rejected] = []
        for call in decoded.calls:
            try:
                message_id = _message_id(call)
                bodies.append(self._body(call, call_type or call.type, received, sent_us, shared))
                ids.append(message_id)
            except _Broken as error:
                if error.body is None:
                    rejected.append(Rejected(error.reason, error.detail))
                    continue
                around = around or _envelope(received, call_type, sent_us, decoded.context)
                message_id = _ident(call.messageId)[:MAX_ID] or None
                refused.append(Refused(
                    source=source, reason=error.reason, detail=error.detail, body=error.body, message_id=message_id,
                    form="record", envelope=around,
                ))  # fmt: skip
            except Unusable as error:
                around = around or _envelope(received, call_type, sent_us, decoded.context)
                refused.append(_refused(call, source, error, around))
        return Prepared(Batch(kind="call", source=source, ids=ids, bodies=bodies), refused, decoded.size, rejected)

    def _follow_project(self) -> None:
        project = self._project()
        if project is not self._checked:
            self._checker = ContractChecker(project)
            self._acceptors.clear()
            self._contexts.clear()
            self._no_context = self._judged_context(_EMPTY)
            self._last_context = (b"", self._no_context)
            self._checked = project

    def _body(self, call: Call, kind: str | None, received: int, sent_us: int | None, shared: _Context) -> bytes:
        """The body of one call. Raises Unusable or _Broken.

        This runs for every call and is written for speed: the usual case is decided in place.
        """
        if kind not in TYPES:
            raise Unusable("unknown_type", f"There is no call of type {kind!r}.")
        raw_context = bytes(call.context)
        # Neighbours mostly share their context: comparing is cheaper than hashing.
        if raw_context != self._last_context[0]:
            self._last_context = (raw_context, self._context(call.context))
        context = self._last_context[1]
        if context is self._no_context:
            context = shared
        properties, traits, user, anonymous = call.properties, call.traits, call.userId, call.anonymousId
        if properties is not None and (None in (held := properties.values()) or "" in held):
            properties = _present(properties)
        if traits is not None:
            traits = _present(traits)
        if context.traits is not None and kind != "group":
            traits = {**context.traits, **traits} if traits else context.traits
        instant = call.timestamp
        if instant is not None and instant.tzinfo is UTC and call.originalTimestamp is None and call.sentAt is None:
            occurred = (instant - _EPOCH_UTC) // MICROSECOND
            if sent_us is not None:
                occurred += received - sent_us
        else:
            occurred = _occurred(call, received, sent_us)
        if occurred > received:
            occurred = received
        elif occurred < _EARLIEST:
            raise Unusable("timestamp_out_of_range", "The timestamp is before the year 1900.")
        body = _Body(
            kind, occurred, "",
            user if type(user) is str else _ident(user), anonymous if type(anonymous) is str else _ident(anonymous),
            "", "", properties or None, traits or None, context.raw,
        )  # fmt: skip
        if kind == "track":
            event = body.event = call.event or ""
            if not event:
                raise _missing(kind, "event")
            key = event
        else:
            _reshape(body, call, context)
            key = (kind, "")
        accepts = self._acceptors.get(key)
        if accepts is None:
            accepts = self._acceptor(key, kind, body.event)
        if context.judged is not None:
            _follow(context.judged, body)
        if not accepts(body.traits or {} if kind == "identify" else body.properties or {}):
            self._check_contract(body)
        raw = _encode(body)
        if len(raw) > _SURELY_FLAT:
            _check_depth(body)
        return raw

    def _acceptor(self, key: object, kind: str, event: str) -> Callable[[dict[str, Any]], bool]:
        """What says whether the fields of such calls satisfy their contract; remembered."""
        if len(self._acceptors) >= _REMEMBERED:
            self._acceptors.clear()
        accepts = self._acceptors[key] = self._checker.acceptor(kind, event) or _anything
        return accepts

    def _check_contract(self, body: _Body) -> None:
        """Satisfied, or flagged, perhaps without some fields. Raises _Broken, and Unusable when it nests too deep."""
        _check_depth(body)
        traits = body.properties if body.type == "group" else body.traits
        seen = {"type": body.type, "event": body.event, "properties": body.properties, "traits": traits}
        violations = self._checker.check(seen)
        if not violations:
            return
        judgement = judged(violations)
        if judgement.dropped:
            held = body.traits if body.type == "identify" else body.properties
            kept = {name: value for name, value in (held or {}).items() if name not in judgement.dropped} or None
            if body.type == "identify":
                body.traits = kept
            else:
                body.properties = kept
        _follow(judgement, body)

    def _context(self, raw: msgspec.Raw) -> _Context:
        """A context in canonical form. Clients send the same one over and over, so they are remembered."""
        key = bytes(raw)
        known = self._contexts.get(key)
        if known is None:
            known = _read_context(key)
            known = self._no_context if known is _EMPTY else self._judged_context(known)
            if len(key) <= _CONTEXT_BYTES:
                if len(self._contexts) >= _REMEMBERED:
                    self._contexts.clear()
                self._contexts[key] = known
        return known

    def _judged_context(self, context: _Context) -> _Context:
        """The context with what its contract says of it, without the fields that the contract drops."""
        fields = msgspec.json.decode(context.raw) if context.raw is not None else {}
        violations = self._checker.check_context(fields)
        if not violations:
            return context
        judgement = judged(violations)
        kept = {name: value for name, value in fields.items() if name not in judgement.dropped}
        return _Context(msgspec.Raw(_encode(kept)) if kept else None, context.traits, judgement)


class _Broken(Exception):
    """A call that breaks its contract. ``body`` is its normal form, so that it can be taken up again later; None for
    one that is rejected."""

    def __init__(self, reason: str, detail: str, body: bytes | None) -> None:
        self.reason, self.detail, self.body = reason, detail, body
        super().__init__(detail)


def _follow(judgement: Judgement, body: _Body) -> None:
    """Mark a body as its judgement says. Raises _Broken when it is not to be kept."""
    if judgement.outcome != "keep":
        kept = _encode(body) if judgement.outcome == "quarantine" else None
        raise _Broken(judgement.reason, judgement.detail, kept)
    body.flags = [*(body.flags or ()), *judgement.flags]


def _envelope(received: int, call_type: str | None, sent_us: int | None, context: msgspec.Raw | None) -> bytes:
    kept = context is not None and len(bytes(context)) <= _CONTEXT_BYTES
    return _encode(Envelope(received, call_type, sent_us, context if context and kept else msgspec.Raw(b"null")))


def _refused(call: Call, source: str, error: Unusable, around: bytes) -> Refused:
    fields = {name: value for name, value in msgspec.structs.asdict(call).items() if value not in (None, "")}
    if not bytes(call.context):
        fields.pop("context", None)
    fields.pop("writeKey", None)
    return Refused(
        source=source, reason=error.reason, detail=error.detail, body=_encode(fields),
        message_id=_ident(call.messageId)[:MAX_ID] or None, envelope=around,
    )  # fmt: skip


def _anything(fields: dict[str, Any]) -> bool:
    """The acceptor of calls that no contract covers."""
    return True


def _message_id(call: Call) -> str:
    """The call's id, or a new one. Raises Unusable."""
    message_id = call.messageId
    if type(message_id) is not str:
        message_id = _ident(message_id)
    if len(message_id) > MAX_ID:
        raise Unusable("message_id_too_long", f"A messageId has at most {MAX_ID} characters.")
    return message_id or random_id()


def _missing(kind: str, field: str) -> Unusable:
    return Unusable(f"missing: {field}", f"A call of type {kind} needs '{field}'.")


def _read_context(raw: bytes) -> _Context:
    if not raw:
        return _EMPTY
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unusable("type: context", f"'context' cannot be read: {error}") from None
    if value is None or value == "":
        return _EMPTY
    if not isinstance(value, dict):
        raise Unusable("type: context", "'context' must be an object.")
    traits = value.pop("traits", None)
    if not isinstance(traits, dict):
        traits = None
    kept = {key: item for key, item in value.items() if item is not None and item != ""}
    return _Context(msgspec.Raw(_encode(kept)) if kept else None, _present(traits))


def _ident(value: str | int | None) -> str:
    if type(value) is str:
        return value
    return "" if value is None else str(value)


def _present(values: dict[str, Any] | None) -> dict[str, Any] | None:
    """Without what counts as absent; None when nothing is left."""
    if not values:
        return None
    held = values.values()
    if None in held or "" in held:
        return {key: value for key, value in values.items() if value is not None and value != ""} or None
    return values


def _occurred(call: Call, received: int, sent_us: int | None) -> int:
    """When it happened (µs), by the collector's clock."""
    if call.sentAt is not None:
        sent_us = micros(call.sentAt)
    if sent_us is None:
        instant = call.timestamp or call.originalTimestamp
        return received if instant is None else micros(instant)
    # ``originalTimestamp`` is the client's clock, as is ``sentAt``; ``timestamp`` may be corrected already.
    instant = call.originalTimestamp or call.timestamp
    return received if instant is None else received - sent_us + micros(instant)


def _reshape(body: _Body, call: Call, context: _Context) -> None:
    """What calls other than track carry, and carry elsewhere. Raises Unusable when what makes the call is missing."""
    kind = body.type
    if kind in ("page", "screen"):
        named = {key: value for key, value in (("name", call.name), ("category", call.category)) if value}
        if named:
            body.properties = {**named, **(body.properties or {})}
    elif kind == "group":
        body.groupId = _ident(call.groupId)
        if not body.groupId:
            raise _missing(kind, "groupId")
        body.properties = {**(body.properties or {}), **(body.traits or {})} or None
        body.traits = context.traits
    elif kind == "alias":
        body.previousId = _ident(call.previousId)
        if not body.previousId or not body.userId:
            raise _missing(kind, "userId" if body.previousId else "previousId")


def _check_depth(body: _Body) -> None:
    level: list[Any] = [body.properties, body.traits, body.context and msgspec.json.decode(body.context)]
    for _ in range(MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise Unusable("too_deep", f"A call may nest {MAX_DEPTH} levels at most.")


def _children(value: Any) -> list[Any]:
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in held if isinstance(item, dict | list)]
