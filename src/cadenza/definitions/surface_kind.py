"""What the surface of every kind of definition is made of."""

from __future__ import annotations

from typing import Any

import msgspec

from cadenza.definitions.shapes import (
    COLUMN,
    NAME,
    Field,
    Fields,
    Text,
)


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of definition: ``plural`` is its field of Project and its folder, ``singular`` its heading key
    (None: there is one per project, without a name)."""

    plural: str
    singular: str | None
    name: Text
    body: Fields
    folder: str
    doc: str
    example: str


def field(key: str, shape: Any, doc: str, **more: Any) -> Field:
    return Field(key=key, shape=shape, doc=doc, **more)


OWNER = field("owner", Text(), "Team or person that answers for it.", example="growth@shop.example")
DESCRIPTION = field("description", Text(), "What it is for, for people.")
NAME_TEXT = Text(NAME, "made of letters, digits, _ and -, a letter first")
COLUMN_TEXT = Text(COLUMN, "made of lower-case letters, digits and _, a letter first")
