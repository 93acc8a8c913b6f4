"""YAML trees -> values, by the shapes of ``surface.py``.

Everything wrong is noted with its line, never raised. A value that cannot be read is replaced by a stand-in
that later checks pass over, so that one mistake is reported once.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import msgspec

from cadenza.definitions import kinds, shapes, surface_journey
from cadenza.definitions.expression import Expr, Lit, duration_seconds, parse, parse_where
from cadenza.definitions.project import Location
from cadenza.definitions.yaml_tree import Entry, Listing, Mapping, Scalar, Tree
from cadenza.errors import ExpressionError, Problem, near_miss

HOLE = Lit(None, "boolean")
"""Stands in for an expression that does not parse; the parser itself never yields a NULL literal."""

LONGEST_BODY = 200_000
LONGEST_DURATION_S = 10 * 366 * 86400
_STEPS = tuple(surface_journey.STEP_DOCS)


def short(text: str) -> str:
    """A text as it is quoted in a problem: at most 60 characters."""
    return text if len(text) <= 60 else text[:57] + "..."


def beside(file: str, name: str) -> str:
    """The path of a file named beside another, relative to the project folder.

    >>> beside('templates/welcome.yaml', 'welcome.liquid')
    'templates/welcome.liquid'
    """
    return posixpath.normpath(posixpath.join(posixpath.dirname(file), name))


def _key_hint(entry: Entry, known: Iterable[str]) -> str | None:
    """A key of several words without a value is most often the rest of a text that was cut at its comma."""
    if " " in entry.key and isinstance(entry.node, Scalar) and entry.node.value is None:
        return "Inside { }, put a text that contains a comma between quotes."
    return near_miss(entry.key, known)


class Decoder:
    """Decodes the trees of one file. ``read_body`` gives the content of a template's body file (and notes
    problems itself); ``parts`` collects where each part of the definition at hand is written."""

    def __init__(self, file: str, problems: list[Problem], read_body: Callable[[str, int], str | None]) -> None:
        self.file = file
        self.problems = problems
        self.read_body = read_body
        self.parts: dict[str, Location] = {}

    def problem(self, what: str, line: int, remedy: str | None = None) -> None:
        """Note one problem of this file."""
        self.problems.append(Problem(what=what, file=self.file, line=line, remedy=remedy))

    # --- maps with known keys ------------------------------------------------------------------

    def fields(self, fields: shapes.Fields, tree: Mapping, path: str) -> dict[str, Any]:
        """The attributes of a struct from a map; problems for unknown and missing keys."""
        known = {field.key: field for field in fields.fields}
        values: dict[str, Any] = {}
        for entry in tree.entries:
            field = known.get(entry.key)
            if field is None:
                self.problem(f"Unknown key '{short(entry.key)}'.", entry.line, _key_hint(entry, known))
                continue
            below = f"{path}.{entry.key}" if path else entry.key
            self.parts[below] = Location(self.file, entry.line)
            value = self._decode(field.shape, entry.node, below, f"'{entry.key}'")
            if field.target == "*":
                values.update(value)
            else:
                values[field.target] = value
        for field in fields.fields:
            if field.required and tree.get(field.key) is None:
                hint = f"For example '{field.key}: {field.example}'." if field.example else field.doc
                self.problem(f"The key '{field.key}' is missing.", tree.line, hint)
                values |= self._standing_in(field)
        return values

    def _standing_in(self, field: shapes.Field) -> dict[str, Any]:
        value = self._stand_in(field.shape)
        return value if field.target == "*" else {field.target: value}

    def _stand_in(self, shape: Any) -> Any:
        """A value that later checks pass over."""
        match shape:
            case shapes.Expression():
                return HOLE
            case shapes.Text() | shapes.Body():
                return ""
            case shapes.Whole() | shapes.Duration() | shapes.Share() | shapes.Number():
                return 0
            case shapes.Truth():
                return False
            case shapes.ListOf() | shapes.Steps() | shapes.Named():
                return ()
            case shapes.Leaving(value, _, attribute):
                return {attribute: self._stand_in(value)}
            case shapes.MapOf() | shapes.Again() | shapes.Awaited() | shapes.JsonSchema() | shapes.Values():
                return {}
            case shapes.Fields(struct, fields):
                needed = (self._standing_in(field) for field in fields if field.required)
                values = {name: value for each in needed for name, value in each.items()}
                return struct(**values) if struct else values
        return None

    # --- values ------------------------------------------------------------------------------------

    def _decode(self, shape: Any, tree: Tree, path: str, label: str) -> Any:
        """The value of a shape; a problem and a stand-in where the tree does not fit."""
        match shape:
            case shapes.Text():
                return self.text(shape, tree, label)
            case shapes.Expression():
                return self._expression(shape, tree, label)
            case shapes.Duration() | shapes.Share() | shapes.Whole() | shapes.Number() | shapes.Truth():
                return self._quantity(shape, tree, label)
            case shapes.Choice(options):
                return self._choice(options, tree, label)
            case shapes.Literal_():
                return self._literal(tree, label)
            case shapes.Body():
                return self._body(tree, path, label)
            case shapes.Again():
                return self._again(tree, path, label)
            case shapes.Values():
                return self._json_map(tree, path, label, "a map")
            case shapes.Awaited():
                return self._awaited(tree, path, label)
            case shapes.Leaving():
                return self._leaving(shape, tree, path, label)
            case shapes.JsonSchema():
                return self._json_map(tree, path, label, "a JSON Schema (a map)")
            case shapes.ListOf():
                return self._list(shape, tree, path, label)
            case shapes.MapOf() | shapes.Named() | shapes.Fields():
                return self._map(shape, tree, path, label)
            case _:
                return self._steps(shape.least, tree, path, label)

    def expected(self, label: str, wanted: str, tree: Tree, remedy: str | None = None) -> None:
        got = "a map" if isinstance(tree, Mapping) else "a list"
        if isinstance(tree, Scalar):
            got = "nothing" if tree.value is None else f"'{short(tree.text)}'"
        self.problem(f"{label} must be {wanted}, not {got}.", tree.line, remedy)

    def text(self, shape: shapes.Text, tree: Tree, label: str) -> Any:
        if isinstance(tree, Scalar) and shape.nullable and tree.value is None:
            return None
        if not isinstance(tree, Scalar) or tree.value is None:
            self.expected(label, shape.meaning, tree)
        elif len(tree.text) > shape.longest:
            self.problem(f"{label} is longer than {shape.longest:,} characters.", tree.line)
        elif "\x00" in tree.text:
            self.problem(f"{label} contains a NUL character.", tree.line)
        elif shape.pattern and not re.fullmatch(shape.pattern, tree.text):
            self.expected(label, shape.meaning, tree)
        else:
            return tree.text
        return ""

    def _expression(self, shape: shapes.Expression, tree: Tree, label: str) -> Expr:
        if not isinstance(tree, Scalar) or tree.value is None:
            self.expected(label, "an expression", tree)
            return HOLE
        value = tree.value if isinstance(tree.value, bool) else tree.text
        try:
            return parse_where(value) if shape.properties else parse(value)
        except ExpressionError as error:
            self.problem(f"{label}: {error.what}", tree.line, error.remedy)
            return HOLE

    def _quantity(self, shape: Any, tree: Tree, label: str) -> Any:
        value = tree.value if isinstance(tree, Scalar) else None
        text = tree.text if isinstance(tree, Scalar) else ""
        match shape:
            case shapes.Truth():
                if isinstance(value, bool):
                    return value
                self.expected(label, "true or false", tree, "Write 'true' or 'false'.")
                return False
            case shapes.Whole(least, most):
                if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
                    return value
                self.expected(label, f"a whole number from {least} to {most}", tree)
            case shapes.Number():
                if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300:
                    return float(value)
                self.expected(label, "a number", tree)
            case shapes.Duration():
                return self._duration(tree, text, label)
            case shapes.Share(least, most):
                return self._share(least, most, tree, text, label)
        return 0

    def _duration(self, tree: Tree, text: str, label: str) -> int:
        if re.fullmatch(shapes.DURATION, text):
            seconds = duration_seconds(text)
            if seconds <= LONGEST_DURATION_S:
                return seconds
            self.problem(f"{label} is longer than ten years.", tree.line)
            return 0
        self.expected(label, "a duration", tree, "Write for example '30 minutes', '5 days', '2 weeks'.")
        return 0

    def _share(self, least: int, most: int, tree: Tree, text: str, label: str) -> int:
        if re.fullmatch(shapes.SHARE, text):
            points = int(Decimal(text.strip().rstrip("%").strip()) * 100)
            if least <= points <= most:
                return points
        wanted = f"a share from {least / 100:g}% to {most / 100:g}% with at most two decimals"
        self.expected(label, wanted, tree, "Write for example '20%'.")
        return 0

    def _choice(self, options: tuple[str, ...], tree: Tree, label: str) -> str | None:
        if isinstance(tree, Scalar) and tree.text in options:
            return tree.text
        text = tree.text if isinstance(tree, Scalar) else ""
        hint = near_miss(text, options) or ""
        wanted = f"one of {', '.join(options)}"
        self.expected(label, wanted, tree, hint if hint.startswith("Did") else None)
        return None

    def _literal(self, tree: Tree, label: str) -> Any:
        value = tree.value if isinstance(tree, Scalar) else None
        if value is not None and (not isinstance(value, float) or abs(value) < 1e300):
            return value
        self.expected(label, "a text, a number, true or false", tree)
        return ""

    def _body(self, tree: Tree, path: str, label: str) -> str:
        """Inline Liquid, or the content of a ``.liquid`` file."""
        text: str | None = self.text(
            shapes.Text(meaning="Liquid text or a file name", longest=LONGEST_BODY), tree, label
        )
        if text and text.endswith(".liquid") and "\n" not in text and "{" not in text:
            self.parts[f"{path}.text"] = Location(beside(self.file, text), 1)
            text = self.read_body(text, tree.line)
        elif isinstance(tree, Scalar) and tree.block:
            self.parts[f"{path}.text"] = Location(self.file, tree.line + 1)
        if text is not None and not text.strip() and isinstance(tree, Scalar) and tree.value is not None:
            self.problem("The body is empty.", tree.line)
        return text or ""

    def _again(self, tree: Tree, path: str, label: str) -> dict[str, Any]:
        if isinstance(tree, Mapping):
            after = shapes.Field(key="after", shape=shapes.Duration(), doc="", attribute="again_after_s",
                                  required=True, example="60 days")  # fmt: skip
            return {"again": "after", **self.fields(shapes.Fields(None, (after,)), tree, path)}
        again = self._choice(shapes.AGAIN, tree, label)
        return {"again": again} if again else {}

    def _leaving(self, shape: shapes.Leaving, tree: Tree, path: str, label: str) -> dict[str, Any]:
        """An exit, with its last steps where it has some."""
        if not isinstance(tree, Mapping):
            return {shape.attribute: self._decode(shape.value, tree, path, label)}
        then = msgspec.structs.replace(surface_journey.LAST_STEPS, attribute=shape.then)
        known = [then]
        if shape.key is not None:
            doc = f"Beside 'then', '{shape.key}' says the exit itself."
            known.append(
                shapes.Field(key=shape.key, shape=shape.value, doc=doc, attribute=shape.attribute, required=True)
            )
        values = self.fields(shapes.Fields(None, tuple(known)), tree, path)
        return values if shape.key is not None else {shape.attribute: True, **values}

    def _json_map(self, tree: Tree, path: str, label: str, wanted: str) -> dict[str, Any]:
        """A map as JSON has it; what it means is checked with the project."""
        if not isinstance(tree, Mapping):
            self.expected(label, wanted, tree)
            return {}
        return self._json(tree, path)

    def _json(self, tree: Tree, path: str) -> Any:
        if isinstance(tree, Scalar):
            value = tree.value
            if isinstance(value, float) and abs(value) > 1e300:
                self.problem(f"'{short(tree.text)}' is too large a number.", tree.line)
                return 0
            if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
                return float(value)
            return value
        if isinstance(tree, Listing):
            named = [(str(number), item, item.line) for number, item in enumerate(tree.items)]
        else:
            named = [(entry.key, entry.node, entry.line) for entry in tree.entries]
        found: dict[str, Any] = {}
        for name, node, line in named:
            self.parts[f"{path}.{name}"] = Location(self.file, line)
            found[name] = self._json(node, f"{path}.{name}")
        return list(found.values()) if isinstance(tree, Listing) else found

    # --- collections -------------------------------------------------------------------------------

    def _list(self, shape: shapes.ListOf, tree: Tree, path: str, label: str) -> tuple[Any, ...]:
        if shape.single and isinstance(tree, Scalar):
            tree = Listing((tree,), tree.line)
        if not isinstance(tree, Listing):
            self.expected(label, "a list", tree)
            return ()
        if len(tree.items) < shape.least:
            self.problem(f"{label} is empty.", tree.line)
        for number, item in enumerate(tree.items):
            self.parts[f"{path}.{number}"] = Location(self.file, item.line)
        return tuple(
            self._decode(shape.item, item, f"{path}.{number}", f"Item {number + 1} of {label}")
            for number, item in enumerate(tree.items)
        )

    def _map(self, shape: Any, tree: Tree, path: str, label: str) -> Any:
        if not isinstance(tree, Mapping):
            self.expected(label, "a map", tree)
            return self._stand_in(shape)
        if isinstance(shape, shapes.Fields):
            values = self.fields(shape, tree, path)
            return shape.struct(**values) if shape.struct else values
        if len(tree.entries) < shape.least:
            self.problem(f"{label} must have at least {shape.least}.", tree.line)
        found: dict[str, Any] = {}
        for entry in tree.entries:
            below = f"{path}.{entry.key}"
            self.parts[below] = Location(self.file, entry.line)
            name = self.text(shape.key, Scalar(entry.key, False, entry.line), f"A name in {label}")
            item = shape.fields if isinstance(shape, shapes.Named) else shape.item
            if isinstance(shape, shapes.Named) and isinstance(entry.node, Mapping):
                found[name] = item.struct(name=name, **self.fields(item, entry.node, below))
            elif isinstance(shape, shapes.Named):
                self.expected(f"'{entry.key}'", "a map", entry.node)
            else:
                found[name] = self._decode(item, entry.node, below, f"'{entry.key}'")
        return tuple(found.values()) if isinstance(shape, shapes.Named) else found

    # --- steps ---------------------------------------------------------------------------------------

    def _steps(self, least: int, tree: Tree, path: str, label: str) -> tuple[kinds.Step, ...]:
        if not isinstance(tree, Listing):
            self.expected(label, "a list of steps", tree)
            return ()
        if len(tree.items) < least:
            self.problem(f"{label} must have at least {least} step.", tree.line)
        found = [self._step(item, f"{path}.{number}") for number, item in enumerate(tree.items)]
        return tuple(step for step in found if step is not None)

    def _step(self, tree: Tree, path: str) -> kinds.Step | None:
        self.parts[path] = Location(self.file, tree.line)
        if isinstance(tree, Scalar) and tree.text == "exit":
            return kinds.ExitStep()
        if not isinstance(tree, Mapping):
            self.expected("A step", "a map with one key", tree, f"Steps: {', '.join(_STEPS)}.")
            return None
        label, entries = self._label(tree)
        if len(entries) != 1:
            keys = ", ".join(f"'{short(entry.key)}'" for entry in entries) or "none"
            self.problem(f"A step has one key, this one has {keys}.", tree.line, "Begin every step with '- '.")
            return None
        step = self._step_of(entries[0], path)
        return step if step is None or label is None else msgspec.structs.replace(step, label=label)

    def _label(self, tree: Mapping) -> tuple[str | None, list[Entry]]:
        """The label beside a step, and the other keys."""
        found = [entry for entry in tree.entries if entry.key == "label"]
        label = self.text(surface_journey.LABEL.shape, found[0].node, "'label'") if found else None
        return label or None, [entry for entry in tree.entries if entry.key != "label"]

    def _step_of(self, entry: Entry, path: str) -> kinds.Step | None:
        match entry.key:
            case "enter":
                return kinds.Enter(journey=self.text(shapes.Text(meaning="a journey"), entry.node, "'enter'"))
            case "jump":
                return self._map(surface_journey.JUMP, entry.node, path, "'jump'")
            case "send" if isinstance(entry.node, Mapping):
                return self._send(entry.node, path)
            case "send":
                return kinds.Send(template=self.text(shapes.Text(meaning="a template"), entry.node, "'send'"))
            case "wait":
                return self._wait(entry.node, path)
            case "wait_for":
                return self._map(surface_journey.WAIT_FOR, entry.node, path, "'wait_for'")
            case "split" | "experiment":
                return self._split(entry.key, entry.node, path)
            case "branch":
                return self._branch(entry, path)
            case "hand_off":
                return self._map(surface_journey.HAND_OFF, entry.node, path, "'hand_off'")
            case "call":
                return self._map(surface_journey.CALL, entry.node, path, "'call'")
            case "update":
                return self._update(entry.node, path)
            case "exit":
                return self._exit(entry.node)
        if entry.key in surface_journey.LATER_STEPS:
            self.problem(f"The step '{entry.key}' cannot be run yet.", entry.line, f"Steps: {', '.join(_STEPS)}.")
        else:
            self.problem(f"Unknown step '{entry.key}'.", entry.line, near_miss(entry.key, _STEPS))
        return None

    def _send(self, tree: Mapping, path: str) -> kinds.Send:
        said = self._map(surface_journey.SEND, tree, path, "'send'")
        template, templates = said.pop("template", ""), said.pop("templates", ())
        said.pop("channel", None)
        best = tree.get("channel") is not None
        example = "Write 'send: { channel: best, templates: [welcome_mail, welcome_text] }'."
        if tree.get("template") is not None and (best or tree.get("templates") is not None):
            self.problem("The send has 'template' beside 'channel: best'.", tree.line, example)
        elif best and tree.get("templates") is None:
            self.problem("'channel: best' has no 'templates' to choose from.", tree.line, example)
        elif tree.get("templates") is not None and not best:
            self.problem("'templates' is said without 'channel: best'.", tree.line, example)
        elif len(templates) == 1:
            what = "'channel: best' has one template, so there is nothing to choose."
            self.problem(what, tree.line, f"Write 'send: {templates[0]}', or add one of another channel.")
        elif tree.get("template") is None and not best:
            self.problem("The key 'template' is missing.", tree.line, "For example 'template: welcome_mail'.")
        return kinds.Send(template=template or next(iter(templates), ""), templates=templates, **said)

    def _wait(self, tree: Tree, path: str) -> kinds.Wait:
        if isinstance(tree, Mapping):
            return kinds.Wait(duration_s=0, local=self._map(surface_journey.LOCAL_WAIT, tree, path, "'wait'"))
        return kinds.Wait(duration_s=self._quantity(shapes.Duration(), tree, "'wait'"))

    def _awaited(self, tree: Tree, path: str, label: str) -> dict[str, Any]:
        """Conditions, each alone or with its steps."""
        items = tree.items if isinstance(tree, Listing) else (tree,)
        if not items:
            self.problem(f"{label} is empty.", tree.line)
        conditions: list[Expr] = []
        arms: list[tuple[kinds.Step, ...]] = []
        for number, item in enumerate(items):
            below = f"{path}.{number}"
            self.parts[below] = Location(self.file, item.line)
            if isinstance(item, Mapping):
                arm = self._map(surface_journey.ARM, item, below, f"Item {number + 1} of {label}")
                conditions.append(arm.when)
                arms.append(arm.steps)
            else:
                conditions.append(self._expression(shapes.Expression(), item, f"Item {number + 1} of {label}"))
                arms.append(())
        return {"any": tuple(conditions), "arms": tuple(arms) if any(arms) else ()}

    def _exit(self, tree: Tree) -> kinds.ExitStep:
        if isinstance(tree, Scalar) and tree.value is None:
            return kinds.ExitStep()
        return kinds.ExitStep(reason=self.text(shapes.Text(shapes.NAME, "a reason (one word)"), tree, "'exit'"))

    def _split(self, word: str, tree: Tree, path: str) -> kinds.Split:
        before = len(self.problems)
        shape = surface_journey.SPLIT if word == "split" else surface_journey.EXPERIMENT
        split = self._map(shape, tree, path, f"'{word}'")
        total = sum(arm.share_bp for arm in split.arms)
        if len(self.problems) == before and total != 10_000:
            what = f"The shares of the {word} '{split.name}' add up to {total / 100:g}%, not 100%."
            self.problem(what, tree.line, "Change a share, or add an arm with no steps.")
        return split

    def _update(self, tree: Tree, path: str) -> kinds.Update:
        if isinstance(tree, Mapping) and len(tree.entries) == 1 and isinstance(tree.get("set"), Mapping):
            tree = tree.entries[0].node
        return kinds.Update(set=self._map(shapes.MapOf(shapes.Literal_(), least=1), tree, path, "'update'"))

    def _branch(self, entry: Entry, path: str) -> kinds.Branch:
        """A list of arms; ``unknown`` and ``otherwise`` must both be said."""
        items = entry.node.items if isinstance(entry.node, Listing) else ()
        if not isinstance(entry.node, Listing):
            self.expected("'branch'", "a list of arms", entry.node)
        arms: list[kinds.Arm] = []
        ends: dict[str, tuple[kinds.Step, ...]] = {}
        for item in items:
            end = item.entries[0] if isinstance(item, Mapping) and len(item.entries) == 1 else None
            if end and end.key in ("unknown", "otherwise"):
                if end.key in ends:
                    self.problem(f"'{end.key}' is written twice in the branch.", end.line, "Keep one of them.")
                ends[end.key] = self._steps(0, end.node, f"{path}.{end.key}", f"'{end.key}'")
                continue
            below = f"{path}.arms.{len(arms)}"
            self.parts[below] = Location(self.file, item.line)
            if ends:
                self.problem("An arm stands after 'unknown' or 'otherwise'.", item.line, "Put it before them.")
            arms.append(self._map(surface_journey.ARM, item, below, "An arm of the branch"))
        if isinstance(entry.node, Listing):
            self._branch_ends(entry, len(arms), ends)
        return kinds.Branch(arms=tuple(arms), unknown=ends.get("unknown", ()), otherwise=ends.get("otherwise", ()))

    def _branch_ends(self, entry: Entry, arms: int, ends: dict[str, tuple[kinds.Step, ...]]) -> None:
        if not arms:
            self.problem("The branch has no arm.", entry.line, "Begin with '- when: ...' and its 'steps'.")
        for key, meaning in (("unknown", "a condition is null"), ("otherwise", "no condition is true")):
            if key not in ends:
                self.problem(f"The branch has no '{key}' arm.", entry.line,
                             f"Add '- {key}: [...]' for persons for whom {meaning}.")  # fmt: skip
