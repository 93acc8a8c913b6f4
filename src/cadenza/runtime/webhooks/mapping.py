"""What a verified webhook means: one JSON payload becomes calls, by the rules of its source.

Each item of the payload has a topic. Records that name the topic make a call where their ``when`` is true. A topic that is
to be ignored, and an item whose conditions are all not true, are counted. What no rule speaks of, and what a rule cannot
map, is kept for quarantine with the payload as it came. So a payload is never lost, and never guessed at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from cadenza.clock import iso
from cadenza.definitions.kinds import Source, Webhook, WebhookRecord
from cadenza.definitions.payload import Apply, Header, Over, Path, below, parse_payload
from cadenza.definitions.payload_types import PayloadScope, Want, read_payload
from cadenza.runtime.closures import Closure, closure
from cadenza.runtime.webhooks.conversions import CONVERSIONS, Unmappable, elements
from cadenza.runtime.wire import Bad, Call, Decoded

MOST_CALLS = 10_000
"""Calls that one webhook may make."""
_LONGEST_ID = 100


class Mapped(msgspec.Struct, frozen=True):
    """What became of one payload. ``ignored``: how many items were not wanted, by the rule that says so."""

    decoded: Decoded
    ignored: Mapping[str, int]


class _Row(NamedTuple):
    """What an expression reads."""

    payload: Any
    item: Any
    element: Any
    headers: Mapping[str, str]


class _Compiled(NamedTuple):
    """A record with its expressions as functions."""

    record: WebhookRecord
    each: Closure | None
    numbered: bool
    when: Closure | None
    message_id: Closure | None
    """None: the id of the webhook serves, as it was read for the item."""
    timestamp: Closure
    ids: list[tuple[str, Closure]]
    properties: list[tuple[str, Closure]]
    traits: list[tuple[str, Closure]]


class Mapper:
    """The rules of one webhook source, compiled. Raises ExpressionError when made of rules that do not type-check."""

    def __init__(self, source: Source) -> None:
        webhook = source.webhook or Webhook()
        self._source, self._webhook = source.name, webhook
        scope = PayloadScope(webhook.fields, item=webhook.each is not None)
        self._each = _array(webhook.each, PayloadScope(webhook.fields))
        self._topic = _compiled(webhook.topic, "text", scope)
        self._id = _compiled(webhook.id, "text", scope)
        self._records = [_record(record, webhook, scope) for record in webhook.records]
        self._headers = _headers_of(webhook)
        self._ignored = [(topic, topic.removesuffix("*"), topic.endswith("*")) for topic in webhook.ignore]

    def read_of(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Those headers that the rules read: with them and the body a request can be mapped again."""
        return {name: headers[name] for name in self._headers if name in headers}

    def map(self, body: bytes, headers: Mapping[str, str]) -> Mapped:
        """The calls of a payload. Raises nothing: what cannot be mapped is among the bad."""
        made = _Made(self._source, body, self.read_of(headers))
        try:
            payload = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
            made.refuse("webhook: not_json", f"The payload cannot be read as JSON: {error}.", None)
            return made.result()
        row = _Row(payload, None, None, headers)
        try:
            if self._each is None:
                self._map_item(row, None, made)
            else:
                for at, item in enumerate(_value("each", self._each, row)):
                    self._map_item(row._replace(item=item), str(at), made)
        except _Failed as error:
            made.refuse(f"webhook: mapping {error.part}", f"'{error.part}': {error.detail}.", None)
        return made.result()

    def _map_item(self, row: _Row, place: str | None, made: _Made) -> None:
        """The calls of one item. Raises _Failed when it cannot even be said what it is."""
        own_id = None if self._id is None else _value("id", self._id, row)
        topic = None if self._topic is None else _value("topic", self._topic, row)
        meant = [one for one in self._records if not one.record.topics or topic in one.record.topics]
        if not meant:
            self._unmeant(topic, own_id, made)
        elif not any([self._make(one, row, place, own_id, made) for one in meant]):
            made.ignore(f"{meant[0].record.name} when")

    def _unmeant(self, topic: str | None, own_id: str | None, made: _Made) -> None:
        for written, start, any_rest in self._ignored:
            if topic is not None and (topic == written or (any_rest and topic.startswith(start))):
                made.ignore(written)
                return
        shown = "It has no topic." if topic is None else f"No record is for the topic '{topic[:100]}'."
        made.refuse("webhook: unmapped", shown, own_id)

    def _make(self, one: _Compiled, row: _Row, place: str | None, own_id: str | None, made: _Made) -> bool:
        """Make the calls of a record; whether it made or refused any."""
        fired = False
        try:
            for each, at in _rows(one, row, place):
                if one.when is None or _value("when", one.when, each) is True:
                    fired = True
                    made.add(self._call(one, each, at if one.numbered else None, own_id))
        except _Failed as error:
            name = one.record.name
            detail = f"The record '{name}', '{error.part}': {error.detail}."
            made.refuse(f"webhook: mapping {name}.{error.part}", detail, own_id)
            return True
        return fired

    def _call(self, one: _Compiled, row: _Row, place: str | None, own_id: str | None) -> Call:
        """The call of one row. Raises _Failed."""
        own = own_id if one.message_id is None else _value("message_id", one.message_id, row)
        instant = _value("timestamp", one.timestamp, row)
        if not own or instant is None:
            raise _Failed("timestamp" if own else "message_id", "it must not be nothing")
        call = Call(type=one.record.call, event=one.record.event)
        call.messageId = self._message_id(own, one.record.name, place)
        call.timestamp = instant.replace(tzinfo=UTC)
        for name, compute in one.ids:
            setattr(call, _ID_FIELDS[name], _value(name, compute, row))
        call.properties = {name: _value(f"properties.{name}", compute, row) for name, compute in one.properties} or None
        call.traits = {name: _value(f"traits.{name}", compute, row) for name, compute in one.traits} or None
        return call

    def _message_id(self, own: str, record: str, place: str | None) -> str:
        """The sender's id with the source and the record: one webhook may make several calls, and two senders may
        count alike. Too long a one is hashed."""
        full = ":".join([self._source, own, record, *([] if place is None else [place])])
        if len(full) <= _LONGEST_ID:
            return full
        return f"{self._source}:{hashlib.sha256(full.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


_ID_FIELDS = {"user_id": "userId", "anonymous_id": "anonymousId", "group_id": "groupId"}


class _Failed(Exception):
    """A part of a record that the payload has no value for."""

    def __init__(self, part: str, detail: str) -> None:
        self.part, self.detail = part, detail
        super().__init__(detail)


def _value(part: str, compute: Closure, row: _Row) -> Any:
    try:
        return compute(row)
    except Unmappable as error:
        raise _Failed(part, str(error)) from None


def _rows(one: _Compiled, row: _Row, place: str | None) -> Iterator[tuple[_Row, str | None]]:
    """What a record looks at, with its place in the payload. Raises _Failed."""
    if one.each is None:
        yield row, place
        return
    for at, item in enumerate(_value("each", one.each, row)):
        yield row._replace(item=item), str(at) if place is None else f"{place}.{at}"


class _Made:
    """What is made of one payload so far."""

    def __init__(self, source: str, body: bytes, headers: dict[str, str]) -> None:
        self._source, self._body, self._headers = source, body, headers
        self._calls: list[Call] = []
        self._bad: dict[str, Bad] = {}
        self.ignored: dict[str, int] = {}

    def add(self, call: Call) -> None:
        if len(self._calls) >= MOST_CALLS:
            raise _Failed("each", f"a webhook makes {MOST_CALLS} calls at most")
        self._calls.append(call)

    def ignore(self, rule: str) -> None:
        """Count an item that ``rule`` does not want."""
        self.ignored[rule] = self.ignored.get(rule, 0) + 1

    def refuse(self, reason: str, detail: str, own_id: str | None) -> None:
        """Keep the payload for quarantine; once for each reason."""
        known = f"{self._source}:{own_id}"[:_LONGEST_ID] if own_id else None
        self._bad.setdefault(reason, Bad(reason, detail, known, self._body, self._headers))

    def result(self) -> Mapped:
        decoded = Decoded(
            calls=self._calls, bad=list(self._bad.values()), write_key=None, sent_at=None, size=len(self._body)
        )
        return Mapped(decoded, self.ignored)


def unknown_source(source: str, body: bytes, headers: dict[str, str]) -> Mapped:
    """What becomes of a webhook whose source was removed after it was accepted: it is kept."""
    made = _Made(source, body, headers)
    made.refuse("webhook: no_source", f"There is no webhook source '{source}' any more.", None)
    return made.result()


# --- compiling --------------------------------------------------------------------------------------


def _record(record: WebhookRecord, webhook: Webhook, scope: PayloadScope) -> _Compiled:
    outer = scope
    if record.each is not None:
        scope = PayloadScope(scope.fields, item=True)
    own = record.message_id or webhook.id or ""
    repeated = record.each is not None or webhook.each is not None
    return _Compiled(
        record=record,
        each=_array(record.each, outer),
        numbered=repeated and not _reads_item(own),
        when=_compiled(record.when, "condition", scope),
        message_id=_function(own, "text", scope) if record.message_id or record.each is not None else None,
        timestamp=_function(record.timestamp or webhook.timestamp or "", "instant", scope),
        ids=[(name, _function(text, "text", scope)) for name in _ID_FIELDS if (text := getattr(record, name))],
        properties=[(name, _carried(text, scope)) for name, text in record.properties.items()],
        traits=[(name, _carried(text, scope)) for name, text in record.traits.items()],
    )


def _reads_item(text: str) -> bool:
    return any(isinstance(node, Path) and node.root == "item" for node in _nodes(text))


def _nodes(text: str) -> list[Any]:
    """Every node of an expression."""
    nodes = [parse_payload(text)]
    for node in nodes:
        nodes.extend(below(node))
    return nodes


def _headers_of(webhook: Webhook) -> tuple[str, ...]:
    """The headers that the mapping reads; a payload in quarantine keeps them."""
    texts = [webhook.each, webhook.id, webhook.topic, webhook.timestamp]
    for record in webhook.records:
        ids = (record.each, record.when, record.message_id, record.timestamp, record.user_id, record.anonymous_id)
        texts += [*ids, record.group_id, *record.properties.values(), *record.traits.values()]
    found = {node.name for text in texts if text for node in _nodes(text) if isinstance(node, Header)}
    return tuple(sorted(found))


def _compiled(text: str | None, want: Want, scope: PayloadScope) -> Closure | None:
    return None if text is None else _function(text, want, scope)


def _array(text: str | None, scope: PayloadScope) -> Closure | None:
    """The elements of an array; none where there is nothing."""
    if text is None:
        return None
    found = _function(text, "array", scope)
    return lambda row: elements(found(row))


def _carried(text: str, scope: PayloadScope) -> Closure:
    """A value as a call carries it: JSON's own types."""
    tree = read_payload(text, "value", scope)
    found = closure(tree, _leaf)
    return found if isinstance(tree, Path) else lambda row: _json(found(row))


def _function(text: str, want: Want, scope: PayloadScope) -> Closure:
    return closure(read_payload(text, want, scope), _leaf)


def _leaf(node: Any) -> Closure:
    match node:
        case Path(root, keys):
            return _path(_ROOTS[root], keys)
        case Header(name):
            return lambda row: row.headers.get(name) or None
        case Apply("pick" | "split_part" as fn, (first, *constants)):
            return _with_constants(CONVERSIONS[fn], closure(first, _leaf), [closure(c, _leaf) for c in constants])
        case Apply("concat", args):
            return _applied(CONVERSIONS["concat"], [closure(arg, _leaf) for arg in _joined(args)])
        case Apply(fn, args):
            return _applied(CONVERSIONS[fn], [closure(arg, _leaf) for arg in args])
        case Over(fn, array, value, where):
            return _over(fn, *(None if part is None else closure(part, _leaf) for part in (array, value, where)))
    raise AssertionError(f"no function for {node!r}")


def _joined(parts: tuple[Any, ...]) -> list[Any]:
    """What ``a || b || c`` joins, without the pairs in between."""
    found: list[Any] = []
    for part in parts:
        found += _joined(part.args) if isinstance(part, Apply) and part.fn == "concat" else [part]
    return found


_ROOTS: dict[str, Callable[[_Row], Any]] = {name: attrgetter(name) for name in ("payload", "item", "element")}


def _path(root: Callable[[_Row], Any], keys: tuple[str | int, ...]) -> Closure:
    if len(keys) == 1 and isinstance(keys[0], str):
        return _field(root, keys[0])

    def found(row: _Row) -> Any:
        value = root(row)
        for key in keys:
            if isinstance(value, dict):
                value = value.get(key)
            elif isinstance(value, list) and isinstance(key, int) and -len(value) <= key < len(value):
                value = value[key]
            else:
                return None
        return None if value == "" else value

    return found


def _field(root: Callable[[_Row], Any], key: str) -> Closure:
    """A path of one key: most are."""

    def found(row: _Row) -> Any:
        value = root(row)
        if not isinstance(value, dict):
            return None
        value = value.get(key)
        return None if value == "" else value

    return found


def _applied(function: Callable[..., Any], args: list[Closure]) -> Closure:
    if len(args) == 1:
        only = args[0]
        return lambda row: function(only(row))
    if len(args) == 2:
        first, second = args
        return lambda row: function(first(row), second(row))
    return lambda row: function(*[arg(row) for arg in args])


def _with_constants(function: Callable[..., Any], first: Closure, constants: list[Closure]) -> Closure:
    values = [constant(None) for constant in constants]
    return lambda row: function(first(row), *values)


def _over(fn: str, array: Any, value: Closure | None, where: Closure | None) -> Closure:
    def folded(row: _Row) -> Any:
        chosen = [row._replace(element=element) for element in elements(array(row))]
        if where is not None:
            chosen = [one for one in chosen if where(one) is True]
        if fn == "count" or value is None:
            return len(chosen)
        values = [found for one in chosen if (found := value(one)) is not None]
        return sum(values, Decimal(0)) if values else None

    return folded


def _json(value: Any) -> Any:
    """A value as a call carries it: JSON's own types, exactly."""
    if isinstance(value, Decimal):
        number = float(value)
        if Decimal(repr(number)) != value:
            raise Unmappable("a number that JSON carries exactly was expected, not one of so many digits")
        return number
    if isinstance(value, datetime):
        return iso(value)
    return value
