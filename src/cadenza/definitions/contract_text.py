"""Contracts as the YAML that a person would write, for drafts and imports. What is written is read back the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from io import StringIO
from typing import Any

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from cadenza.definitions import surface
from cadenza.definitions.kinds import Contract
from cadenza.definitions.shapes import Fields

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_@. -]*[A-Za-z0-9_.]|[A-Za-z_]")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})

Remarks = Mapping[tuple[str, str], str]
"""(contract, field) -> what is said beside the field."""


def as_yaml(contracts: Iterable[Contract], remarks: Remarks | None = None, head: str = "") -> str:
    """One YAML document per contract, in the order given; ``head``: lines of comment on top."""
    yaml = YAML(pure=True)
    yaml.width = 1_000_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    parts = []
    for contract in contracts:
        out = StringIO()
        yaml.dump(_document(contract, remarks or {}), out)
        parts.append(out.getvalue())
    top = "".join(f"# {line}\n" if line else "#\n" for line in head.splitlines())
    return top + "---\n".join(parts)


def plain_yaml(value: dict[str, Any]) -> str:
    """Any map as YAML, in block style."""
    yaml, out = YAML(pure=True), StringIO()
    yaml.width = 1_000_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(_block(value), out)
    return out.getvalue()


def _document(contract: Contract, remarks: Remarks) -> CommentedMap:
    found = CommentedMap()
    found["contract"] = _text(contract.name)
    for field in surface.CONTRACTS.body.fields:
        value = getattr(contract, field.target)
        if value == _default(contract, field.target):
            continue
        if field.key == "properties":
            found["properties"] = fields = CommentedMap()
            for name, declared in value.items():
                fields[_text(name)] = _flow(_said(surface.PROPERTY, declared))
                if remark := remarks.get((contract.name, name)):
                    fields.yaml_add_eol_comment(remark, key=name, column=0)
        elif isinstance(value, msgspec.Struct):
            found[field.key] = _flow(_said(field.shape, value))
        else:
            found[field.key] = _block(value)
    for name in contract.schema.get("properties", {}):
        if remark := remarks.get((contract.name, name)):
            found["schema"]["properties"].yaml_add_eol_comment(remark, key=name, column=0)
    return found


def _said(fields: Fields, value: msgspec.Struct) -> dict[str, Any]:
    """What differs from the defaults, under the keys of the YAML."""
    items = ((field, getattr(value, field.target)) for field in fields.fields)
    return {f.key: item for f, item in items if f.required or item != _default(value, f.target)}


def _default(value: msgspec.Struct, name: str) -> Any:
    field = next(field for field in msgspec.structs.fields(type(value)) if field.name == name)
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else msgspec.NODEFAULT


def _flow(value: Any) -> Any:
    """A value on one line."""
    if isinstance(value, dict):
        found = CommentedMap((_text(key), _flow(item)) for key, item in value.items())
        found.fa.set_flow_style()
        return found
    if isinstance(value, list | tuple):
        items = CommentedSeq(_flow(item) for item in value)
        items.fa.set_flow_style()
        return items
    return _scalar(value)


def _block(value: Any) -> Any:
    """A value over several lines; its innermost collections on one."""
    if isinstance(value, dict) and any(map(_is_deep, value.values())):
        return CommentedMap((_text(key), _block(item)) for key, item in value.items())
    if isinstance(value, list) and any(map(_is_deep, value)):
        return CommentedSeq(_block(item) for item in value)
    return _flow(value) if isinstance(value, dict | list | tuple) else _scalar(value)


def _is_deep(value: Any) -> bool:
    """Whether a value is better read over several lines."""
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_is_deep, value)))


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _text(text: str) -> str:
    """Plain where nothing can be misread, else quoted."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return DoubleQuotedScalarString(text)
