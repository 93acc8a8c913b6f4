"""What changed between two projects, definition by definition, in the words of the YAML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import msgspec

from cadenza.definitions.expression import Expr
from cadenza.definitions.expression_text import duration_text, write
from cadenza.definitions.project import Project, version_of

_EXPRESSIONS = get_args(Expr)
_LONGEST = 200


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a definition that differs. None: it is not there on that side."""

    path: str
    old: str | None
    new: str | None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One definition that differs. ``kind`` is the plural (``journeys``), or ``identity``, ``policy``, ``project``;
    versions are content addresses, None where the definition is not there."""

    kind: str
    name: str
    change: Literal["added", "changed", "removed"]
    fields: tuple[FieldChange, ...] = ()
    old_version: str | None = None
    new_version: str | None = None


def difference(old: Project | None, new: Project) -> tuple[Change, ...]:
    """Every definition that was added, changed or removed, in the order of ``Project.named``.

    Without an old project everything is added.
    """
    before = {(kind, name): definition for kind, name, definition in old.named()} if old else {}
    after = {(kind, name): definition for kind, name, definition in new.named()}
    order = sorted({*before, *after}, key=lambda key: (_ORDER.index(key[0]), key[1]))
    changes = [change for key in order if (change := _change(key, before.get(key), after.get(key)))]
    if old is not None and (said := tuple(_of_project(old, new))):
        changes.append(Change(kind="project", name=new.name, change="changed", fields=said))
    return tuple(changes)


def _of_project(old: Project, new: Project) -> Iterator[FieldChange]:
    """What is said of the project as a whole."""
    for path, field in (("project", "name"), ("undeclared_events", "undeclared_events")):
        if getattr(old, field) != getattr(new, field):
            yield FieldChange(path=path, old=getattr(old, field), new=getattr(new, field))
    for path, field in (("archive_after", "archive_after_s"), ("keep", "keep_s"), ("duplicates", "duplicates_s")):
        before, after = getattr(old.log, field), getattr(new.log, field)
        if before != after:
            yield FieldChange(
                path=f"log.{path}", old=before and duration_text(before), new=after and duration_text(after)
            )


_ORDER = tuple(dict.fromkeys(
    ["sources", "contracts", "identity", "traits", "segments", "journeys", "policy", "templates", "destinations",
     "metrics"]
))  # fmt: skip


def _change(key: tuple[str, str], old: msgspec.Struct | None, new: msgspec.Struct | None) -> Change | None:
    kind, name = key
    old_version = version_of(old) if old is not None else None
    new_version = version_of(new) if new is not None else None
    if old_version == new_version:
        return None
    change: Literal["added", "changed", "removed"] = "changed"
    if old is None or new is None:
        change = "added" if old is None else "removed"
    fields = tuple(_differences(old, new, "", "")) if change == "changed" else ()
    return Change(kind=kind, name=name, change=change, fields=fields, old_version=old_version, new_version=new_version)


def _differences(old: Any, new: Any, path: str, field: str) -> Iterator[FieldChange]:
    """The smallest parts that differ, below two values. ``field`` is the struct's field they stand in: its suffix
    says the unit."""
    if old == new and type(old) is type(new):
        return
    if isinstance(old, _EXPRESSIONS) or type(old) is not type(new):
        yield FieldChange(path=path, old=_text(old, field), new=_text(new, field))
    elif isinstance(old, msgspec.Struct):
        for name in old.__struct_fields__:
            yield from _differences(getattr(old, name), getattr(new, name), _join(path, _word(name)), name)
    elif isinstance(old, (tuple, dict)):
        before, after = _parts(old), _parts(new)
        for key in dict.fromkeys([*before, *after]):
            yield from _differences(before.get(key), after.get(key), _join(path, key), field)
        if list(before) != list(after) and set(before) == set(after) and isinstance(old, tuple):
            yield FieldChange(path=path, old=", ".join(before), new=", ".join(after))
    else:
        yield FieldChange(path=path, old=_text(old, field), new=_text(new, field))


def _parts(value: Any) -> dict[str, Any]:
    """The members of a collection by name where they all have distinct ones, else by position."""
    if isinstance(value, dict):
        return {str(key): item for key, item in value.items()}
    names = [name for item in value if isinstance(name := getattr(item, "name", None), str)]
    if value and len(set(names)) == len(value):
        return dict(zip(names, value, strict=True))
    return {str(number): item for number, item in enumerate(value)}


def _join(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part


_WORDS = {
    **{f"{exit_}_then": f"{exit_}.then" for exit_ in ("goal", "disqualified", "superseded", "time_limit")},
    "from_": "from",
    "local": "wait",
    "as_": "as",
    "message_class": "class",
    "address_trait": "address",
}


def _word(field: str) -> str:
    """A struct's field as the YAML says it: ``time_limit_s`` is ``time_limit``."""
    return _WORDS.get(field, field.removesuffix("_s").removesuffix("_bp"))


def _text(value: Any, field: str) -> str | None:
    """A value as the YAML would say it, shortened."""
    if value is None:
        return None
    if isinstance(value, _EXPRESSIONS):
        text = write(value)
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, int) and field.endswith("_s"):
        text = duration_text(value)
    elif isinstance(value, int) and field.endswith("_bp"):
        text = f"{value / 100:g}%"
    elif isinstance(value, (msgspec.Struct, tuple, list, dict)):
        text = msgspec.json.encode(value).decode()
    else:
        text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
