"""What the pages show is so: quotations, definitions, links, commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec
import pytest

from cadenza.definitions.load import load
from tests.docs import pages
from tests.docs.played import write_files
from tests.house.documented import generator

PAGES = {page.relative_to(pages.ROOT).as_posix(): page for page in pages.pages()}
PROJECTS = [name for name, page in PAGES.items() if any(b.path == "cadenza.yaml" for b in pages.blocks(page))]
LANGUAGES = {"yaml", "json", "csv", "console", "sh", "text", "python", "javascript", "html"}
RUN_IN = "howto/send-events.md"
"""Programs stand on this page only, where tests/clients runs them."""
ANCHOR = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


@pytest.mark.parametrize("name", PAGES)
def test_every_fence_has_a_language_that_is_checked(name: str) -> None:
    for block in pages.blocks(PAGES[name]):
        assert block.language in LANGUAGES, f"{block.place}: nothing checks a block of {block.language!r}"
        # A definition without a file would be checked by nobody.
        assert block.path is not None or block.language not in {
            "yaml",
            "json",
            "csv",
            "python",
            "javascript",
            "html",
        }, block.place
        assert block.language not in {"python", "javascript", "html"} or name.endswith(RUN_IN), block.place
        if block.language == "json":
            msgspec.json.decode(block.text)


@pytest.mark.parametrize("name", PROJECTS)
def test_the_project_of_a_page_is_valid(name: str, tmp_path: Path) -> None:
    write_files(PAGES[name], tmp_path)
    found = load(tmp_path)
    assert found.project.journeys and not found.warnings


def test_the_readme_quotes_files() -> None:
    quoted = [block for block in pages.blocks(PAGES["README.md"]) if block.path is not None]
    assert quoted
    for block in quoted:
        assert (pages.ROOT / str(block.path)).read_text(encoding="utf-8") == block.text, f"{block.place}: {block.path}"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (pages.ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {target for page in PAGES.values() for target in re.findall(r"\bmake ([a-z-]+)[`\n]", page.read_text())}
    assert {"demo", "test"} <= named <= targets


def test_commands_exist() -> None:
    known = set(generator().commands())
    for page in PAGES.values():
        text = page.read_text(encoding="utf-8")
        found = re.findall(r"`cadenza ([^`]+)`", text)
        found += [s.command.partition("cadenza ")[2] for b in pages.blocks(page) if b.language == "console"
                  for s in pages.spoken(b) if "cadenza " in s.command]  # fmt: skip
        for said in found:
            words = shlex.split(said)
            assert {words[0], " ".join(words[:2])} & known, f"{page.name}: cadenza {said}"


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = PAGES[name]
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in ANCHOR.findall(prose):
        path, _, heading = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        assert goal.is_file(), f"{name}: {target}"
        if heading:
            heads = re.findall(r"^#+ (.+)$", goal.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}, (
                f"{name}: {target}"
            )
