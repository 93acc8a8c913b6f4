"""Errors as RFC 9457 problem details, and as exit codes."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from cadenza.errors import (
    CadenzaError,
    DefinitionError,
    ExpressionError,
    OperatingError,
    Problem as Fault,
    StateError,
    TransientError,
)
from cadenza.surfaces.encoding import to_json

MEDIA_TYPE = "application/problem+json"

EXIT_OK, EXIT_INPUT, EXIT_USAGE, EXIT_OPERATING = 0, 1, 2, 3
"""0 done; 1 a problem in what was given; 2 wrong use of the command; 3 the surroundings refused."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457, with the parts of every Cadenza error: ``detail`` what, ``where`` it is, ``remedy`` what to do."""

    title: str
    status: int
    type: str = "about:blank"
    detail: str | None = None
    where: str | None = None
    remedy: str | None = None
    problems: tuple[Fault, ...] = ()


TITLES = {
    400: "Bad request", 401: "Not authorised", 403: "Forbidden", 404: "Not found", 405: "Method not allowed",
    409: "Conflict", 422: "Not usable", 500: "Internal error", 503: "Not available",
}  # fmt: skip


def problem(status: int, detail: str | None = None, where: str | None = None, remedy: str | None = None) -> Problem:
    """A problem with the standard title of its status."""
    return Problem(title=TITLES.get(status, "Error"), status=status, detail=detail, where=where, remedy=remedy)


def problem_of(error: Exception) -> Problem:
    """The problem that an error is. Errors that are not Cadenza's own say nothing of their inside."""
    if isinstance(error, DefinitionError):
        count = len(error.problems)
        base = problem(422, f"{count} problem(s) in the project.", remedy="Mend them, then try again.")
        return msgspec.structs.replace(base, problems=error.problems)
    if isinstance(error, CadenzaError):
        return problem(_status(error), error.what, error.where, error.remedy)
    return problem(500, "Something unexpected happened.", remedy="The server's own output has the details.")


def answer_problem(fault: Problem) -> Response:
    """The response of a problem."""
    headers = {"www-authenticate": "Bearer"} if fault.status == 401 else {}
    return Response(to_json(fault), fault.status, headers, MEDIA_TYPE)


def exit_code(error: CadenzaError) -> int:
    """The exit code of a command that ended with this error."""
    return EXIT_OPERATING if isinstance(error, OperatingError) else EXIT_INPUT


def _status(error: CadenzaError) -> int:
    if isinstance(error, TransientError):
        return 503
    if isinstance(error, OperatingError):
        return 500
    if isinstance(error, ExpressionError):
        return 400
    if isinstance(error, StateError):
        return 409
    # What is asked for by name and is not there.
    return 404
