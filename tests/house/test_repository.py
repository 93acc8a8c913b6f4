"""What is tracked stays portable: no package hosts, no paths of one machine, one title per page."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Written in parts, so that this file does not find itself.
HOSTS = re.compile("|".join((
    "pypi" r"\.org", "python" r"hosted\.org", "registry" r"\.npmjs", "registry" r"\.yarnpkg", "deb" r"\.debian\.org",
    "--(extra-)?" "index-url", r"(?<!emit-)find" "-links ",
)))  # fmt: skip
MACHINE_PATHS = re.compile(
    "|".join((r"(?<![\w.])/" r"work/", r"(?<![\w.])/" r"root/", r"(?<![\w.])/" r"home/\w+/", "/Us" "ers/" r"\w+"))
)


def tracked(root: Path) -> list[Path]:
    """Files that git tracks or would track; every file where there is no repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0:
        return [p for line in listed.stdout.splitlines() if (p := root / line).is_file()]
    return [p for p in root.rglob("*") if p.is_file()]


def texts(root: Path) -> Iterator[tuple[Path, str]]:
    for path in tracked(root):
        data = path.read_bytes()
        if b"\0" not in data[:4096]:
            yield path.relative_to(root), data.decode("utf-8", errors="replace")


def unportable(root: Path) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()[:120]}"
        for path, text in texts(root)
        for number, line in enumerate(text.splitlines(), 1)
        if HOSTS.search(line) or MACHINE_PATHS.search(line)
    ]


def untitled(root: Path) -> list[str]:
    """Markdown pages that do not begin with their one title."""
    found = []
    for path, text in texts(root):
        if path.suffix == ".md":
            prose = re.sub(r"^(```|~~~).*?^\1\s*$", "", text, flags=re.MULTILINE | re.DOTALL)
            titles = re.findall(r"^# .+$", prose, flags=re.MULTILINE)
            first = next((line for line in text.splitlines() if line.strip()), "")
            if len(titles) != 1 or first != titles[0]:
                found.append(f"{path}: {len(titles)} title(s); the first line is {first[:60]!r}")
    return found


def test_no_hosts_and_no_machine_paths() -> None:
    assert unportable(ROOT) == []


def test_every_page_has_one_title() -> None:
    assert untitled(ROOT) == []


@pytest.mark.parametrize(
    "line", ["--extra-" "index-url x", "https://files.python" "hosted.org/x", "cd /" "work/main", "open('/" "root/x')"]
)  # fmt: skip
def test_an_unportable_line_is_noticed(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.txt").write_text(f"fine\n{line}\n")
    assert [found.split(":")[1] for found in unportable(tmp_path)] == ["2"]


@pytest.mark.parametrize("text", ["no title\n", "# One\n\n# Two\n", "words\n\n# Late\n", ""])
def test_a_page_without_one_title_is_noticed(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.md").write_text(text)
    assert len(untitled(tmp_path)) == 1


def test_a_comment_in_a_code_block_is_no_title(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Title\n\n```sh\n# not a title\n```\n")
    assert untitled(tmp_path) == []
