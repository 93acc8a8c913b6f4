"""A draft of contracts from what the log holds: names, types, what is always there, few values, formats, ranges.

Each record that the draft is made of keeps it. Memory is bounded: so many events, so many fields each, so few values
of a field; what goes beyond is counted and told. The same log gives the same draft. No value of a field that looks
personal is ever shown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal

import msgspec

from cadenza.definitions.builtin import BUILTIN_CONTRACTS, SYSTEM_PROPERTIES
from cadenza.definitions.contract_fields import PROPERTY_NAME
from cadenza.definitions.json_schema import compiled
from cadenza.definitions.kinds import Contract, Property, Sensitivity
from cadenza.ports.ledger import Record
from cadenza.runtime.contracts import canonical

MOST_EVENTS = 500
MOST_FIELDS = 200
"""Of one event."""
LONGEST_NAME = 100
"""Characters of the name of an event or a field; longer ones are left out."""
MOST_VALUES = 12
"""Different texts of a field that may become an enum."""
_LONGEST_VALUE = 50
_ENOUGH = 20
"""Records without which nothing is called required."""
_ENOUGH_FOR_ENUM = 50
_FORMATS = ("uuid", "date-time", "date", "email", "ipv4", "ipv6", "uri")
_CALLS = ("identify", "group", "page", "screen")
_RESERVED = frozenset({*_CALLS, "context"})
_HOLDER = {"identify": "traits"}
_decode = msgspec.json.Decoder().decode

_SECRET = re.compile(r"password|passwd|secret|token|apikey|cvv|cvc|cardnumber|creditcard|iban|accountnumber")
_SENSITIVE = re.compile(r"ssn|socialsecurity|passport|health|diagnos|religion|ethnic|nationalid|taxid|salary|income")
_PERSONAL = re.compile(
    r"e?mail|phone|mobile|fax|(first|last|full|middle|sur|family|given|user|nick|display)name|^name$|address|street"
    r"|zip|postal|postcode|birth|^dob$|^age$|gender|^sex$|^ip$|ipaddress|latitude|longitude|^lat$|^lng$|^lon$|avatar|signature"
)
_PHONE = re.compile(r"\+?[0-9][0-9 ()/.-]{6,18}[0-9]")

Type = Literal["string", "integer", "decimal", "boolean", "object", "array"]


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """Drafted contracts by name. ``remarks``: what was seen of each (contract, field). ``records``: how many were read;
    ``left_out``: what the bounds left out, in words."""

    contracts: tuple[Contract, ...]
    remarks: dict[tuple[str, str], str]
    records: int
    left_out: tuple[str, ...]


class _Field:
    """What was seen of one field."""

    def __init__(self) -> None:
        self.seen = 0
        self.types: Counter[str] = Counter()
        self.values: dict[str, int] | None = {}
        self.formats = list(_FORMATS)
        self.phones = 0
        self.least: float | None = None
        self.most: float | None = None

    def add(self, value: Any) -> None:
        self.seen += 1
        kind = _type_of(value)
        self.types[kind] += 1
        if kind == "string":
            self._add_text(value)
        elif kind in ("integer", "decimal"):
            self.least = value if self.least is None else min(self.least, value)
            self.most = value if self.most is None else max(self.most, value)

    def _add_text(self, text: str) -> None:
        if self.formats:
            self.formats = [name for name in self.formats if _has_format(name)(text)]
        self.phones += _PHONE.fullmatch(text) is not None
        if self.values is not None:
            self.values[text] = self.values.get(text, 0) + 1
            if len(self.values) > MOST_VALUES or len(text) > _LONGEST_VALUE:
                self.values = None


@cache
def _has_format(name: str) -> Any:
    return compiled({"format": name}).is_valid


def _type_of(value: Any) -> Type:
    if isinstance(value, bool):
        return "boolean"
    kinds: dict[type, Type] = {int: "integer", float: "decimal", str: "string", list: "array", dict: "object"}
    return kinds[type(value)]


def infer(records: Iterable[Record], only: frozenset[str] | None = None, but: frozenset[str] = frozenset()) -> Draft:
    """The draft for what the records hold. ``only``: contracts of these names; ``but``: none of these."""
    seen: dict[str, dict[str, _Field]] = {}
    counts: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    read = 0
    for record in records:
        body = _decode(record.body)
        call = body.get("type")
        name = body.get("event") if call == "track" else call
        if name is None or (call != "track" and call not in _CALLS) or name in but or (only and name not in only):
            continue
        if call == "track" and name in _RESERVED:
            left_out["records of events that are named as a call is"] += 1
            continue
        read += 1
        if name not in seen and (len(seen) >= MOST_EVENTS or len(name) > LONGEST_NAME):
            left_out["records of further events"] += 1
            continue
        counts[name] += 1
        _add(seen.setdefault(name, {}), body.get(_HOLDER.get(str(call), "properties")) or {}, left_out)
    contracts, remarks, columns = [], {}, _Columns(seen)
    for name in sorted(seen):
        contract, said = _contract(name, seen[name], counts[name], columns)
        contracts.append(contract)
        remarks |= {(name, field): remark for field, remark in said.items()}
    told = tuple(f"{n:,} {what}" for what, n in sorted(left_out.items()))
    return Draft(contracts=tuple(contracts), remarks=remarks, records=read, left_out=told)


def _add(fields: dict[str, _Field], held: Mapping[str, Any], left_out: Counter[str]) -> None:
    for name, value in held.items():
        if value is None or value == "":
            continue
        field = fields.get(name)
        if field is None:
            if len(fields) >= MOST_FIELDS or len(name) > LONGEST_NAME:
                left_out["values of further fields"] += 1
                continue
            field = fields[name] = _Field()
        field.add(value)


class _Columns:
    """One type for each field over all events, as the fields of events are columns of one table."""

    def __init__(self, seen: Mapping[str, Mapping[str, _Field]]) -> None:
        self._types: dict[str, str] = {name.lower(): kind for name, kind in SYSTEM_PROPERTIES.items()}
        self._names: dict[str, str] = {name.lower(): name for name in SYSTEM_PROPERTIES}
        for event in sorted(seen):
            for name in sorted(seen[event]) if event not in ("identify", "group") else ():
                kinds = _kinds(seen[event][name])
                self._names.setdefault(name.lower(), name)
                if len(kinds) == 1:
                    kind = _written_type(kinds[0], seen[event][name])
                    known = self._types.setdefault(name.lower(), kind)
                    if {known, kind} == {"integer", "decimal"} and name not in SYSTEM_PROPERTIES:
                        self._types[name.lower()] = "decimal"

    def type(self, event: str, name: str, kind: str) -> str | None:
        """The type of a field that is seen as ``kind``; None when its column is of another."""
        if event in ("identify", "group"):
            return kind
        found = self._types.get(name.lower(), kind)
        fits = found == kind or (found, kind) == ("decimal", "integer")
        return found if fits and self._names.get(name.lower(), name) == name else None


def _written_type(kind: str, field: _Field) -> str:
    return "timestamp" if kind == "string" and field.formats[:1] == ["date-time"] else kind


def _contract(name: str, fields: dict[str, _Field], records: int, columns: _Columns) -> tuple[Contract, dict[str, str]]:
    """One drafted contract, and a remark for each of its fields."""
    builtin = next((set(c.properties) for c in BUILTIN_CONTRACTS if c.name == canonical(name)), set[str]())
    properties: dict[str, Property] = {}
    written: dict[str, Any] = {}
    required: list[str] = []
    remarks: dict[str, str] = {}
    for key in sorted(set(fields) - builtin):
        field = fields[key]
        sensitivity = _sensitivity(key, field)
        remarks[key] = _remark(field, records, personal=sensitivity is not None)
        always = field.seen == records and records >= _ENOUGH
        kinds = _kinds(field)
        kind = columns.type(name, key, _written_type(kinds[0], field)) if len(kinds) == 1 else None
        if kind is not None and PROPERTY_NAME.fullmatch(key):
            properties[key] = _property(kind, field, sensitivity, always)
        elif len(kinds) == 1 and PROPERTY_NAME.fullmatch(key):
            written[key] = {}
            remarks[key] += f"; {kinds[0]} here, of another type or spelling elsewhere"
            required += [key] if always else []
        else:
            types = ["number" if kind == "decimal" else kind for kind in kinds]
            written[key] = {"type": types[0] if len(types) == 1 else types}
            required += [key] if always else []
    schema: dict[str, Any] = {"properties": written} if written else {}
    if required:
        schema["required"] = required
    return Contract(name=name, properties=properties, schema=schema, on_violation="flag"), remarks


def _kinds(field: _Field) -> list[Type]:
    kinds: set[Any] = set(field.types)
    if "decimal" in kinds:
        kinds.discard("integer")
    return sorted(kinds)


def _property(kind: Any, field: _Field, sensitivity: Sensitivity | None, always: bool) -> Property:
    form: Any = next((name for name in field.formats if name != "date-time"), None) if kind == "string" else None
    enum: tuple[str, ...] = ()
    few = kind == "string" and form is None and sensitivity is None and field.values is not None
    if few and field.seen >= _ENOUGH_FOR_ENUM and len(field.values or ()) * 10 <= field.seen:
        enum = tuple(sorted(field.values or ()))
    return Property(
        type=kind, format=form, required=always, enum=enum, sensitivity=sensitivity,
        minimum=0.0 if field.least is not None and field.least >= 0 else None,
    )  # fmt: skip


def _sensitivity(name: str, field: _Field) -> Sensitivity | None:
    """What a field looks like, by its name and its values; None for what does not look personal."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if _SECRET.search(plain):
        return "secret"
    if _SENSITIVE.search(plain):
        return "sensitive"
    texts = field.types["string"]
    by_value = texts and (field.formats[:1] in (["email"], ["ipv4"], ["ipv6"]) or field.phones * 2 > texts)
    return "personal" if by_value or _PERSONAL.search(plain) else None


def _remark(field: _Field, records: int, personal: bool) -> str:
    share = f"in {_percent(field.seen, records)} of {records:,}"
    if len(field.types) > 1:
        parts = (f"{kind} {_percent(n, field.seen)}" for kind, n in sorted(field.types.items()))
        share += "; " + ", ".join(parts)
    if field.least is not None and not personal:
        share += f"; {field.least:g} to {field.most:g}"
    return share


def _percent(part: int, whole: int) -> str:
    """Never 100 % where something is missing, never 0 % where something is there."""
    if part == whole:
        return "100 %"
    return f"{min(max(100 * part / whole, 0.1), 99.9):.1f} %"
