"""Ready mappings for the webhooks of known systems: YAML beside this file, in the form of a source's ``webhook`` key.

A project names one with ``preset`` and overrides what it likes. What the preset says is filled in when the project is
loaded, so that a deployed version holds all of it and a new release of Cadenza changes nothing by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cadenza.definitions.decode import Decoder
from cadenza.definitions.kinds import Webhook, WebhookRecord
from cadenza.definitions.surface_webhook import WEBHOOK
from cadenza.definitions.yaml_tree import Mapping, read_yaml
from cadenza.errors import DefinitionError, Problem

_HERE = Path(__file__).parent
_JOINED = frozenset({"properties", "traits", "fields"})
S = TypeVar("S", bound=msgspec.Struct)


def preset_names() -> tuple[str, ...]:
    """The presets there are, sorted."""
    return tuple(sorted(path.stem for path in _HERE.glob("*.yaml")))


@lru_cache
def preset(name: str) -> Webhook:
    """A preset by name. Raises KeyError when there is none."""
    if name not in preset_names():
        raise KeyError(name)
    file = f"presets/{name}.yaml"
    problems: list[Problem] = []
    trees, unread = read_yaml((_HERE / f"{name}.yaml").read_text("utf-8"), file)
    values: dict[str, Any] = {}
    for tree in trees:
        if isinstance(tree, Mapping):
            values |= Decoder(file, problems, lambda body, line: None).fields(WEBHOOK, tree, "")
    if unread or problems:
        raise DefinitionError([*unread, *problems])
    return Webhook(**values)


def with_preset(webhook: Webhook) -> Webhook:
    """The webhook with everything its preset says and it does not; itself when it has none, or one that is not known."""
    if webhook.preset is None or webhook.preset not in preset_names():
        return webhook
    base = preset(webhook.preset)
    merged = _filled(webhook, base)
    ignore = tuple(dict.fromkeys((*webhook.ignore, *base.ignore)))
    return msgspec.structs.replace(merged, ignore=ignore, records=_records(webhook, base.records))


def _records(webhook: Webhook, ready: Iterable[WebhookRecord]) -> tuple[WebhookRecord, ...]:
    """The preset's records, overridden by those of the same name, then the others."""
    own = {record.name: record for record in webhook.records}
    kept = [record for record in ready if record.name not in webhook.without]
    found = [_filled(own.pop(record.name), record) if record.name in own else record for record in kept]
    return (*found, *own.values())


def _filled(given: S, base: S) -> S:
    """``given``, with the values of ``base`` where it has the default."""
    changes: dict[str, Any] = {}
    for field in msgspec.structs.fields(given):
        mine, theirs = getattr(given, field.name), getattr(base, field.name)
        default = field.default_factory() if field.default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT else field.default  # fmt: skip
        if field.name in _JOINED:
            changes[field.name] = {**theirs, **mine}
        elif mine == default:
            changes[field.name] = theirs
    return msgspec.structs.replace(given, **changes)
