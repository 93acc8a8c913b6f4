"""The starter project: small, complete, and it runs. ``cadenza init`` writes it."""

from __future__ import annotations

from pathlib import Path

from cadenza.errors import TerminalError

_HERE = Path(__file__).parent
_KEPT = (".yaml", ".liquid")


def starter_files() -> dict[str, bytes]:
    """Path relative to the project -> content, sorted."""
    files = sorted(path for path in _HERE.rglob("*") if path.suffix in _KEPT)
    return {path.relative_to(_HERE).as_posix(): path.read_bytes() for path in files}


def write_starter(folder: Path) -> list[Path]:
    """Write the starter project into ``folder`` (see ``write_project``)."""
    return write_project(folder, starter_files())


def write_project(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Write a project's files into ``folder`` (made if it is not there) and give the paths written.

    Nothing is ever overwritten: raises TerminalError, before writing anything, where one of its files or another
    project exists already.
    """
    if folder.exists() and not folder.is_dir():
        raise TerminalError(f"'{folder}' is not a folder.", remedy="Name a new or empty folder.")
    taken = [name for name in files if (folder / name).exists() or (folder / name).is_symlink()]
    if taken:
        what = f"'{folder}' already holds {', '.join(taken[:3])}{' and more' if len(taken) > 3 else ''}."
        raise TerminalError(what, remedy="Name a new or empty folder; nothing was written.")
    written = []
    try:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
            written.append(path)
    except OSError as error:
        raise TerminalError(f"'{error.filename}' cannot be written: {error.strerror}.") from error
    return written
