"""Nothing that a customer sent is ever in the log, in what the server prints, in its metrics or in its spans."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import ROOT, environment, eventually, fetch
from tests.adapters.receivers import http_server, told_spans

KEY = "starter-write-key"
SMTP = """destination: mail
channel: email
adapter: smtp
address: email
settings: { host: 127.0.0.1, port: 1, sender: 'Shop <shop@shop.example>', security: none, timeout_s: 2 }
retry: { attempts: 2, backoff: 1 seconds }
"""


def post(url: str, path: str, body: bytes, **headers: str) -> int:
    given = {
        "content-type": "application/json",
        "user-agent": "canary-agent",
        "referer": "https://canary-referer.example/",
    }
    request = urllib.request.Request(
        url + path, data=body, headers=given | {k.replace("_", "-"): v for k, v in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def send_canaries(url: str) -> None:
    """Good and bad requests, with a canary wherever a customer's value can be."""
    zone = f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"
    around = {"context": {"ip": "canary-ip", "userAgent": "canary-browser"}}
    for n in range(8):  # a part is held out
        who = {"userId": f"canary-user-{n}", "anonymousId": f"canary-anonymous-{n}", **around}
        calls: list[dict[str, Any]] = [
            {"type": "identify", "traits": {"email": f"canary-{n}@shop.example", "first_name": "canary-name", "time_zone": zone}},
            {"type": "track", "event": "Consent Updated", "properties": {"purpose": "marketing", "channel": "email", "granted": True}},
            {"type": "track", "event": "Signed Up", "properties": {"note": "canary-property"}},
            {"type": "track", "event": "Order Completed", "messageId": "canary-id", "properties": {"revenue": f"canary-{n}"}},
            {"type": "canary-type"}, {"type": "track", "event": "canary-event"}, {"type": "track", "timestamp": "canary-time"},
        ]  # fmt: skip
        body = json.dumps({"batch": [who | call for call in calls], "writeKey": KEY}).encode()
        assert post(url, "/v1/batch", body) == 200
    assert post(url, "/v1/track", b'{"userId": "canary-broken", ') in (400, 401)
    for bad in (b'{"userId": "canary-broken", ', b"canary\xff", gzip.compress(b"{canary")[:-9]):
        assert post(url, f"/v1/track?writeKey={KEY}", bad) == 400
    assert post(url, "/v1/track?writeKey=canary-key", b"{}") == 401
    assert post(url, "/v1/batch", b'{"batch":[],"writeKey":"canary-key"}', authorization="Basic Y2FuYXJ5Og==") == 401
    assert fetch(f"{url}/api/persons/canary-nobody")[0] == 404
    assert fetch(f"{url}/api/query?sql=SELECT%20%27canary%27%3A%3AINT")[0] >= 400


def test_no_canary_gets_out(starter: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(starter, folder)
    (folder / "destinations" / "mail.yaml").write_text(SMTP)
    done = subprocess.run(
        [sys.executable, "-m", "cadenza.surfaces.cli", "apply", "--yes"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    out, err = (tmp_path / "out").open("w+"), (tmp_path / "err").open("w+")
    with http_server() as (traces, port), out, err:
        tracing = environment(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}")
        script = ROOT / "tests" / "operate" / "failing_server.py"
        process = subprocess.Popen(
            [sys.executable, str(script), "run", "--port", "0", "--log", "json"], cwd=folder, env=tracing,
            stdin=subprocess.DEVNULL, stdout=out, stderr=err,
        )  # fmt: skip
        try:
            found = eventually(
                lambda: re.search(r"is live at (http://\S+)", Path(out.name).read_text()), lambda m: m is not None
            )
            assert found is not None
            url = found[1]
            send_canaries(url)
            # The message was tried, and its destination refused it.
            eventually(
                lambda: fetch(f"{url}/api/messages")[1],
                lambda rows: any(row["attempts"] > 1 or row["state"] == "failed" for row in rows),
            )
            eventually(lambda: Path(err.name).read_text(), lambda text: "StoreError" in text and "ValueError" in text)
            metrics = eventually(lambda: fetch(f"{url}/metrics"), lambda a: 'outcome="quarantined"' in str(a[1]))[1]
            health = [fetch(url + path)[1] for path in ("/health", "/health/ready", "/health/live")]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    printed, logged = Path(out.name).read_text(), Path(err.name).read_text()
    spans = told_spans(traces)
    assert {span.name for _, span in spans} == {"commit", "sequence", "tick", "deliver"}
    told = {"stdout": printed, "stderr": logged, "metrics": metrics, "health": json.dumps(health), "spans": str(spans)}
    for name, text in told.items():
        assert "canary" not in text.lower(), (
            f"{name}: {[line for line in text.splitlines() if 'canary' in line.lower()]}"
        )
    events = [json.loads(line) for line in logged.splitlines()]
    assert {"started", "stopped", "tick failed", "tick works again"} <= {e["event"] for e in events}
    failed = next(e for e in events if e["event"] == "tick failed")
    assert any("failing_server.py" in place for place in failed["places"])
    kept = folder / ".cadenza" / "trouble.txt"
    assert "canary-tick" in kept.read_text(), "the whole text is kept for the owner"
    assert kept.stat().st_mode & 0o077 == 0
