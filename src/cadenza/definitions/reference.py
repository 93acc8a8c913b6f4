"""The reference of the definitions, as Markdown: ``docs/reference/definitions.md`` is this text.

Write it with ``python -m cadenza.definitions.reference > docs/reference/definitions.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from cadenza.definitions import shapes, surface, surface_journey
from cadenza.definitions.builtin import BUILTIN_CONTRACTS
from cadenza.definitions.expression import FUNCTIONS
from cadenza.definitions.expression_text import duration_text
from cadenza.definitions.payload import FUNCTIONS as PAYLOAD_FUNCTIONS

_HEAD = """# Definitions

This page is generated from the code that reads definitions; do not edit it.

A project is a folder with a `cadenza.yaml` (`project: NAME`) and one folder for each kind of definition. A YAML document
holds one definition (`journey: NAME` and its keys) or a map of several (`journeys: { NAME: {...} }`); a file may hold many
documents, separated by `---`. `cadenza validate` reports everything that is wrong at once, with file, line and a hint.

Written forms: a **duration** is `30 minutes`, `5 days`, `2 weeks` (a day is 24 hours); a **share** is `20%`, with at
most two decimals; an **expression** is text in the language below. Inside `{ }` and `[ ]`, put a text that contains a
comma between quotes.
"""

_FUNCTIONS = {
    "event": ("event('E', where => ...)", "The record being processed is this event. Only in `goal`, `disqualified` and `wait_for`."),
    "events": ("events('E', where => ..., within => '30 days')", "How many such events the person has; 0 when none."),
    "sum_of": ("sum_of('E', property, where => ..., within => ...)", "Sum of a number over such events; null when none."),
    "min_of": ("min_of('E', property, where => ..., within => ...)", "Smallest value over such events; null when none."),
    "max_of": ("max_of('E', property, where => ..., within => ...)", "Largest value over such events; null when none."),
    "last_at": ("last_at('E', where => ..., within => ...)", "When the latest such event occurred; null when none."),
    "first_at": ("first_at('E', where => ..., within => ...)", "When the first such event occurred; null when none."),
    "in_segment": ("in_segment('S')", "Whether the person is a member."),
    "in_journey": ("in_journey('J')", "Whether the person is under way in the journey. Not in traits and segments."),
    "consented": ("consented('purpose', 'channel')", "Whether the latest explicit statement grants; none is no."),
    "older_than": ("older_than(instant, '90 days')", "Whether so much time has passed since; null when the instant is."),
}  # fmt: skip

_LANGUAGE = """## Expressions

SQL conditions over traits: comparison (`=`, `<>`, `<`, `<=`, `>`, `>=`), `and`, `or`, `not`, `+`, `-`, `*`, `in (...)`,
`between`, `like`, `is null`, `coalesce`, literals (`'text'`, `12`, `3.5`, `true`, `timestamp '2026-01-31'`), and the functions
below. Logic is three-valued, as in SQL: what is unknown is null, and only true counts as true. Integers and decimals mix;
all other comparisons need one type. Inside `where`, a word is a property of the event. In
exits, `wait_for` and branches of a journey `entry.X` is the value that the trait X had when the passage began; X alone is its
value now. (In templates `entry.X` is a property of the event that triggered the journey.)

| Function | Meaning |
| --- | --- |
"""


_PAYLOAD = """## Expressions over payloads

The rules of a webhook source are written in the same operators, over one JSON payload: a word is a field
(`customer.email`, `lines[0].sku`, `properties['a key']`; -1 is the last element), `payload` is the whole, `item` the element
of `each`, `||` joins texts. A field has any type unless `fields` declares it, and is converted to the type of what it is
compared with. What cannot be converted sends the payload to quarantine. What is not there is null, and so are `null` and `""`.

| Function | Meaning |
| --- | --- |
"""


def reference() -> str:
    """The page."""
    return (
        "\n".join(
            [
                _HEAD,
                *_contents(),
                *_kinds(),
                *_steps(),
                _LANGUAGE + _functions(),
                _PAYLOAD + _payload_functions(),
                *_builtin(),
            ]
        )
        + "\n"
    )


def _contents() -> Iterator[str]:
    yield "| Kind | Where | What |\n| --- | --- | --- |"
    for kind in surface.SURFACE:
        title = kind.singular or kind.plural
        where = kind.folder if "." in kind.folder else f"{kind.folder}/"
        yield f"| [{title}](#{title}) | `{where}` | {kind.doc.split('. ')[0].split(': ')[0].rstrip('.')} |"
    yield ""


def _kinds() -> Iterator[str]:
    for kind in surface.SURFACE:
        yield f"## {kind.singular or kind.plural}\n\n{kind.doc}\n\n```yaml\n{kind.example}```\n"
        yield from _table(kind.body, "")


def _table(fields: shapes.Fields, within: str) -> Iterator[str]:
    """One table of keys, then one for each map inside it."""
    yield "| Key | Type | Default | Meaning | Example |\n| --- | --- | --- | --- | --- |"
    for field in fields.fields:
        cells = (f"`{field.key}`", _type(field.shape), _default(fields, field), field.doc, _code(field.example))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""
    for field in fields.fields:
        inner = _inner(field.shape)
        if inner is not None:
            path = f"{within}.{field.key}" if within else field.key
            yield f"### `{path}`\n"
            yield from _table(inner, path)


def _inner(shape: Any) -> shapes.Fields | None:
    match shape:
        case shapes.Fields():
            return shape
        case shapes.ListOf(item, _, _) | shapes.MapOf(item, _, _):
            return _inner(item)
        case shapes.Named(fields, _, _):
            return fields
    return None


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _type(shape: Any) -> str:
    """The type of a value, in words."""
    match shape:
        case shapes.Text(nullable=nullable):
            return "text or null" if nullable else "text"
        case shapes.Whole(least, most):
            return f"integer {least} to {most}"
        case shapes.Choice(options):
            return " or ".join(f"`{option}`" for option in options)
        case shapes.Expression(properties):
            return "expression over properties" if properties else "expression"
        case shapes.ListOf(item, _, _):
            return f"list of {_plural(_type(item))}"
        case shapes.MapOf(item, _, _):
            return f"map of {_plural(_type(item))}"
        case shapes.Named() | shapes.Fields():
            return "map"
        case shapes.Again():
            return ", ".join(f"`{word}`" for word in shapes.AGAIN) + " or `{ after: ... }`"
        case shapes.Awaited():
            return "list of expressions or `{ when, steps }`"
        case shapes.Leaving(value, key):
            return f"{_type(value)}, or `{{ {key}, then }}`" if key else f"{_type(value)}, or `{{ then }}`"
        case shapes.Body():
            return "Liquid or file"
        case shapes.Values():
            return "map of any values"
        case shapes.JsonSchema():
            return "JSON Schema"
    return {shapes.Number: "number", shapes.Truth: "`true` or `false`", shapes.Duration: "duration",
            shapes.Share: "share", shapes.Literal_: "text, number or truth value", shapes.Steps: "list of steps"}[
        type(shape)
    ]  # fmt: skip


def _plural(noun: str) -> str:
    return noun if noun in ("text",) or "," in noun else f"{noun}s"


def _default(fields: shapes.Fields, field: shapes.Field) -> str:
    if field.required:
        return "required"
    if isinstance(field.shape, shapes.Again):
        return "`once`"
    if fields.struct is None or field.target == "*":
        return ""
    of = {f.name: f for f in msgspec.structs.fields(fields.struct)}[field.target]
    value = of.default_factory() if of.default is msgspec.NODEFAULT else of.default
    if isinstance(field.shape, shapes.Duration):
        return f"`{duration_text(value)}`" if value else ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value not in (None, "", (), {}) else ""


def _steps() -> Iterator[str]:
    yield "## Steps of a journey\n\n| Step | Meaning |\n| --- | --- |"
    for name, doc in surface_journey.STEP_DOCS.items():
        yield f"| `{name}` | {doc} |"
    yield f"\n### `wait`\n\n{surface_journey.LOCAL_WAIT_DOC}\n"
    yield from _table(surface_journey.LOCAL_WAIT, "wait")
    yield "### `wait_for`\n"
    yield from _table(surface_journey.WAIT_FOR, "wait_for")
    yield "### `jump`\n"
    yield from _table(surface_journey.JUMP, "jump")
    yield "### `split`\n"
    yield from _table(surface_journey.SPLIT, "split")
    yield "### `experiment`\n"
    yield from _table(surface_journey.EXPERIMENT, "experiment")
    yield "### `hand_off`\n"
    yield from _table(surface_journey.HAND_OFF, "hand_off")
    yield "### `call`\n"
    yield from _table(surface_journey.CALL, "call")
    yield "### `branch` arm\n"
    yield from _table(surface_journey.ARM, "branch")
    yield "### An exit with last steps\n"
    yield from _table(shapes.Fields(None, (surface_journey.LAST_STEPS,)), "exit")


def _functions() -> str:
    rows = (f"| `{_FUNCTIONS[name][0]}` | {_FUNCTIONS[name][1]} |" for name in FUNCTIONS)
    return "\n".join(rows) + "\n"


def _payload_functions() -> str:
    return "\n".join(f"| `{name}` | {doc} |" for name, (_, _, doc) in PAYLOAD_FUNCTIONS.items()) + "\n"


def _builtin() -> Iterator[str]:
    yield "## Built-in events\n\nThese need no contract; one of the same name adds to them.\n"
    yield "| Event | Properties | Meaning |\n| --- | --- | --- |"
    for contract in BUILTIN_CONTRACTS:
        shown = (f"`{n}` {p.type}" + ("" if p.required else "?") for n, p in contract.properties.items())
        yield f"| `{contract.name}` | {', '.join(shown)} | {contract.description} |"


if __name__ == "__main__":
    sys.stdout.write(reference())
