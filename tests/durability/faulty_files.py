"""A file layer under SQLite that fails on demand: the n-th write, the n-th flush, a full disk, an unreadable sector.

SQLite reaches files through a table of functions (https://sqlite.org/vfs.html). Here a copy of the default one is
registered as default; its open gives each file a copy of the original's methods in which write, sync, truncate and read
are ours: they ask the plan, and else do what the original does. Works where Python's sqlite3 uses the shared library.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

FULL, READ, WRITE, FSYNC, TRUNCATE = 13, 10 | 1 << 8, 10 | 3 << 8, 10 | 4 << 8, 10 | 6 << 8
"""SQLite's result codes: SQLITE_FULL, SQLITE_IOERR_READ, _WRITE, _FSYNC, _TRUNCATE."""

_METHODS = 3
"""Version of the methods' table up to which its layout is known."""
_SLOTS = ("close", "read", "write", "truncate", "sync", "size", "lock", "unlock", "reserved", "control", "sector",
          "character", "shm_map", "shm_lock", "shm_barrier", "shm_unmap", "fetch", "unfetch")  # fmt: skip


class _IoMethods(ctypes.Structure):
    _fields_ = [("version", ctypes.c_int), *((name, ctypes.c_void_p) for name in _SLOTS)]


class _File(ctypes.Structure):
    _fields_ = [("methods", ctypes.POINTER(_IoMethods))]


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int), ("size_of_file", ctypes.c_int), ("longest_path", ctypes.c_int), ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("open", ctypes.c_void_p),
        *((f"slot_{n}", ctypes.c_void_p) for n in range(15)),
    ]  # fmt: skip


_INT64 = ctypes.c_int64
_MOVE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, _INT64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, _INT64)
_OPEN = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)
"""The path is handed on as the pointer it is: SQLite keeps it, and reads what stands behind it."""


class Plan(msgspec.Struct, kw_only=True):
    """Which call fails. ``call``: ``write``, ``sync``, ``truncate``, ``read``; of files whose path ends so; the ``nth`` of
    them and, with ``forever``, all after it; with which of SQLite's codes. ``short``: a write that fails has written
    half of it."""

    call: str
    nth: int
    ends: str = ""
    code: int = WRITE
    forever: bool = False
    short: bool = False


class FaultyFiles:
    """The layer. Without a plan it does nothing but count."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.plan: Plan | None = None
        self._seen = 0
        self._paths: dict[int, str] = {}
        self._tables: dict[int, tuple[_IoMethods, _IoMethods]] = {}
        self._kept: list[Any] = []

    def break_(self, plan: Plan) -> None:
        """From now on, calls count for this plan."""
        self.plan, self._seen = plan, 0

    def heal(self) -> bool:
        """No plan any more; whether it came to a failure."""
        plan, self.plan = self.plan, None
        return plan is not None and self._seen >= plan.nth

    # --- what SQLite calls ---------------------------------------------------------------------------

    def opened(self, file: int, path: bytes) -> None:
        found = _File.from_address(file)
        if not found.methods:
            return
        self._paths[file] = path.decode(errors="replace")
        original = ctypes.addressof(found.methods.contents)
        if original not in self._tables:
            self._tables[original] = self._table(found.methods.contents)
        found.methods = ctypes.pointer(self._tables[original][0])

    def _table(self, original: _IoMethods) -> tuple[_IoMethods, _IoMethods]:
        right = _IoMethods.from_buffer_copy(original)
        ours = _IoMethods.from_buffer_copy(original)
        assert right.version <= _METHODS
        write, read, sync, truncate = (
            _MOVE(right.write),
            _MOVE(right.read),
            _SYNC(right.sync),
            _TRUNCATE(right.truncate),
        )

        def on_write(file: int, content: int, size: int, at: int) -> int:
            code = self._fails("write", file)
            if code and self.plan is not None and self.plan.short:
                write(file, content, size // 2, at)
            return code or write(file, content, size, at)

        def on_read(file: int, into: int, size: int, at: int) -> int:
            return self._fails("read", file) or read(file, into, size, at)

        def on_sync(file: int, flags: int) -> int:
            return self._fails("sync", file) or sync(file, flags)

        def on_truncate(file: int, size: int) -> int:
            return self._fails("truncate", file) or truncate(file, size)

        for name, made in (("write", _MOVE(on_write)), ("read", _MOVE(on_read)), ("sync", _SYNC(on_sync)),
                           ("truncate", _TRUNCATE(on_truncate))):  # fmt: skip
            self._kept.append(made)
            setattr(ours, name, ctypes.cast(made, ctypes.c_void_p).value)
        return ours, right

    def _fails(self, call: str, file: int) -> int:
        path = self._paths.get(file, "")
        self.calls[call] += 1
        plan = self.plan
        if plan is None or plan.call != call or not path.endswith(plan.ends):
            return 0
        self._seen += 1
        return plan.code if self._seen == plan.nth or (plan.forever and self._seen > plan.nth) else 0


class NotPossible(Exception):
    """Python's sqlite3 does not use a library that can be reached here."""


@contextmanager
def faulty_files() -> Iterator[FaultyFiles]:
    """Every database that is opened within is on the layer. Raises NotPossible."""
    library = _library()
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
    library.sqlite3_vfs_register.argtypes = [ctypes.POINTER(_Vfs), ctypes.c_int]
    library.sqlite3_vfs_unregister.argtypes = [ctypes.POINTER(_Vfs)]
    default = library.sqlite3_vfs_find(None)
    if not default:
        raise NotPossible("SQLite has no default file layer")
    files, vfs = FaultyFiles(), _Vfs.from_buffer_copy(default.contents)
    vfs.name, vfs.next = b"faulty", None
    original = _OPEN(default.contents.open)

    def on_open(this: int, path: int | None, file: int, flags: int, out: Any) -> int:
        code = original(this, path, file, flags, out)
        if code == 0:
            files.opened(file, ctypes.string_at(path) if path else b"")
        return code

    opening = _OPEN(on_open)
    vfs.open = ctypes.cast(opening, ctypes.c_void_p).value
    library.sqlite3_vfs_register(ctypes.byref(vfs), 1)
    try:
        _check()
        yield files
    finally:
        library.sqlite3_vfs_unregister(ctypes.byref(vfs))
        library.sqlite3_vfs_register(default, 1)
        _KEPT.append((files, vfs, opening, original))


_KEPT: list[Any] = []
"""Files that are still open have their methods here."""


def _library() -> Any:
    name = ctypes.util.find_library("sqlite3")
    if name is None:
        raise NotPossible("no shared library of SQLite is installed")
    library = ctypes.CDLL(name)
    library.sqlite3_libversion.restype = ctypes.c_char_p
    if library.sqlite3_libversion().decode() != sqlite3.sqlite_version:
        raise NotPossible("Python's sqlite3 brings a SQLite of its own")
    return library


def _check() -> None:
    try:
        sqlite3.connect("file:check?mode=memory&vfs=faulty", uri=True).close()
    except sqlite3.OperationalError as error:
        raise NotPossible(f"Python's sqlite3 does not see the file layer: {error}") from error
