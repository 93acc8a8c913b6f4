"""Which paths collection answers, and which dialect reads what comes there.

Collection owns everything below its ``ROOTS``; the read API declares nothing there (a test compares the two).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal
from urllib.parse import unquote

import msgspec

Ask = Literal[
    "settings", "source_config", "script", "bundle", "metrics", "flags", "remote_config", "remote_config_script"
]
"""What clients ask for before or beside sending calls (``surfaces/collect_asked.py`` answers)."""


ASKED: dict[Ask, str] = {
    "settings": "what Segment's browser and mobile clients load: send everything here",
    "source_config": "what RudderStack's browser client loads: no destinations of its own",
    "script": "the file that `CADENZA_ANALYTICS_JS` names, for the HTML snippet",
    "bundle": "the scripts beside that file",
    "metrics": "nothing is kept of the client's own metrics",
    "flags": "PostHog: no feature flags",
    "remote_config": "PostHog: nothing is switched on",
    "remote_config_script": "the same, as a script that does nothing",
}
"""What each is, in words."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One path and method. ``path`` may hold parameters (``{id}``); they, the headers in ``headers`` (a name that ends in
    ``*`` is a prefix) and the query parameters in ``query`` are the facts that the dialect sees."""

    path: str
    method: str = "POST"
    dialect: str = ""
    call_type: str = ""
    key_in_body: bool = False
    """Whether the write key may ride in the body, when neither header nor query has one."""
    headers: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    ask: Ask | None = None
    """Set for what is answered at once: no calls are stored."""

    @property
    def takes_facts(self) -> bool:
        """Whether its dialect sees more than the body."""
        return bool(self.headers or self.query or "{" in self.path)


class Found(msgspec.Struct, frozen=True):
    """The route of a request and its path parameters."""

    route: Route
    parameters: dict[str, str]


_CALLS = {"track": "t", "identify": "i", "page": "p", "screen": "s", "group": "g", "alias": "a"}
_SENT = ("sentat",)


def _segment() -> list[Route]:
    batches = ("/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch")
    media = ("content-type", *_SENT)
    return [
        *(
            Route(path=f"/v1/{name}", dialect="segment", call_type=call, key_in_body=True, headers=_SENT)
            for call, letter in _CALLS.items()
            for name in (call, letter)
        ),
        *(Route(path=path, dialect="segment", key_in_body=True, headers=media) for path in batches),
        Route(path="/v1/ndjson", dialect="jsonlines"),
        Route(path="/v1/merge", dialect="rudder-merge", call_type="merge", key_in_body=True, headers=_SENT),
        Route(path="/v1/events", dialect="cloudevents", headers=("content-type", "ce-*")),
        Route(path="/v1/projects/{key}/settings", method="GET", ask="settings"),
        Route(path="/v1/m", ask="metrics"),
        Route(path="/analytics.js/v1/{key}/analytics.min.js", method="GET", ask="script"),
        Route(path="/analytics-next/bundles/{file}", method="GET", ask="bundle"),
        Route(path="/sourceConfig", method="GET", ask="source_config"),
    ]


def _jitsu() -> list[Route]:
    return [
        Route(path=f"/api/s/{between}{call}", dialect="jitsu", call_type=call)
        for between in ("", "s2s/")
        for call in _CALLS
    ]


def _posthog() -> list[Route]:
    paths = ("/batch", "/e", "/i/v0/e", "/capture")
    return [
        *(Route(path=path, dialect="posthog", key_in_body=True, headers=("content-type",), query=("compression",)) for path in paths),
        Route(path="/flags", ask="flags"),
        Route(path="/decide", ask="flags"),
        Route(path="/array/{key}/config", method="GET", ask="remote_config"),
        Route(path="/array/{key}/config.js", method="GET", ask="remote_config_script"),
    ]  # fmt: skip


def _customerio() -> list[Route]:
    person = "/api/v1/customers/{id}"
    declared = (
        ("PUT", person, "identify"), ("DELETE", person, "delete"), ("POST", f"{person}/events", "event"),
        ("POST", "/api/v1/events", "event"), ("PUT", f"{person}/devices", "device"),
        ("DELETE", person + "/devices/{device}", "device_delete"), ("POST", f"{person}/suppress", "suppress"),
        ("POST", f"{person}/unsuppress", "unsuppress"), ("POST", "/api/v1/merge_customers", "merge"),
    )  # fmt: skip
    return [Route(path=path, method=method, dialect="customerio", call_type=call) for method, path, call in declared]


ROUTES: tuple[Route, ...] = (*_segment(), *_jitsu(), *_posthog(), *_customerio())
"""Every path of collection, without a slash at the end (requests may have one)."""

ROOTS = (
    "/v1", "/beacon", "/analytics.js", "/analytics-next", "/sourceConfig", "/api/s", "/api/v1", "/batch", "/e", "/i",
    "/capture", "/flags", "/decide", "/array",
)  # fmt: skip
"""Collection owns these paths and all below them."""


def owns(path: str) -> bool:
    """Whether a path belongs to collection, also one that it answers with 404."""
    parts = path.split("/", 3)
    return "/".join(parts[:2]) in _ROOTS or "/".join(parts[:3]) in _ROOTS


_ROOTS = frozenset(ROOTS)
_FIXED: dict[str, dict[str, Found]] = {}
_PATTERNS: list[tuple[re.Pattern[str], dict[str, Route]]] = []


def _learn(route: Route) -> None:
    if "{" not in route.path:
        _FIXED.setdefault(route.path, {})[route.method] = Found(route, {})
        return
    pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(route.path)))
    for known, methods in _PATTERNS:
        if known.pattern == pattern.pattern:
            methods[route.method] = route
            return
    _PATTERNS.append((pattern, {route.method: route}))


for _route in ROUTES:
    _learn(_route)


def find(method: str, path: str, raw_path: bytes | None = None) -> Found | tuple[str, ...]:
    """The route of a request, else the methods that its path takes (none: there is no such path). ``raw_path`` is the path
    before percent-decoding, so that a ``/`` inside a parameter stays one."""
    fixed = _FIXED.get(path) or _FIXED.get(path.rstrip("/"))
    if fixed is not None:
        return fixed.get(method) or tuple(sorted(fixed))
    raw = path if raw_path is None else raw_path.decode("latin-1")
    for pattern, methods in _PATTERNS:
        matched = pattern.fullmatch(raw.rstrip("/"))
        if matched is not None:
            route = methods.get(method)
            if route is None:
                return tuple(sorted(methods))
            return Found(route, {name: unquote(value) for name, value in matched.groupdict().items()})
    return ()


@lru_cache(1_024)
def of_calls(target: bytes) -> Found | None:
    """The route of a POST that brings calls to this request target; None for all that is out of the ordinary."""
    path = target.partition(b"?")[0]
    if b"%" in path:
        return None
    found = find("POST", path.decode("latin-1"), path)
    return found if isinstance(found, Found) and found.route.ask is None else None


def facts(found: Found, headers: Mapping[bytes, bytes], query: Mapping[str, list[str]]) -> dict[str, str]:
    """What the dialect may see of a request beside its body. ``headers`` by lower-case name."""
    seen = dict(found.parameters)
    for name in found.route.query:
        if name in query:
            seen[name] = query[name][0]
    for name in found.route.headers:
        if name.endswith("*"):
            prefix = name[:-1].encode()
            seen |= {
                key.decode("latin-1"): value.decode("latin-1")
                for key, value in headers.items()
                if key.startswith(prefix)
            }
        elif (value := headers.get(name.encode())) is not None:
            seen[name] = value.decode("latin-1")
    return seen
