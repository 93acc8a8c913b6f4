"""Each page that shows commands is played in an empty folder, and prints what it shows."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs import pages
from tests.docs.played import Player

DOCS = pages.ROOT / "docs"
PLAYED = sorted(
    page.relative_to(DOCS).as_posix()
    for page in pages.pages()
    if page.is_relative_to(DOCS) and any(block.language == "console" for block in pages.blocks(page))
)

pytestmark = pytest.mark.xdist_group("docs")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the pages call curl, which is not installed")
@pytest.mark.parametrize("page", PLAYED)
def test_page(page: str, tmp_path: Path) -> None:
    with ExitStack() as servers:
        assert Player(tmp_path, servers).play(DOCS / page) > 2


def test_the_pages_are_found() -> None:
    assert {"tutorial/first-project.md", "explanation/lanes-and-waves.md"} <= set(PLAYED)
    assert len([page for page in PLAYED if page.startswith("howto/")]) >= 3


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a  b\n", "a b", True),
        ("a ... c", "a b\nb c", True),
        ("a\n...", "a", True),
        ("a", "a b", False),
        ("a ... c", "a b", False),
        ("1 row.", "1 row.\nerror", False),
        ("───", "─────", True),
    ],
)
def test_what_agrees(shown: str, printed: str, same: bool) -> None:
    assert pages.agrees(shown, printed) is same


def test_a_page_that_shows_something_else_fails(tmp_path: Path) -> None:
    page = tmp_path / "wrong.md"
    page.write_text("# T\n\n```yaml cadenza.yaml\nproject: p\n```\n\n```console\n$ cadenza validate\np is fine.\n```\n")
    folder = tmp_path / "empty"
    folder.mkdir()
    with ExitStack() as servers, pytest.raises(pytest.fail.Exception, match=r"wrong.md:7.*cadenza validate"):
        Player(folder, servers).play(page)
