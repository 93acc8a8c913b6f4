"""A folder of YAML -> a Project. The only part of ``definitions`` that reads files.

Everything wrong is collected, with file, line and a near-miss hint, and raised once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import astuple

from cadenza.definitions import kinds, surface, surface_kind, surface_policy
from cadenza.definitions.check import check
from cadenza.definitions.check_testing import check_tests
from cadenza.definitions.decode import LONGEST_BODY, Decoder, beside, short
from cadenza.definitions.flags import with_flags
from cadenza.definitions.kinds_testing import JourneyTest
from cadenza.definitions.presets import with_preset
from cadenza.definitions.project import DEFAULT_IDENTITY, Location, Project
from cadenza.definitions.yaml_tree import MAX_BYTES, Entry, Mapping, Scalar, Tree, read_text, read_yaml
from cadenza.errors import DefinitionError, Problem, near_miss

PROJECT_FILE = "cadenza.yaml"
_LATER_FOLDERS = ("offers", "jobs")
_FOLDERS = {kind.folder: kind for kind in surface.SURFACE if kind.folder != "identity.yaml"}
_NOT_DEPLOYED = ("tests",)
_SINGULAR = {kind.singular: kind for kind in surface.SURFACE if kind.singular}
_PLURAL = {kind.plural: kind for kind in surface.SURFACE}


class Loaded(msgspec.Struct, frozen=True):
    """A valid project; where each definition ``(kind, name)`` and each of its parts ``(kind, name, path)`` is
    written; and what is not wrong but looks it."""

    project: Project
    locations: dict[tuple[str, str], Location]
    places: dict[tuple[str, str, str], Location]
    warnings: tuple[Problem, ...] = ()
    tests: tuple[JourneyTest, ...] = ()
    """In the order of their files. No part of the project: what is deployed does not change with them."""
    test_problems: tuple[Problem, ...] = ()
    """What is wrong with the tests alone. It keeps nobody from planning and applying."""


def load(folder: Path) -> Loaded:
    """Read, decode and check the project in ``folder``. Raises DefinitionError with every problem, those of its tests
    too; where only its tests have problems, they come with what was loaded."""
    reader = _Reader(Path(folder))
    reader.read()
    project = reader.project()
    found, warnings = check(project, reader.locations, reader.places, partial=reader.partial)
    tests = reader.tests()
    wrong = check_tests(tests, project, reader.locations, reader.places, partial=reader.partial)
    in_tests = {p for p in reader.problems if p.file.startswith("tests/")}
    problems = {*reader.problems, *found} - in_tests
    if problems:
        raise DefinitionError(_ordered({*problems, *in_tests, *wrong}))
    return Loaded(
        project, reader.locations, reader.places, _ordered([*reader.warnings, *warnings]), tests,
        _ordered({*in_tests, *wrong}),
    )  # fmt: skip


def _ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda p: (p.file, p.line, p.what)))


class _Reader:
    """The pass over the files of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.locations: dict[tuple[str, str], Location] = {}
        self.places: dict[tuple[str, str, str], Location] = {}
        self.partial = False
        """A file could not be read, so that names may only seem to be missing."""
        self._name = ""
        self._undeclared_events: Any = "allow"
        self._log = kinds.LogKeeping()
        self._found: dict[str, dict[str, Any]] = {kind.plural: {} for kind in surface.SURFACE}

    def read(self) -> None:
        """Read every definition file below the folder."""
        if not (self.folder / PROJECT_FILE).is_file():
            what = f"'{self.folder}' is not a Cadenza project: there is no {PROJECT_FILE}."
            remedy = "Run 'cadenza init' there, or name the project's folder."
            raise DefinitionError([Problem(what=what, file=PROJECT_FILE, line=1, remedy=remedy)])
        for path in self._files():
            self._read_file(path)

    def _files(self) -> list[Path]:
        files = []
        for entry in sorted(self.folder.iterdir()):
            if entry.is_file() and entry.suffix in (".yaml", ".yml"):
                files.append(entry)
            elif entry.is_dir() and not entry.name.startswith((".", "_")):
                files += self._files_of(entry)
        return files

    def _files_of(self, folder: Path) -> list[Path]:
        found = [
            Path(at, name)
            for at, below, names in os.walk(folder)
            for name in names
            if name.endswith((".yaml", ".yml")) and not below.sort()  # type: ignore[func-returns-value]
        ]
        if not found or folder.name in _FOLDERS:
            return sorted(found)
        first = self.relative(min(found))
        if folder.name in _LATER_FOLDERS:
            what = f"The folder '{folder.name}' is not read yet."
            self.warnings.append(Problem(what=what, file=first, line=1))
        elif (hint := near_miss(folder.name, _FOLDERS)) and hint.startswith("Did"):
            what = f"The folder '{folder.name}' is not read."
            self.warnings.append(Problem(what=what, file=first, line=1, remedy=hint))
        return []

    def relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _read_file(self, path: Path) -> None:
        file = self.relative(path)
        text, problems = _read(path, file, MAX_BYTES)
        documents: list[Tree] = []
        if text is not None:
            documents, problems = read_yaml(text, file)
        self.problems += problems
        self.partial = self.partial or bool(problems)
        for document in documents:
            _Document(self, file, path).document(document)

    def add(self, kind: surface_kind.Kind, name: str, definition: Any, at: Location) -> bool:
        """Keep a definition; False (and a problem) where the name is taken."""
        first = self.locations.get((kind.plural, name))
        if first is not None:
            what = (
                f"The {kind.singular} '{name}' is already defined at {first}."
                if kind.singular
                else f"The project has one {kind.plural}; it is at {first}."
            )
            self.problems.append(Problem(what=what, file=at.file, line=at.line, remedy="Keep one of them."))
            return False
        self.locations[kind.plural, name] = at
        self._found[kind.plural][name] = definition
        return True

    def about_project(self, said: dict[str, Any]) -> None:
        """What ``cadenza.yaml`` says of the project as a whole."""
        self._name = said.get("project") or ""
        self._undeclared_events = said.get("undeclared_events") or "allow"
        self._log = said.get("log") or kinds.LogKeeping()

    def tests(self) -> tuple[JourneyTest, ...]:
        """The journey tests, by file and line."""
        found = self._found["tests"]
        return tuple(found[name] for name in sorted(found, key=lambda n: astuple(self.locations["tests", n])))

    def project(self) -> Project:
        """The project of everything found so far, each kind sorted by name."""
        kinds_found: dict[str, Any] = {
            plural: tuple(found[name] for name in sorted(found))
            for plural, found in self._found.items()
            if _PLURAL[plural].singular and plural not in _NOT_DEPLOYED
        }
        identity = self._found["identity"].get("identity", DEFAULT_IDENTITY)
        policy = self._found["policy"].get("policy", kinds.Policy())
        return Project(
            name=self._name or "project", undeclared_events=self._undeclared_events, identity=identity, policy=policy,
            log=self._log, **kinds_found,
        )  # fmt: skip


class _Document:
    """Reads the documents of one file: says what each is and has it decoded."""

    def __init__(self, reader: _Reader, file: str, path: Path) -> None:
        self.reader = reader
        self.file = file
        self.path = path
        self.decoder = Decoder(file, reader.problems, self.read_body)
        self.problem = self.decoder.problem

    def document(self, tree: Tree) -> None:
        """One YAML document: a definition, a map of several, or the project file."""
        if not isinstance(tree, Mapping):
            self.problem("A definition is a map of keys and values.", tree.line)
            return
        keys = {entry.key for entry in tree.entries}
        if self.file == PROJECT_FILE and not keys & {*_SINGULAR, *_PLURAL}:
            self._project_file(tree)
        elif kind := self._one_of_a_kind(keys):
            self._definition(kind, kind.plural, tree, tree.line, ())
        elif heading := self._heading(tree):
            kind = _SINGULAR[heading.key]
            self._definition(kind, heading.node, tree, heading.line, (heading.key,))
        else:
            for entry in tree.entries:
                self._several(entry)

    def _heading(self, tree: Mapping) -> Entry | None:
        """The entry that says what a definition is and its name. A test also says its journey, in whichever order."""
        found = [entry for entry in tree.entries if entry.key in _SINGULAR]
        return next((entry for entry in found if entry.key == "test"), found[0] if found else None)

    def _one_of_a_kind(self, keys: set[str]) -> surface_kind.Kind | None:
        """Identity and policy have no heading: the file's place says what they are."""
        if keys & {*_SINGULAR, *_PLURAL}:
            return None
        if self.file in ("identity.yaml", "identity.yml") or keys <= {"identifiers"}:
            return surface.IDENTITY
        return surface_policy.POLICY if self.file.startswith("policies/") else None

    def _project_file(self, tree: Mapping) -> None:
        self.decoder.parts = {}
        self.reader.about_project(self.decoder.fields(surface.PROJECT, tree, ""))
        self.reader.locations["project", "project"] = Location(self.file, tree.line)
        for path, where in self.decoder.parts.items():
            self.reader.places["project", "project", path] = where

    def _several(self, entry: Entry) -> None:
        """``traits: { name: {...} }``, or ``policy: {...}``."""
        kind = _PLURAL.get(entry.key)
        if kind is None:
            expected = [*(k for k in _SINGULAR if k), *_PLURAL]
            folder = self.file.split("/")[0]
            remedy = near_miss(entry.key, expected) or ""
            if not remedy.startswith("Did") and folder in _FOLDERS and (of := _FOLDERS[folder]).singular:
                remedy = f"Begin the document with '{of.singular}: NAME'."
            self.problem(f"'{entry.key}' is not a kind of definition.", entry.line, remedy)
        elif not isinstance(entry.node, Mapping):
            wanted = "a map of its keys" if kind.singular is None else "a map from names to definitions"
            self.problem(f"'{entry.key}' must be {wanted}.", entry.line)
        elif kind.singular is None:
            self._definition(kind, kind.plural, entry.node, entry.line, ())
        else:
            for one in entry.node.entries:
                self._definition(kind, Scalar(one.key, False, one.line), one.node, one.line, ())

    def _definition(
        self, kind: surface_kind.Kind, name: Tree | str, tree: Tree, line: int, heading: tuple[str, ...]
    ) -> None:
        named = name if isinstance(name, str) else self._name(kind, name)
        if not isinstance(tree, Mapping):
            self.problem(f"The {kind.singular} '{named}' must be a map of keys and values.", tree.line)
            tree = Mapping((), tree.line)
        body = Mapping(tuple(entry for entry in tree.entries if entry.key not in heading), line)
        self.decoder.parts = {}
        values = self.decoder.fields(kind.body, body, "")
        if kind.singular:
            values["name"] = named
        definition = kind.body.struct(**values)
        if isinstance(definition, kinds.Journey):
            definition = with_flags(definition)
        elif isinstance(definition, kinds.Source) and definition.webhook is not None:
            definition = msgspec.structs.replace(definition, webhook=with_preset(definition.webhook))
        if named and self.reader.add(kind, named, definition, Location(self.file, line)):
            for path, where in self.decoder.parts.items():
                self.reader.places[kind.plural, named, path] = where

    def _name(self, kind: surface_kind.Kind, name: Tree) -> str:
        """A definition's name. One of a bad form is kept, so that what refers to it is not told of it as well."""
        read = self.decoder.text(kind.name, name, f"The name of the {kind.singular}")
        return read or (name.text[:100] if isinstance(name, Scalar) else "")

    def read_body(self, name: str, line: int) -> str | None:
        """The content of a ``.liquid`` file that lies inside the project; a problem and None otherwise."""
        path = self.path.parent / name
        if not path.resolve().is_relative_to(self.reader.folder.resolve()):
            self.problem(f"'body': '{short(name)}' lies outside the project.", line)
            return None
        if not path.is_file():
            there = [found.name for found in self.path.parent.glob("*.liquid")]
            self.problem(f"'body': there is no file '{short(name)}'.", line, near_miss(name, there))
            return None
        text, problems = _read(path, beside(self.file, name), LONGEST_BODY)
        self.reader.problems += problems
        return text


def _read(path: Path, file: str, most: int) -> tuple[str | None, list[Problem]]:
    """The text of a file, never more than ``most`` bytes of it; or why it cannot be had."""
    try:
        if not path.is_file():
            return None, [Problem(what="This is not a file.", file=file, line=1)]
        with path.open("rb") as opened:
            return read_text(opened.read(most + 1), file, most)
    except OSError as error:
        return None, [Problem(what=f"The file cannot be read: {error.strerror}.", file=file, line=1)]
