"""The form of a block: the records of one commit, as columns of one row of the log.

A row per record costs SQLite ten times the work of a row per commit, so the log stores blocks. Records of a block have
consecutive offsets. Everything is covered by CRC-32: the columns that describe the records by one sum, the bodies
by a sum for each 16 KB, so that damage is found at reading and its offsets are named. The sums are seeded with the
block's place in the log: a block in the wrong place is damage too.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate

import msgspec

from cadenza.errors import LedgerError
from cadenza.ports.ledger import Record

MAX_RECORDS = 2_000
MAX_BYTES = 1_000_000
_CHUNK = 16_384


class Run(msgspec.Struct, frozen=True, array_like=True):
    """``n`` neighbours in a block that share these."""

    n: int
    kind: str
    source: str
    imported: bool


class Block(msgspec.Struct, frozen=True):
    """One row of table ``block``. Arrays are little endian; ``times`` is empty when they count up by one."""

    first_offset: int
    n: int
    recorded_at: int
    writer: str
    keys: bytes
    keys_sum: int
    runs: bytes
    times: bytes
    id_sizes: bytes
    sizes: bytes
    ids: bytes
    meta_sum: int
    body_sums: bytes
    bodies: bytes


_read_runs = msgspec.json.Decoder(list[Run]).decode


def encode(
    first_offset: int, writer: str, times: Sequence[int], keys: Sequence[int], runs: Sequence[Run],
    ids: Sequence[bytes], bodies: Sequence[bytes],
) -> Block:  # fmt: skip
    """A block of records: their ``recorded_at`` (µs), index keys, encoded message ids and bodies."""
    seed = _seed(first_offset, len(ids), writer)
    raw_keys, raw_times = _pack("q", keys), b"" if isinstance(times, range) else _pack("q", times)
    id_sizes, sizes = _pack("H", list(map(len, ids))), _pack("I", list(map(len, bodies)))
    raw_runs, raw_ids, joined = msgspec.json.encode(runs), b"".join(ids), b"".join(bodies)
    meta = _meta_sum(seed, times[0], raw_runs, raw_times, id_sizes, sizes, raw_ids)
    return Block(
        first_offset, len(ids), times[0], writer, raw_keys, zlib.crc32(raw_keys, seed), raw_runs, raw_times,
        id_sizes, sizes, raw_ids, meta, _pack("I", list(_chunk_sums(joined, seed))), joined,
    )  # fmt: skip


def decode(block: Block, after: int, where: str) -> Iterator[Record]:
    """Records of the block with offset > ``after``. Raises LedgerError when the block is damaged."""
    seed = _seed(block.first_offset, block.n, block.writer)
    described = (block.runs, block.times, block.id_sizes, block.sizes, block.ids)
    sizes, id_sizes = _unpack("I", block.sizes), _unpack("H", block.id_sizes)
    whole = _meta_sum(seed, block.recorded_at, *described) == block.meta_sum
    if not whole or len(sizes) != block.n or len(id_sizes) != block.n or sum(sizes) != len(block.bodies):
        raise damaged(block.first_offset, block.first_offset + block.n - 1, where)
    _verify_bodies(block, sizes, seed, where)
    times = _unpack("q", block.times) if block.times else range(block.recorded_at, block.recorded_at + block.n)
    return _records(block, after, times, sizes, id_sizes)


def _records(
    block: Block, after: int, times: Sequence[int], sizes: Sequence[int], id_sizes: Sequence[int]
) -> Iterator[Record]:
    ids, bodies, writer = block.ids, block.bodies, block.writer
    index = id_at = body_at = 0
    for run in _read_runs(block.runs):
        for _ in range(run.n):
            id_end, body_end = id_at + id_sizes[index], body_at + sizes[index]
            offset = block.first_offset + index
            if offset > after:
                yield Record(
                    offset=offset, recorded_at=times[index], writer=writer, kind=run.kind, source=run.source,
                    message_id=ids[id_at:id_end].decode(), imported=run.imported, body=bodies[body_at:body_end],
                )  # fmt: skip
            index, id_at, body_at = index + 1, id_end, body_end


def decode_keys(first_offset: int, n: int, writer: str, keys: bytes, keys_sum: int, where: str) -> Sequence[int]:
    """The index keys of a block. Raises LedgerError when they are damaged."""
    if len(keys) != 8 * n or zlib.crc32(keys, _seed(first_offset, n, writer)) != keys_sum:
        raise damaged(first_offset, first_offset + n - 1, where)
    return _unpack("q", keys)


def damaged(first: int, last: int, where: str) -> LedgerError:
    """The error for records whose checksum does not match: offsets ``first`` to ``last``."""
    which = f"record at offset {first}" if first == last else f"records at offsets {first} to {last}"
    return LedgerError(
        f"The {which} cannot be trusted: the checksum does not match, the file was changed or damaged.",
        where=f"{where}, offset {first}",
        remedy=f"What comes before offset {first} is intact. Stop Cadenza, keep a copy of the file with its -wal and "
        "-shm, test the disk, restore the newest backup of the log, and rebuild the store.",
    )


def _seed(first_offset: int, n: int, writer: str) -> int:
    return zlib.crc32(f"{first_offset}:{n}:{writer}".encode())


def _meta_sum(seed: int, recorded_at: int, *columns: bytes) -> int:
    total = zlib.crc32(struct.pack("<q", recorded_at), seed)
    for column in columns:
        total = zlib.crc32(column, zlib.crc32(struct.pack("<I", len(column)), total))
    return total


def _chunk_sums(joined: bytes, seed: int) -> Iterator[int]:
    # Chunks of this size are summed without holding the interpreter lock; single records would not be.
    view = memoryview(joined)
    for start in range(0, len(joined), _CHUNK):
        yield zlib.crc32(view[start : start + _CHUNK], seed)


def _verify_bodies(block: Block, sizes: Sequence[int], seed: int, where: str) -> None:
    expected = _unpack("I", block.body_sums)
    found = list(_chunk_sums(block.bodies, seed))
    if list(expected) == found:
        return
    ends = list(accumulate(sizes))
    bad = next((i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), 0)
    first = sum(end <= bad * _CHUNK for end in ends)
    last = min(sum(end < (bad + 1) * _CHUNK for end in ends), block.n - 1)
    raise damaged(block.first_offset + first, block.first_offset + last, where)


def _pack(code: str, values: Sequence[int]) -> bytes:
    packed = array(code, values)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _unpack(code: str, raw: bytes) -> array[int]:
    values: array[int] = array(code)
    values.frombytes(raw[: len(raw) // values.itemsize * values.itemsize])
    if sys.byteorder == "big":
        values.byteswap()
    return values
