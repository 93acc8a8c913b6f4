"""What clients ask for before or beside sending calls: settings, configurations, the script of the HTML snippet.

The answers say: send everything here, nothing else is switched on. Third-party code is served from where the operator
installed it, never from this package.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from cadenza.surfaces.collect_routes import Found

_JSON, _SCRIPT = b"application/json", b"text/javascript; charset=utf-8"
_BUNDLE = re.compile(r"[\w.-]+\.js")
SCRIPT_VARIABLE = "CADENZA_ANALYTICS_JS"
_REMEDY = (
    f"Install the npm package @segment/analytics-next and set {SCRIPT_VARIABLE} to its dist/umd/standalone.js before "
    "the server starts."
)


class Asked(msgspec.Struct, frozen=True):
    """An answer that is not about calls."""

    body: bytes
    media_type: bytes = _JSON


class NotServed(Exception):
    """What was asked for is not here; ``code`` for machines, the message says what to do."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def declared_script(environment: Mapping[str, str]) -> Path | None:
    """The file that ``CADENZA_ANALYTICS_JS`` names, for the HTML snippet; None when it is not set."""
    named = environment.get(SCRIPT_VARIABLE)
    return Path(named) if named else None


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """A request for something other than storing calls. ``sources``: write key -> source; ``keys``: what the request names as
    its write key; ``origin``: scheme and host as the client sees them; ``script``: the file of the HTML snippet."""

    found: Found
    sources: Mapping[str, str]
    keys: tuple[str, ...]
    origin: str
    script: Path | None


def answer_of(asking: Asking) -> Asked:
    """The answer to a route with ``ask``. Raises NotServed."""
    parameters, ask = asking.found.parameters, asking.found.route.ask
    if ask == "settings":
        return _json(_settings(_known(asking, parameters["key"]), asking.origin))
    if ask == "source_config":
        key = _known(asking, *asking.keys)
        return _json(_source_config(key, asking.sources[key]))
    if ask == "script":
        _known(asking, parameters["key"])
        return _file(asking.script, None)
    if ask == "bundle":
        return _file(asking.script, parameters["file"])
    if ask == "remote_config_script":
        return Asked(b"(function(){})();", _SCRIPT)
    return _json(_FIXED[str(ask)])


def _json(value: Any) -> Asked:
    return Asked(msgspec.json.encode(value))


def _known(asking: Asking, *keys: str) -> str:
    """The first of the keys that a source has. Raises NotServed."""
    for key in keys:
        if key in asking.sources:
            return key
    raise NotServed("unknown_write_key", "The write key is not known.")


def _settings(key: str, origin: str) -> dict[str, Any]:
    """What Segment's browser and mobile clients ask before they send anything."""
    scheme, _, host = origin.partition("://")
    default = {"__default": {"enabled": True, "integrations": {}}}
    segment = {
        "apiKey": key, "apiHost": f"{host}/v1", "protocol": scheme,
        "addBundledMetadata": True, "unbundledIntegrations": [], "maybeBundledConfigIds": {},
    }  # fmt: skip
    return {
        "integrations": {"Segment.io": segment}, "plan": {"track": default, "identify": default, "group": default},
        "metrics": {"sampleRate": 0}, "edgeFunction": {}, "middlewareSettings": {}, "enabledMiddleware": {},
        "analyticsNextEnabled": True, "legacyVideoPluginsEnabled": False, "remotePlugins": [],
    }  # fmt: skip


def _source_config(key: str, name: str) -> dict[str, Any]:
    """What RudderStack's browser client asks for: its source, and no destinations of its own."""
    off = {"enabled": False}
    source = {
        "id": name, "name": name, "writeKey": key, "enabled": True, "workspaceId": "cadenza", "connections": [], "destinations": [],
        "config": {"statsCollection": {"errors": off, "metrics": off}}, "dataplanes": {},
    }  # fmt: skip
    return {"source": source}


_FIXED: dict[str, dict[str, Any]] = {
    "metrics": {"success": True},
    "flags": {
        "flags": {}, "featureFlags": {}, "featureFlagPayloads": {}, "errorsWhileComputingFlags": False,
        "supportedCompression": ["gzip", "base64"], "sessionRecording": False,
    },
    "remote_config": {
        "supportedCompression": ["gzip", "base64"], "hasFeatureFlags": False, "sessionRecording": False, "surveys": False,
        "autocapture_opt_out": True, "captureDeadClicks": False, "capturePerformance": False, "heatmaps": False, "siteApps": [],
    },
}  # fmt: skip
"""PostHog's clients learn here that there are no flags, recordings or surveys."""


def _file(script: Path | None, bundle: str | None) -> Asked:
    """The script, or a part of it that lies beside it. Raises NotServed."""
    if script is None:
        raise NotServed("no_script", f"This server has no analytics.min.js. {_REMEDY}")
    path = script if bundle is None else script.parent / bundle
    if bundle is not None and not _BUNDLE.fullmatch(bundle):
        raise NotServed("not_found", "There is no such script.")
    try:
        return Asked(path.read_bytes(), _SCRIPT)
    except OSError as error:
        raise NotServed("no_script", f"The script cannot be read ({error.strerror}). {_REMEDY}") from None
