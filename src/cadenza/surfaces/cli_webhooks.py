"""Commands for webhook sources: which there are, and what a recorded payload would become."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from cadenza.errors import CadenzaError, OperatingError
from cadenza.runtime.webhooks import Mapped
from cadenza.surfaces.on_project import HERE, OnProject, using
from cadenza.surfaces.problem import EXIT_OK

webhooks = App(name="webhooks", help="The webhook sources of the project: list them, or try a recorded payload.")


@webhooks.default
def list_webhooks(*, on: OnProject = HERE) -> int:
    """List the webhook sources of the project's folder, and whether their secrets can be read here."""
    with using(on) as (workspace, terminal, _):
        found = list(workspace.webhooks.over(workspace.validate().project).endpoints())
        if on.json:
            terminal.answer(found)
        rows = [
            (e.source, e.path, e.scheme, f"not set: {', '.join(e.missing)}" if e.missing else "ok", ", ".join(e.topics))
            for e in found
        ]
        columns = ("source", "path", "scheme", "secrets", "topics")
        terminal.table("Webhooks", columns, rows)
    return EXIT_OK


@webhooks.command(name="try")
def try_payload(
    source: str, payload: Path, /, *, header: Annotated[list[str] | None, Parameter(negative=())] = None,
    on: OnProject = HERE,
) -> int:  # fmt: skip
    """Show the calls that a recorded payload would become, by the rules in the project's folder. Nothing is kept, and no
    signature is asked for.

    Parameters
    ----------
    source
        The webhook source.
    payload
        A file with the request's body.
    header
        A header of the request, as "Name: value"; may be given several times.
    """
    headers = dict(_header(text) for text in header or [])
    with using(on) as (workspace, terminal, _):
        try:
            body = payload.read_bytes()
        except OSError as error:
            raise OperatingError(f"the file cannot be read: {error.strerror}.", where=str(payload)) from error
        mapped = workspace.webhooks.over(workspace.validate().project).map(source, body, headers)
        terminal.answer(_shown(mapped))
    return EXIT_OK


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise CadenzaError(f"'{text}' is not a header.", remedy='Write for example --header "X-Topic: orders/paid".')
    return name.strip().lower(), value.strip()


def _shown(mapped: Mapped) -> dict[str, Any]:
    order = ("type", "messageId", "timestamp", "event", "userId", "anonymousId", "groupId", "properties", "traits")
    calls = [
        {name: value for name in order if (value := getattr(call, name)) is not None} for call in mapped.decoded.calls
    ]
    bad = [{"reason": one.reason, "detail": one.detail} for one in mapped.decoded.bad]
    shown = {"calls": calls, "quarantined": bad, "ignored": mapped.ignored}
    return msgspec.json.decode(msgspec.json.encode(shown))


def add_to(app: App) -> None:
    """Give the command line these commands."""
    app.command(webhooks)
