"""Settings of a destination: checked when the channel is opened, secrets read only when they are used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cadenza.definitions.kinds import Destination
from cadenza.definitions.project import Project
from cadenza.errors import OperatingError, TerminalError, near_miss

S = TypeVar("S", bound=msgspec.Struct)


def read_settings(destination: Destination, kind: type[S]) -> S:
    """The destination's settings as ``kind``. Raises TerminalError naming every unknown, missing or ill-typed one."""
    where = f"destination '{destination.name}'"
    known = msgspec.structs.fields(kind)
    names = {field.encode_name for field in known}
    given: Mapping[str, Any] = destination.settings
    for name in given:
        if name not in names:
            raise TerminalError(
                f"The adapter '{destination.adapter}' has no setting '{name}'.",
                where=where,
                remedy=near_miss(name, names),
            )
    for field in known:
        if field.required and field.encode_name not in given:
            raise TerminalError(
                f"The setting '{field.encode_name}' is missing.",
                where=where, remedy=f"The adapter '{destination.adapter}' cannot work without it.",
            )  # fmt: skip
    try:
        return msgspec.convert(dict(given), kind)
    except msgspec.ValidationError as error:
        raise TerminalError(
            f"A setting is wrong: {error}.", where=where, remedy="Correct it in destinations/."
        ) from error


def require_reference(value: str | None, setting: str, destination: Destination) -> None:
    """Refuse a secret written into a definition: definitions live in git. Raises TerminalError."""
    if value is not None and not all(part.startswith(("env:", "file:")) for part in value.split()):
        raise TerminalError(
            f"The setting '{setting}' must name where the secret is, not hold it.",
            where=f"destination '{destination.name}'", remedy="Write env:NAME or file:/path.",
        )  # fmt: skip


def resolve_secret(reference: str) -> str:
    """The secret behind ``env:NAME`` or ``file:PATH`` as it is now. Raises OperatingError, without the value."""
    scheme, _, name = reference.partition(":")
    if scheme == "env":
        value = os.environ.get(name)
        if not value:
            raise OperatingError(f"The environment variable {name} is not set.", remedy="Set it and try again.")
        return value
    if scheme != "file":
        raise OperatingError("A secret must be written env:NAME or file:PATH.")
    try:
        return Path(name).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OperatingError(f"The secret file {name} cannot be read.", remedy="Check its path and rights.") from error


def write_keys(project: Project) -> dict[str, str]:
    """Write key -> name of its source. A key may be plain (it is public by design) or a reference. Raises OperatingError."""
    keys = {}
    for source in project.sources:
        if source.write_key is not None:
            reference = source.write_key.startswith(("env:", "file:"))
            keys[resolve_secret(source.write_key) if reference else source.write_key] = source.name
    return keys
