"""The journal: what was confirmed is read back, whatever happens to the file; what cannot be read is handed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from cadenza.errors import LedgerError
from cadenza.ledger import journal
from cadenza.ledger.journal import Entry, Found, JournalFile, JournalWriter, journal_files, lock_journals

ID = "0123456789abcdef"
ENTRIES = [Entry(1_000 + n, b"meta%d" % n, b"body %d " % n * (n + 1)) for n in range(6)]


def written(folder: Path, *groups: list[Entry]) -> Path:
    """The one file of a writer that wrote these groups and ended."""
    writer = JournalWriter.open(folder, "a", ID)
    for group in groups:
        writer.append(group)
    writer.close()
    [path] = journal_files(folder)
    return path


def read_all(path: Path, most: int = 1 << 20) -> tuple[list[Entry], list[Found]]:
    file, place, entries, founds = JournalFile(path), 0, [], []
    try:
        while True:
            found = file.read(place, most)
            founds.append(found)
            entries += found.entries
            if found.ended or found.through == place:
                return entries, founds
            place = found.through
    finally:
        file.close()


@settings(max_examples=50, deadline=None)
@given(
    groups=st.lists(
        st.lists(st.builds(Entry, st.integers(0, 1 << 50), st.binary(max_size=9), st.binary(max_size=200)), min_size=1, max_size=4),
        min_size=1, max_size=6,
    ),
    most=st.integers(1, 500),
)  # fmt: skip
def test_what_was_written_is_read_whatever_the_pieces(tmp_path_factory, groups, most):
    entries, founds = read_all(written(tmp_path_factory.mktemp("j"), *groups), most)
    assert entries == [entry for group in groups for entry in group]
    assert founds[-1].ended and not any(found.damage for found in founds)


def test_a_file_that_is_being_written_has_not_ended(tmp_path):
    writer = JournalWriter.open(tmp_path, "a", ID)
    assert journal_files(tmp_path) == []
    writer.append(ENTRIES[:2])
    [path] = journal_files(tmp_path)
    file = JournalFile(path)
    found = file.read(0, 1 << 20)
    assert (found.entries, found.ended) == (ENTRIES[:2], False)
    writer.append(ENTRIES[2:])
    again = file.read(found.through, 1 << 20)
    assert (again.entries, again.ended) == (ENTRIES[2:], False)
    writer.close()
    assert file.read(again.through, 1 << 20).ended
    file.close()


def test_one_name_one_process(tmp_path):
    first = JournalWriter.open(tmp_path, "a", ID)
    with pytest.raises(LedgerError, match="Another process collects"):
        JournalWriter.open(tmp_path, "a", ID)
    JournalWriter.open(tmp_path, "b", ID).close()
    first.close()
    JournalWriter.open(tmp_path, "a", ID).close()
    held = lock_journals(tmp_path)
    with pytest.raises(LedgerError, match="Another process moves"):
        lock_journals(tmp_path)
    os.close(held)


@pytest.mark.parametrize("name", ["", "a-b", "../a", "é"])
def test_a_name_that_would_be_another_path_is_refused(tmp_path, name):
    with pytest.raises(LedgerError, match="cannot name a collector"):
        JournalWriter.open(tmp_path, name, ID)


def test_a_large_file_is_ended_and_the_next_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "ROTATE_BYTES", 300)
    writer = JournalWriter.open(tmp_path, "a", ID)
    entries = [Entry(1_000 + n, b"meta", b"x" * 90) for n in range(12)]
    for entry in entries:
        writer.append([entry])
    writer.close()
    paths = journal_files(tmp_path)
    assert len(paths) == 6
    assert [entry for path in paths for entry in read_all(path)[0]] == entries


def test_what_a_crash_left_half_begun_is_cleared(tmp_path):
    left = tmp_path / "00000000000001000-a-x.begun"
    left.write_bytes(b"")
    JournalWriter.open(tmp_path, "a", ID).close()
    assert not left.exists() and journal_files(tmp_path) == []


def test_every_flipped_byte_is_found_and_costs_one_entry_at_most(tmp_path):
    path = written(tmp_path, ENTRIES)
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    for place in range(header, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        entries, founds = read_all(path)
        damage = [one for found in founds for one in found.damage]
        assert len(entries) == len(ENTRIES) - 1, place
        assert all(entry in ENTRIES for entry in entries)
        assert sum(one.high - one.low for one in damage) == sum(len(one.kept) for one in damage) > 0
        assert founds[-1].ended


def test_every_cut_keeps_what_is_whole_and_hands_over_the_rest(tmp_path):
    path = written(tmp_path, ENTRIES)
    whole = path.read_bytes()
    ends = [whole.index(b"\n") + 1]
    for entry in ENTRIES:
        ends.append(ends[-1] + JournalFile.bytes_of(entry))
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        entries, founds = read_all(path)
        kept = max((n for n, end in enumerate(ends) if end <= size), default=0)
        assert entries == ENTRIES[:kept], size
        [*damage] = [one for found in founds for one in found.damage]
        assert [one.torn for one in damage] == ([] if size in (0, *ends) else [True]), size


def test_an_entry_in_the_wrong_place_is_damage(tmp_path):
    path = written(tmp_path, [ENTRIES[0]], [ENTRIES[1]])
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    second = first + JournalFile.bytes_of(ENTRIES[0])
    path.write_bytes(whole[:first] + whole[second:] + whole[first:second])
    entries, founds = read_all(path)
    assert entries == [] and founds[0].damage


class Disk:
    """Fails at the n-th write or sync, after some of the bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, what: str, n: int) -> None:
        self.left, self.what = n, what
        self.write, self.sync = os.write, os.fsync
        monkeypatch.setattr(journal.os, "write", self._write)
        monkeypatch.setattr(journal, "_sync", self._sync)

    def _write(self, fd: int, data: bytes) -> int:
        if self.what == "write" and self._fails():
            self.write(fd, bytes(data)[: len(data) // 2])
            raise OSError(28, "No space left on device")
        if self.what == "short":
            return self.write(fd, bytes(data)[: max(1, len(data) // 2)])
        return self.write(fd, data)

    def _sync(self, fd: int) -> None:
        if self.what == "sync" and self._fails():
            raise OSError(5, "Input/output error")
        self.sync(fd)

    def _fails(self) -> bool:
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize("what", ["write", "sync"])
@pytest.mark.parametrize("n", range(1, 8))
def test_a_disk_that_fails_once_loses_nothing_that_was_confirmed(tmp_path, monkeypatch, what, n):
    Disk(monkeypatch, what, n)
    writer, confirmed = JournalWriter.open(tmp_path, "a", ID), []
    for entry in ENTRIES:
        try:
            writer.append([entry])
            confirmed.append(entry)
        except LedgerError as error:
            assert "send again" in str(error)
    writer.close()
    assert len(confirmed) >= len(ENTRIES) - 1
    found = [entry for path in journal_files(tmp_path) for entry in read_all(path)[0]]
    assert [entry for entry in found if entry in confirmed] == confirmed
    # What was written but not confirmed may be there: its sender sends it again under the same id.
    assert len(found) - len(confirmed) <= 1


def test_writes_that_are_cut_short_are_finished(tmp_path, monkeypatch):
    Disk(monkeypatch, "short", 0)
    assert read_all(written(tmp_path, ENTRIES))[0] == ENTRIES


def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "journal").write_text("a file where the folder should be")
    with pytest.raises(LedgerError, match="cannot be written"):
        JournalWriter.open(tmp_path / "journal", "a", ID)
