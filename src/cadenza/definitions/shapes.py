"""The shapes that values of definitions have in YAML: what ``surface.py`` is written in."""

from __future__ import annotations

from typing import Any, Union

import msgspec

NAME = "^[A-Za-z][A-Za-z0-9_-]{0,62}$"
"""Names of definitions that other definitions refer to."""
COLUMN = "^[a-z][a-z0-9_]{0,62}$"
"""Names that conditions use as a word: traits and flags."""
CALL_MEMBER = "^([a-z][a-z0-9_]{0,62}|entry\\.[A-Za-z_][A-Za-z0-9_]{0,62})$"
"""What a call sends: a trait, or a property of the event that started the passage."""
ANSWER_PATH = (
    "^[A-Za-z_][A-Za-z0-9_-]{0,62}(\\[[0-9]{1,4}\\])*(\\.[A-Za-z_][A-Za-z0-9_-]{0,62}(\\[[0-9]{1,4}\\])*){0,9}$"
)
"""Where a value stands in the JSON of an answer."""
LOCAL_TIME = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
CLOSING_TIME = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
CALENDAR_DATE = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
AGAIN = ("once", "after_exit", "unless_goal", "replace")
DURATION = "^\\s*0{0,3}[1-9][0-9]{0,8}\\s*(second|minute|hour|day|week)s?\\s*$"
SHARE = "^\\s*[0-9]{1,3}(\\.[0-9]{1,2})?\\s*%\\s*$"
LONGEST_TEXT = 4_000


class Text(msgspec.Struct, frozen=True):
    """Text; a number written without quotes is taken as its text."""

    pattern: str | None = None
    meaning: str = "text"
    longest: int = LONGEST_TEXT
    nullable: bool = False


class Whole(msgspec.Struct, frozen=True):
    """An integer from ``least`` to ``most``."""

    least: int = 0
    most: int = 1_000_000


class Number(msgspec.Struct, frozen=True):
    """Any number."""


class Truth(msgspec.Struct, frozen=True):
    """``true`` or ``false``."""


class Duration(msgspec.Struct, frozen=True):
    """``30 days``, longer than nothing and at most ten years; kept in seconds."""


class Share(msgspec.Struct, frozen=True):
    """``20%``; kept in basis points, ``least_bp`` to ``most_bp``."""

    least_bp: int = 0
    most_bp: int = 10_000


class Choice(msgspec.Struct, frozen=True):
    """One of a few words."""

    options: tuple[str, ...]


class Expression(msgspec.Struct, frozen=True):
    """A condition or value in the expression language; over ``properties`` of one event, or over traits."""

    properties: bool = False


class Literal_(msgspec.Struct, frozen=True):
    """A text, number or truth value."""


class ListOf(msgspec.Struct, frozen=True):
    item: Any
    least: int = 0
    single: bool = False
    """One item may be written without the list."""


class MapOf(msgspec.Struct, frozen=True):
    item: Any
    key: Text = Text()
    least: int = 0


class Fields(msgspec.Struct, frozen=True):
    """A map with known keys that becomes ``struct`` (None: its attributes go to the struct around it)."""

    struct: Any
    fields: tuple["Field", ...]


class Named(msgspec.Struct, frozen=True):
    """A map from names to ``fields``; the name becomes the attribute ``name``. Becomes a tuple in the order written."""

    fields: Fields
    key: Text
    least: int = 1


class Body(msgspec.Struct, frozen=True):
    """Liquid text, or the name of a ``.liquid`` file beside the definition."""


class Again(msgspec.Struct, frozen=True):
    """One of the words ``AGAIN``, or ``{after: 60 days}``."""


class Awaited(msgspec.Struct, frozen=True):
    """Conditions, each alone or as ``{when, steps}``; one may be written without the list."""


class Leaving(msgspec.Struct, frozen=True):
    """An exit: a value alone; or a map of it, under ``key``, and ``then``, the last steps of who leaves so. Without a
    ``key`` the map alone means ``true``."""

    value: Any
    key: str | None
    attribute: str
    then: str
    """The attributes of the value and of the steps."""


class JsonSchema(msgspec.Struct, frozen=True):
    """A JSON Schema, written as YAML."""


class Values(msgspec.Struct, frozen=True):
    """A map of any values, as JSON has them."""


class Steps(msgspec.Struct, frozen=True):
    """A list of journey steps."""

    least: int = 0


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One key of a map. ``attribute`` defaults to the key; ``*`` spreads a ``Fields`` without struct."""

    key: str
    shape: Any
    doc: str
    attribute: str = ""
    required: bool = False
    example: str = ""

    @property
    def target(self) -> str:
        return self.attribute or self.key


Shape = Union[
    Text, Whole, Number, Truth, Duration, Share, Choice, Expression, Literal_, ListOf, MapOf, Fields, Named, Body,
    Again, Awaited, Leaving, JsonSchema, Values, Steps,
]  # fmt: skip
