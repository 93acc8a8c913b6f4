"""The rules of tidiness, as functions from a source tree to what breaks them.

Each rule reads files only, so that it can be tried on a small tree of known faults.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

LONGEST_FUNCTION = 70
LONGEST_FILE = 600
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
CLOCK_AND_CHANCE = {"time", "uuid", "random", "secrets"}
"""Modules that only clock.py and ids.py may import."""
NOW_CALLS = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "datetime.datetime.now",
    "datetime.date.today",
}
NETWORK_MODULES = {"urllib.request", "http.client", "smtplib", "ftplib", "telnetlib"}
ROW_READERS = {"query", "records", "fetchall", "fetchmany", "fetchone"}


class Source:
    """One Python file: its path within the tree, its text and its syntax tree."""

    def __init__(self, root: Path, path: Path) -> None:
        self.path = path.relative_to(root)
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text, str(path))

    @property
    def within(self) -> str:
        """The path below ``src/cadenza``, or empty outside it."""
        parts = self.path.as_posix().split("src/cadenza/", 1)
        return parts[1] if len(parts) == 2 else ""

    def at(self, node: ast.AST) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


def sources(root: Path) -> list[Source]:
    """Every Python file under src, tests and bench."""
    files = (p for folder in ("src", "tests", "bench") for p in sorted((root / folder).rglob("*.py")))
    return [Source(root, p) for p in files if not {"__pycache__", "node_modules"} & set(p.parts)]


def long_functions(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{source.at(node)}: {node.name} has {length} lines; split it (at most {LONGEST_FUNCTION})"


def long_files(source: Source) -> Iterator[str]:
    length = source.text.count("\n")
    if length > LONGEST_FILE:
        yield f"{source.path}: {length} lines; make it a folder (at most {LONGEST_FILE})"


def banned_names(source: Source) -> Iterator[str]:
    for part in source.path.with_suffix("").parts:
        if BANNED_NAMES & set(part.lower().split("_")):
            yield f"{source.path}: '{part}' says nothing; name it after its noun"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef):
            words = {w.lower() for w in re.findall(r"[A-Z][a-z0-9]*", node.name)}
            if BANNED_NAMES & words:
                yield f"{source.at(node)}: class {node.name} says nothing; name it after its noun"


def own_clock(source: Source) -> Iterator[str]:
    """The time of day, ids and chance come from clock.py and ids.py."""
    if not source.within or source.within in ("clock.py", "ids.py"):
        return
    for node in ast.walk(source.tree):
        for name in _imported(node):
            if name.split(".")[0] in CLOCK_AND_CHANCE:
                yield f"{source.at(node)}: import of {name}; take a Clock, or an id from ids.py"
        if isinstance(node, ast.Call) and ast.unparse(node.func) in NOW_CALLS:
            yield f"{source.at(node)}: {ast.unparse(node.func)}(); take a Clock"


def late_imports(source: Source) -> Iterator[str]:
    """Imports inside functions hide edges from the reader; only store/ and adapters/ may (optional engines)."""
    if not source.within or source.within.startswith(("store/", "adapters/")):
        return
    for function in ast.walk(source.tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield f"{source.at(node)}: import inside {function.name}; move it to the top"


def star_imports(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield f"{source.at(node)}: import of everything from {node.module}; name what you use"


def network_outside_adapters(source: Source) -> Iterator[str]:
    if not source.within or source.within.startswith("adapters/"):
        return
    for node in ast.walk(source.tree):
        for name in _imported(node):
            if name in NETWORK_MODULES:
                yield f"{source.at(node)}: import of {name}; outward network code lives in adapters/"


def row_loops(source: Source) -> Iterator[str]:
    """In stages/ and the tick no Python loop walks over the rows of a query: SQL does."""
    if not re.match(r"(stages/|runtime/tick)", source.within):
        return
    for scope in ast.walk(source.tree):
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            rows = _names_of_rows(scope)
            for node in _own(scope):
                for iterated in _iterated(node):
                    if _reads_rows(iterated) or (isinstance(iterated, ast.Name) and iterated.id in rows):
                        yield f"{source.at(node)}: loop over query results ({ast.unparse(iterated)[:60]}); say it in SQL"


RULES = (
    long_functions, long_files, banned_names, own_clock, late_imports, star_imports, network_outside_adapters, row_loops,
)  # fmt: skip


def untidy(root: Path) -> list[str]:
    """Everything in the tree that breaks a rule."""
    return [said for source in sources(root) for rule in RULES for said in rule(source)]


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope without those of functions inside it."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _own(child)


def _reads_rows(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ROW_READERS


def _names_of_rows(scope: ast.AST) -> set[str]:
    return {
        target.id
        for node in _own(scope)
        if isinstance(node, ast.Assign) and _reads_rows(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _iterated(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.For):
        return [node.iter]
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return [generator.iter for generator in node.generators]
    return []
