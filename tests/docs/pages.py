"""The examples of a Markdown page: fenced blocks with their language, the file they stand for, and their place.

A fence ``yaml sources/shop.yaml`` stands for that file. On a page that is played (``played.py``) the file is written; in
README.md it is a quotation and must say what the file says. ``console`` blocks hold commands after ``$ `` and what
they print.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One fenced block. ``path``: the file that its text is, where the fence names one."""

    place: str
    language: str
    path: str | None
    text: str


def pages() -> list[Path]:
    """Every page that is written by hand."""
    written = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in written if page.is_file() and page.parent.name != "reference"]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        language, _, path = match[1].strip().partition(" ")
        line = text.count("\n", 0, match.start()) + 1
        yield Block(place=f"{page.name}:{line}", language=language, path=path.strip() or None, text=match[2])


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """A command of a console block and what the page says that it prints; ``...`` stands for anything."""

    place: str
    command: str
    output: str

    @property
    def refused(self) -> bool:
        """Whether the page shows it failing."""
        return "remedy:" in self.output or "FAILED" in self.output


def spoken(block: Block) -> Iterator[Spoken]:
    """The commands of a console block. A line that begins with ``> `` carries the command on."""
    command, output = "", []
    for line in [*block.text.splitlines(), "$ "]:
        if line.startswith("$ "):
            if command:
                yield Spoken(place=block.place, command=command, output="\n".join(output))
            command, output = line[2:], []
        elif line.startswith("> ") and not output:
            command += "\n" + line[2:]
        else:
            output.append(line)


def squeezed(text: str) -> str:
    """Without what depends on the widths of columns: runs of blanks and rules are one."""
    return re.sub(r"─+", "─", re.sub(r"\s+", " ", text)).strip()


def agrees(shown: str, printed: str) -> bool:
    """Whether a command printed what the page shows."""
    first, *others = [squeezed(part) for part in shown.split("...")]
    text = squeezed(printed)
    if not others:
        return text == first
    if not text.startswith(first):
        return False
    at = len(first)
    # The first place that fits is always good enough, so nothing has to be tried twice.
    for part in others[:-1]:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return text.endswith(others[-1]) and len(text) - len(others[-1]) >= at
