"""The read API: the operations as routes, its OpenAPI document and page, health and metrics.

Open on loopback when no token is set. Even then a page of another site cannot use it: the Host must be a
loopback name (no DNS rebinding), no CORS header is ever sent, and a call that does something must not come from
another origin.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from importlib import resources
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cadenza.errors import CadenzaError
from cadenza.surfaces.encoding import to_json
from cadenza.surfaces.metrics import CONTENT_TYPE, exposition
from cadenza.surfaces.openapi import document
from cadenza.surfaces.operation import BadParameter, Operation
from cadenza.surfaces.operations import OPERATIONS
from cadenza.surfaces.problem import Problem, answer_problem, problem, problem_of
from cadenza.workspace import Workspace

LOOPBACK = {"127.0.0.1", "localhost", "::1"}

Readiness = Callable[[], str | None]
"""Why the server is not ready, or None."""

MAX_BODY = 4 * 1024 * 1024
"""Bytes of a request to the read API."""

OPEN_PATHS = ("/", "/docs", "/openapi.json", "/health", "/health/live", "/health/ready")
"""Answered without a token: they say nothing of anyone."""


def api_app(
    workspace: Workspace, token: str | None, readiness: Readiness = lambda: None, pages: Sequence[BaseRoute] = ()
) -> Starlette:
    """The application. ``token``: the bearer token it wants, None for open on loopback; ``pages``: further routes."""
    described = to_json(document(OPERATIONS))
    routes: list[BaseRoute] = [_route(workspace, operation) for operation in OPERATIONS]
    routes += [
        Route("/", _home, name="home"),
        Route("/docs", _page, name="docs"),
        Route("/openapi.json", lambda _: Response(described, media_type="application/json"), name="openapi"),
        Route("/health/live", _live, name="live"),
        Route("/health/ready", _ready(readiness), name="ready"),
        Route("/health", _ready(readiness), name="health"),
        Route("/metrics", _metrics(workspace), name="metrics"),
        *pages,
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, token=token)],
        exception_handlers={HTTPException: _http_problem, Exception: _unexpected},
    )


class Guard:
    """Who may ask. A pure ASGI layer in front of every route."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await answer_problem(refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        if self._token is None:
            host = urlsplit(f"//{headers.get('host', '')}").hostname
            if host not in LOOPBACK:
                remedy = "Use http://127.0.0.1, or set CADENZA_API_TOKEN to serve other names."
                return problem(403, "without a token only this machine may ask.", where="Host", remedy=remedy)
        elif scope["path"] not in OPEN_PATHS and not self._knows(headers.get("authorization", "")):
            return problem(
                401, "this needs the bearer token.", where="Authorization", remedy="Send 'Authorization: Bearer TOKEN'."
            )
        origin = headers.get("origin")
        if scope["method"] not in ("GET", "HEAD") and origin and urlsplit(origin).netloc != headers.get("host"):
            return problem(403, "a page of another site may not do this.", where="Origin")
        return None

    def _knows(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), (self._token or "").encode())


def _route(workspace: Workspace, operation: Operation) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            body = await _body(request) if operation.body is not None else b""
            arguments = operation.arguments(request.path_params, dict(request.query_params), body)
            answer = await run_in_threadpool(operation.run, workspace, arguments)
        except BadParameter as error:
            return answer_problem(problem(400, error.what, error.where, error.remedy))
        except CadenzaError as error:
            return answer_problem(problem_of(error))
        return Response(to_json(answer), media_type="application/json")

    return Route(operation.path, endpoint, methods=[operation.method], name=operation.name)


async def _body(request: Request) -> bytes:
    """The request's body. Raises BadParameter when it is larger than any operation wants."""
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > MAX_BODY:
            raise BadParameter(f"the body has more than {MAX_BODY:,} bytes.", where="body", remedy="Send less at once.")
    return b"".join(parts)


def _home(request: Request) -> Response:
    return RedirectResponse("/docs")


def _page(request: Request) -> Response:
    page = (resources.files("cadenza.surfaces") / "api_page.html").read_text(encoding="utf-8")
    return HTMLResponse(
        page, headers={"content-security-policy": "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'"}
    )


def _live(request: Request) -> Response:
    return Response(b'{"status":"live"}', media_type="application/json")


def _ready(readiness: Readiness) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        reason = readiness()
        if reason is not None:
            return answer_problem(problem(503, reason))
        return Response(b'{"status":"ready"}', media_type="application/json")

    return endpoint


def _metrics(workspace: Workspace) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        return Response(exposition(workspace), media_type=CONTENT_TYPE)

    return endpoint


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    remedy = "GET /openapi.json lists what there is." if error.status_code == 404 else None
    return answer_problem(problem(error.status_code, where=f"{request.method} {request.url.path}", remedy=remedy))


async def _unexpected(request: Request, error: Exception) -> Response:
    # uvicorn prints the traceback: Starlette raises the error again once it is answered.
    return answer_problem(problem_of(error))
