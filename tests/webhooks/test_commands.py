"""``cadenza webhooks``: what sources there are, and what a payload would become."""

from __future__ import annotations

import json

from cadenza.surfaces.cli import main
from tests.webhooks.kit import GENERIC, project_of

PAYLOAD = {"id": "e1", "type": "thing", "at": "2026-11-22T11:00:00Z", "who": "u1", "n": 5}


def ran(capsys, folder, *arguments: str) -> tuple[int, str, str]:
    code = main([*arguments, "--project", str(folder)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_sources_are_listed_with_what_is_missing(tmp_path, capsys):
    project_of(tmp_path, GENERIC.replace("env:SECRET", "env:CADENZA_TEST_NEVER_SET"))
    code, out, _ = ran(capsys, tmp_path, "webhooks")
    assert code == 0
    assert "not set: env:CADENZA_TEST_NEVER_SET" in " ".join(out.split())
    code, out, _ = ran(capsys, tmp_path, "webhooks", "--json")
    (found,) = json.loads(out)
    assert (found["path"], found["topics"], found["ignored"]) == ("/v1/webhooks/hooks", ["thing"], ["noise", "other.*"])


def test_a_payload_is_tried(tmp_path, capsys):
    project_of(tmp_path, GENERIC)
    (tmp_path / "p.json").write_text(json.dumps(PAYLOAD))
    code, out, _ = ran(capsys, tmp_path, "webhooks", "try", "hooks", str(tmp_path / "p.json"))
    assert code == 0
    assert json.loads(out) == {
        "calls": [{"type": "track", "messageId": "hooks:e1:happened", "timestamp": "2026-11-22T11:00:00Z",
                   "event": "Happened", "userId": "u1", "properties": {"n": 5}}],
        "quarantined": [], "ignored": {},
    }  # fmt: skip


def test_what_is_given_wrongly_is_told(tmp_path, capsys):
    project_of(tmp_path, GENERIC)
    (tmp_path / "p.json").write_text("{}")
    cases = (("hook", "p.json", "X: 1", "Did you mean 'hooks'?"), ("hooks", "q.json", "X: 1", "cannot be read"),
             ("hooks", "p.json", "X", "'X' is not a header"))  # fmt: skip
    for source, file, header, told in cases:
        code, _, err = ran(capsys, tmp_path, "webhooks", "try", source, str(tmp_path / file), "--header", header)
        assert code != 0
        assert told in " ".join(err.split())
