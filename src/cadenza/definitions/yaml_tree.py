"""YAML text -> a tree that knows its lines; nothing is constructed, nothing is guessed.

Only the plain part of YAML 1.2 is taken: maps with text keys, lists, scalars. ``no`` and ``on`` are text.
Tags and merge keys are refused, aliases are followed within a budget, so that no file can exhaust the machine.
"""

from __future__ import annotations

import re
from typing import Any, Union

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from cadenza.errors import Problem

MAX_BYTES = 300_000
"""A definition file larger than this is refused unread."""
MAX_NODES = 20_000
"""Nodes of one file after aliases are followed."""
MAX_DEPTH = 60

_INTEGER = re.compile(r"[-+]?[0-9]{1,19}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")} | {"!"}
_BRACE = "Put a text that begins with a brace between quotes."
_SPECIAL = "Put a text that starts with a special character (* & ! % @ `) between quotes."

Value = Union[str, int, float, bool, None]


class Scalar(msgspec.Struct, frozen=True):
    """A scalar: its text, and whether it was written without quotes."""

    text: str
    plain: bool
    line: int
    block: bool = False
    """Written as a block (``|`` or ``>``): its text begins on the next line."""

    @property
    def value(self) -> Value:
        """What YAML 1.2 (core schema, decimal numbers only) says it is."""
        if not self.plain:
            return self.text
        if self.text in ("", "~", "null", "Null", "NULL"):
            return None
        if self.text in ("true", "True", "TRUE", "false", "False", "FALSE"):
            return self.text.lower() == "true"
        if _INTEGER.fullmatch(self.text):
            return int(self.text)
        return float(self.text) if _NUMBER.fullmatch(self.text) else self.text


class Entry(msgspec.Struct, frozen=True):
    """One ``key: value`` of a map, and the line of its key."""

    key: str
    node: "Tree"
    line: int


class Mapping(msgspec.Struct, frozen=True):
    entries: tuple[Entry, ...]
    line: int

    def get(self, key: str) -> Union["Tree", None]:
        """The value of a key, or None."""
        return next((entry.node for entry in self.entries if entry.key == key), None)


class Listing(msgspec.Struct, frozen=True):
    items: tuple["Tree", ...]
    line: int


Tree = Union[Scalar, Mapping, Listing]


def read_text(data: bytes, file: str, most: int = MAX_BYTES) -> tuple[str | None, list[Problem]]:
    """The text of a file's bytes, or the reason why it is not usable text."""
    if len(data) > most:
        what = f"The file has {len(data):,} bytes; at most {most:,} are read."
        return None, [Problem(what=what, file=file, line=1, remedy="Split it.")]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"The file is not UTF-8 text (byte 0x{data[error.start]:02x})."
        return None, [Problem(what=what, file=file, line=line, remedy="Save it as UTF-8.")]


def read_yaml(text: str, file: str) -> tuple[list[Tree], list[Problem]]:
    """Every document of a YAML text (empty ones are left out) and what is wrong with it.

    A syntax error ends the reading of the file; the documents before it are given.
    """
    reading = _Reading(file)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            reading.take(event)
    except _Refused:
        pass
    except MarkedYAMLError as error:
        reading.problems.append(_syntax(error, file, text))
    except (YAMLError, ValueError, LookupError, AttributeError, TypeError, AssertionError, RecursionError) as error:
        # ruamel lets some malformed input fall through as plain Python errors
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        reading.problem(f"The file is not valid YAML: {said}.", reading.line)
    return reading.documents, reading.problems


class _Refused(Exception):
    """The file holds something that ends its reading; the problem is noted."""


class _Open:
    """A map or list that is being read."""

    def __init__(self, mapping: bool, line: int, anchor: str | None) -> None:
        self.mapping = mapping
        self.line = line
        self.anchor = anchor
        self.values: list[Tree] = []
        """Of a list its items; of a map keys and values by turns."""


class _Reading:
    """One pass over the events of a file. Depth and size are bounded while reading, not after."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.line = 1
        self.documents: list[Tree] = []
        self.problems: list[Problem] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Tree, int]] = {}
        self._nodes = 0

    def problem(self, what: str, line: int, remedy: str | None = None) -> None:
        self.problems.append(Problem(what=what, file=self.file, line=line, remedy=remedy))

    def take(self, event: Any) -> None:
        """The next event of the file."""
        if event.start_mark is not None:
            self.line = event.start_mark.line + 1
        match event:
            case DocumentStartEvent():
                self._anchors = {}
            case ScalarEvent():
                self._spend(1)
                self._refuse_tag(event.tag)
                block = event.style in ("|", ">")
                self._put(Scalar(event.value, event.style is None, self.line, block), event.anchor)
            case AliasEvent():
                self._alias(event.anchor)
            case MappingStartEvent() | SequenceStartEvent():
                self._spend(1)
                self._refuse_tag(event.tag)
                self._open.append(_Open(isinstance(event, MappingStartEvent), self.line, event.anchor))
                if len(self._open) > MAX_DEPTH:
                    self.problem("The file is nested too deeply.", self.line, f"At most {MAX_DEPTH} levels are read.")
                    raise _Refused
            case MappingEndEvent() | SequenceEndEvent():
                done = self._open.pop()
                tree = self._mapping(done) if done.mapping else Listing(tuple(done.values), done.line)
                self._put(tree, done.anchor)

    def _spend(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self.problem(f"The file has more than {MAX_NODES:,} values (aliases counted).", self.line, "Split it.")
            raise _Refused

    def _put(self, tree: Tree, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = tree, _size(tree)
        if self._open:
            self._open[-1].values.append(tree)
        elif not (isinstance(tree, Scalar) and tree.value is None):
            self.documents.append(tree)

    def _alias(self, name: str) -> None:
        if name not in self._anchors:
            self.problem(f"The file is not valid YAML: nothing is called '&{name}' before '*{name}'.", self.line,
                         _SPECIAL)  # fmt: skip
            raise _Refused
        tree, size = self._anchors[name]
        self._spend(size)
        self._put(tree, None)

    def _mapping(self, done: _Open) -> Mapping:
        entries: dict[str, Entry] = {}
        for key, value in zip(done.values[::2], done.values[1::2], strict=True):
            if not isinstance(key, Scalar):
                self.problem("A key must be plain text.", key.line, _BRACE)
            elif key.text == "<<" and key.plain:
                self.problem("Merge keys ('<<') are not read.", key.line, "Write the values out.")
            elif key.text in entries:
                first = entries[key.text].line
                what = f"'{key.text}' is written twice (first on line {first})."
                self.problem(what, key.line, "Keep one of them.")
            else:
                entries[key.text] = Entry(key.text, value, key.line)
        return Mapping(tuple(entries.values()), done.line)

    def _refuse_tag(self, tag: object) -> None:
        if tag is not None and str(tag) not in _PLAIN_TAGS:
            self.problem(f"The tag '{tag}' is not read.", self.line, "Leave it out.")


def _size(tree: Tree) -> int:
    """Values in a tree; its depth is bounded."""
    if isinstance(tree, Mapping):
        return 1 + sum(1 + _size(entry.node) for entry in tree.entries)
    return 1 + sum(_size(item) for item in tree.items) if isinstance(tree, Listing) else 1


def _syntax(error: MarkedYAMLError, file: str, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = min(mark.line, text.count("\n")) + 1 if mark else 1
    said = " ".join(part for part in (error.context, error.problem) if part).strip() or "it cannot be parsed"
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    return Problem(what=f"The file is not valid YAML: {said}.", file=file, line=line, remedy=_remedy(said, written))


def _remedy(said: str, written: str) -> str | None:
    if "\t" in written:
        return "Indent with spaces, not tabs."
    if "{{" in written or "{%" in written:
        return _BRACE
    if "flow" in said and "(" in written:
        return "Inside { } or [ ], put an expression that contains a comma between double quotes."
    if "mapping values are not allowed" in said:
        return "Put a text that contains ': ' between quotes, or check the indentation."
    if "found character" in said:
        return _SPECIAL
    return None
