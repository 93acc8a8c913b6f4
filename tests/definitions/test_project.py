"""Projects as data: canonical encoding, versions, and the surface that covers every field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import Phase, given, settings

from cadenza.definitions import kinds, shapes, surface, surface_journey
from cadenza.definitions.definition import Definition
from cadenza.definitions.project import Project, decode, encode, version_of
from tests.definitions.strategies import PROJECTS


@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(PROJECTS)
def test_a_project_survives_encoding(project: Project) -> None:
    data = encode(project)
    again = decode(data)
    assert again == project
    assert encode(again) == data
    assert [version_of(d) for *_, d in again.named()] == [version_of(d) for *_, d in project.named()]


def structs_of(shape: Any) -> Iterator[shapes.Fields]:
    match shape:
        case shapes.Fields():
            yield shape
            for field in shape.fields:
                yield from structs_of(field.shape)
        case shapes.ListOf(item, _, _) | shapes.MapOf(item, _, _):
            yield from structs_of(item)
        case shapes.Named(fields, _, _):
            yield from structs_of(fields)


EVERY = [
    fields
    for shape in (
        *(kind.body for kind in surface.SURFACE),
        surface_journey.LOCAL_WAIT,
        surface_journey.WAIT_FOR,
        surface_journey.SPLIT,
        surface_journey.EXPERIMENT,
        surface_journey.JUMP,
        surface_journey.HAND_OFF,
        surface_journey.ARM,
        surface.PROJECT,
    )
    for fields in structs_of(shape)
    if fields.struct is not None
]


def _attributes(field: shapes.Field) -> set[str]:
    """What a key of YAML sets: one attribute, or those over which its shape spreads it; the first is its value."""
    if isinstance(field.shape, shapes.Leaving):
        return {field.shape.attribute, field.shape.then}
    return {field.target}


@pytest.mark.parametrize("fields", EVERY, ids=lambda fields: fields.struct.__name__)
def test_every_attribute_of_a_definition_can_be_written_in_yaml(fields: shapes.Fields) -> None:
    spread = {"again", "again_after_s", "attempts", "backoff_s", "any", "arms"}
    said = {name for field in fields.fields for name in _attributes(field)} | {"label"}  # stands beside a step
    if "*" in said:
        said |= spread & set(fields.struct.__struct_fields__)
    assert said - {"*"} | {"name"} == set(fields.struct.__struct_fields__) | {"name", "label"}


@pytest.mark.parametrize("fields", EVERY, ids=lambda fields: fields.struct.__name__)
def test_required_keys_are_the_fields_without_default(fields: shapes.Fields) -> None:
    required = {f.name for f in msgspec.structs.fields(fields.struct) if f.required} - {"name"}
    said = [field for field in fields.fields if field.required]
    assert {f.shape.attribute if isinstance(f.shape, shapes.Leaving) else f.target for f in said} - {"name"} == required


def test_the_surface_knows_every_kind_and_every_step() -> None:
    covered = {fields.struct for fields in EVERY}
    steps = set(get_args(kinds.Step))
    every = {
        kind for kind in vars(kinds).values()
        if isinstance(kind, type) and issubclass(kind, Definition) and kind is not Definition
    }  # fmt: skip
    assert every - covered == steps - {kinds.WaitFor, kinds.Split, kinds.Experiment, kinds.Jump, kinds.HandOff}
    assert set(surface_journey.STEP_DOCS) == {step.__struct_config__.tag for step in steps}
