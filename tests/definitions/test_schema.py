"""The generated JSON Schemas against the real loader: what one takes, the other takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings, strategies as st

from cadenza.definitions import shapes, surface
from cadenza.definitions.decode import Decoder
from cadenza.definitions.load import Loaded, _Document, _Reader
from cadenza.definitions.schema import schemas
from cadenza.definitions.starter import starter_files
from cadenza.definitions.yaml_tree import Entry, Listing, Mapping, Scalar, Tree, read_yaml

ROOT = Path(__file__).parents[2]
SCHEMAS = schemas()
VALIDATORS = {name: jsonschema_rs.Draft202012Validator(schema) for name, schema in SCHEMAS.items()}


def plain(tree: Tree) -> Any:
    """A document as an editor's JSON Schema validator sees it."""
    if isinstance(tree, Scalar):
        return tree.value
    if isinstance(tree, Mapping):
        return {entry.key: plain(entry.node) for entry in tree.entries}
    return [plain(item) for item in tree.items]


def kind_of(file: str, document: dict[str, Any]) -> str:
    if "test" in document:  # which also says its journey
        return "test"
    for kind in surface.SURFACE:
        if kind.singular in document or kind.plural in document:
            return kind.singular or kind.plural
    if file == "cadenza.yaml":
        return "project"
    return "identity" if "identifiers" in document else "policy"


def documents(files: dict[str, str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for file, text in files.items():
        if file.endswith(".yaml"):
            trees, problems = read_yaml(text, file)
            assert not problems
            for tree in trees:
                document = plain(tree)
                yield f"{file}", kind_of(file, document), document


def example_files() -> dict[str, str]:
    folder = ROOT / "examples" / "online-retail"
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*.yaml"))}


STARTER = {name: content.decode() for name, content in starter_files().items()}
GOOD = [*documents(STARTER), *documents(example_files())]
GOOD += [
    (f"example of {k.plural}", k.singular or k.plural, plain(read_yaml(k.example, "")[0][0])) for k in surface.SURFACE
]


def test_every_schema_is_a_valid_schema() -> None:
    assert set(SCHEMAS) == {k.singular or k.plural for k in surface.SURFACE} | {"project"}
    for schema in SCHEMAS.values():
        assert jsonschema_rs.meta.is_valid(schema)


@pytest.mark.parametrize(("where", "kind", "document"), GOOD, ids=lambda value: value if isinstance(value, str) else "")
def test_every_document_of_the_examples_is_valid(where: str, kind: str, document: dict[str, Any]) -> None:
    assert [error.message for error in VALIDATORS[kind].iter_errors(document)] == []


def test_the_example_of_every_kind_is_read_without_a_problem_of_form(read: Callable[[dict[str, str]], Loaded]) -> None:
    """The examples of the reference stand together as one project."""
    files = {"cadenza.yaml": "project: reference\n"}
    for kind in surface.SURFACE:
        folder = kind.folder if kind.folder.endswith(".yaml") else f"{kind.folder}/example.yaml"
        files[folder] = kind.example
    files["contracts/more.yaml"] = (
        "contract: Order Refunded\nproperties: { revenue: { type: decimal } }\n---\ncontract: Signed Up\n"
    )
    files["metrics/more.yaml"] = "metric: first_order\nkind: conversion\nevent: Order Completed\nwithin: 7 days\n"
    files["traits/more.yaml"] = (
        "traits:\n  first_name: { type: string, from: traits.first_name }\n"
        "  time_zone: { type: string, from: traits.time_zone }\n"
    )
    assert read(files).project.name == "reference"


def mutations(node: Any) -> Iterator[Any]:
    """The document with one thing broken: a key renamed, removed or given a value of no sense."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield {**{k: v for k, v in node.items() if k != key}, f"{key}x!": value}
            yield {k: v for k, v in node.items() if k != key}
            yield {**node, key: [[]]}
            for changed in mutations(value):
                yield {**node, key: changed}
    elif isinstance(node, list):
        for number, item in enumerate(node):
            for changed in mutations(item):
                yield [*node[:number], changed, *node[number + 1 :]]


def tree_of(value: Any) -> Tree:
    """The tree that the loader would read from a YAML text of the value."""
    if isinstance(value, dict):
        return Mapping(tuple(Entry(str(key), tree_of(item), 1) for key, item in value.items()), 1)
    if isinstance(value, list):
        return Listing(tuple(tree_of(item) for item in value), 1)
    return Scalar(value if isinstance(value, str) else json.dumps(value), not isinstance(value, str), 1)


def complaints_of_form(file: str, document: Any) -> list[str]:
    """What the loader says of one document before it looks at names and types."""
    reader = _Reader(ROOT)
    _Document(reader, file, ROOT / file).document(tree_of(document))
    return [str(problem) for problem in reader.problems]


@pytest.mark.parametrize(("where", "kind", "document"), GOOD, ids=lambda value: value if isinstance(value, str) else "")
def test_schema_and_loader_refuse_the_same_mutants(where: str, kind: str, document: dict[str, Any]) -> None:
    """Only two things of form are beyond JSON Schema: shares that add up, and expressions that parse."""
    if kind == "template":
        document = {**document, "body": "x"}  # not the name of a file, which is not there
    file = {"policy": "policies/x.yaml", "identity": "identity.yaml", "project": "cadenza.yaml"}.get(kind, "any/x.yaml")
    assert complaints_of_form(file, document) == []
    refused = 0
    for mutant in mutations(document):
        told = complaints_of_form(file, mutant)
        if VALIDATORS[kind].is_valid(mutant):
            assert not [text for text in told if "not allowed in" not in text and "add up" not in text], mutant
        else:
            refused += 1
            assert told, mutant
    assert refused >= 3


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="0123456789. %daysweekhourmint", max_size=14))
def test_durations_and_shares_have_one_form(text: str) -> None:
    for shape, pattern in ((shapes.Duration(), shapes.DURATION), (shapes.Share(), shapes.SHARE)):
        problems: list[Any] = []
        Decoder("f", problems, lambda name, line: None)._decode(shape, Scalar(text, False, 1), "p", "x")
        if not problems:
            assert jsonschema_rs.is_valid({"type": "string", "pattern": pattern}, text)
