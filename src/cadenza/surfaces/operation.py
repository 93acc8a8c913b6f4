"""An operation of the API, as a value: its route, what it takes, what it answers. The routes of the server, the OpenAPI
document and the page that shows it are made from one list of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from cadenza.errors import CadenzaError
from cadenza.workspace import Workspace

Kind = Literal["string", "integer", "date-time"]


class BadParameter(CadenzaError):
    """A parameter of a request is not what it must be; ``where`` names it."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter. ``maximum`` bounds integers; those of the path are always required."""

    name: str
    place: Literal["path", "query"]
    meaning: str
    kind: Kind = "string"
    default: int | None = None
    maximum: int | None = None
    required: bool = False
    enum: tuple[str, ...] = ()
    example: str | None = None

    def read(self, given: str | None) -> Any:
        """The value that a request gave. Raises BadParameter."""
        if given is None or given == "":
            if self.required:
                raise BadParameter("the parameter is missing.", where=self.name, remedy=self.meaning)
            return self.default
        if self.enum and given not in self.enum:
            raise BadParameter(f"'{given}' is not known.", where=self.name, remedy=f"Known: {', '.join(self.enum)}.")
        if self.kind == "integer":
            return self._integer(given)
        return self._instant(given) if self.kind == "date-time" else given

    def _integer(self, given: str) -> int:
        if not given.isascii() or not given.isdigit() or len(given) > 18:
            raise BadParameter(f"'{given}' is not a whole number from 0.", where=self.name)
        return min(int(given), self.maximum) if self.maximum is not None else int(given)

    def _instant(self, given: str) -> datetime:
        try:
            return parse_instant(given)
        except ValueError:
            raise BadParameter(
                f"'{given}' is not an instant.", where=self.name, remedy="Write for example 2011-12-09T12:00:00Z (UTC)."
            ) from None


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """``answer`` is the type of the answer (a struct, or a collection of them); ``run`` makes it. ``body``: the struct that
    the request's JSON is, given to ``run`` as ``body``."""

    path: str
    name: str
    summary: str
    answer: Any
    run: Callable[[Workspace, Mapping[str, Any]], object]
    parameters: tuple[Parameter, ...] = ()
    method: Literal["GET", "POST"] = "GET"
    group: str = "read"
    body: Any = None

    def arguments(self, path: Mapping[str, Any], query: Mapping[str, str], body: bytes = b"") -> dict[str, Any]:
        """Every parameter's value, and the body's. Raises BadParameter, also for a parameter that does not exist."""
        unknown = set(query) - {p.name for p in self.parameters if p.place == "query"}
        if unknown:
            known = ", ".join(p.name for p in self.parameters if p.place == "query") or "none"
            raise BadParameter("there is no such parameter.", where=sorted(unknown)[0], remedy=f"Known: {known}.")
        given = {p.name: p.read(path.get(p.name) if p.place == "path" else query.get(p.name)) for p in self.parameters}
        return given if self.body is None else {**given, "body": self._read_body(body)}

    def _read_body(self, body: bytes) -> Any:
        try:
            return msgspec.json.decode(body or b"{}", type=self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadParameter(
                f"the body cannot be used: {error}.", where="body", remedy="Send one JSON object."
            ) from None


def limit_of(default: int, maximum: int) -> Parameter:
    """The parameter that says how many at most."""
    meaning = f"How many at most; never more than {maximum}."
    return Parameter(name="limit", place="query", kind="integer", default=default, maximum=maximum, meaning=meaning)


def parse_instant(text: str) -> datetime:
    """A naive UTC instant of an RFC 3339 text or a date; without a zone it is UTC. Raises ValueError.

    >>> parse_instant('2011-12-09T13:00:00+01:00')
    datetime.datetime(2011, 12, 9, 12, 0)
    """
    instant = datetime.fromisoformat(text)
    offset = instant.utcoffset()
    return instant if offset is None else instant.replace(tzinfo=None) - offset
