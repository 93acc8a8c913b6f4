"""The examples of ``docs/howto/send-events.md`` with each client: run as they stand, and one event arrives."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from cadenza.surfaces.collect_http import collect_app
from tests.adapters.certificate import certificate
from tests.clients.proxy import proxying
from tests.clients.runs import MODULES, bodies, node, page, served, until
from tests.collect.asgi import Site, site
from tests.docs.pages import ROOT, blocks

EXAMPLES = {
    block.path: block.text
    for block in blocks(ROOT / "docs/howto/send-events.md")
    if block.path and block.language in ("python", "javascript", "html")
}
ADDRESS = "http://127.0.0.1:8400"

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture
def opened(tmp_path):
    with site(tmp_path) as held:
        held.app = collect_app(held.collector, {"starter-write-key": "website"})
        yield held


def arrived(opened: Site) -> None:
    """The order is there."""
    until(lambda: any(body.get("event") == "Order Completed" for body in bodies(opened)), "the order")
    order = next(body for body in bodies(opened) if body.get("event") == "Order Completed")
    assert (order["userId"], order["properties"]["revenue"]) == ("u-1", 20)
    assert opened.log.log.quarantine_counts() == {}


def run(command: list[str], folder: Path, **environment: str) -> None:
    """A program that ends well."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False, env=os.environ | environment
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.endswith(".py")])
def test_python_example(opened, tmp_path, name):
    made = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    secure = name.startswith("customerio")
    with served(opened) as address, proxying(address, tls=context if secure else None) as (url, _):
        text = EXAMPLES[name].replace(ADDRESS, url).replace("port=8400", f"port={url.rpartition(':')[2]}")
        (tmp_path / name).write_text(text, encoding="utf-8")
        run([sys.executable, "-W", "ignore", name], tmp_path, REQUESTS_CA_BUNDLE=str(made.certificate))
    arrived(opened)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.endswith(".mjs")])
def test_node_example(opened, tmp_path, name):
    program = node()
    (tmp_path / "node_modules").symlink_to(MODULES)
    with served(opened) as url:
        (tmp_path / name).write_text(EXAMPLES[name].replace(ADDRESS, url), encoding="utf-8")
        run([program, name], tmp_path)
        arrived(opened)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.endswith(".html")])
def test_browser_example(opened, tmp_path, name):
    with served(opened) as url:
        text = EXAMPLES[name].replace(ADDRESS, url) + "<script>fetch('/done', { method: 'POST' })</script>"
        with page(tmp_path, name, url, [], snippet=text):
            arrived(opened)
