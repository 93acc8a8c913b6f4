"""Deterministic ids and hash buckets; the only random source.

The same functions exist as SQL (``sql/dialect.py``), so that the engine, the reference model and
any other implementation put a unit into the same bucket.
"""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Iterable

BUCKETS = 10_000
"""Shares are whole basis points: 20 % is 2,000 of 10,000 buckets."""


ACCOUNTS = 1 << 62
"""Accounts, and the records as theirs, are numbered from here on: in the order of the log, far above persons."""


def is_account(pid: int) -> bool:
    """Whether a number is that of an account (or of a record as an account's)."""
    return pid >= ACCOUNTS


def subject_name(pid: int) -> str:
    """What a person (``p_57``) or an account (``a_57``) is called, after the record that made it known."""
    return f"a_{pid - ACCOUNTS}" if is_account(pid) else f"p_{pid}"


def named_subject(name: str) -> int | None:
    """The number behind ``p_57`` or ``a_57``; None for any other text."""
    if name[:2] not in ("p_", "a_") or not (name[2:].isascii() and name[2:].isdigit()) or int(name[2:]) >= ACCOUNTS:
        return None
    return int(name[2:]) + (ACCOUNTS if name[0] == "a" else 0)


def record_number(offset: int) -> int:
    """The number in the log of a record, also of one as an account's."""
    return offset - ACCOUNTS if is_account(offset) else offset


def md5_low64(text: str) -> int:
    """The first 8 bytes of MD5, little endian: DuckDB's ``md5_number_upper``."""
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:8], "little")


def bucket(salt: str, unit: int | str) -> int:
    """The bucket 0..9999 of a unit under a salt. A unit is in a share of s basis points when its
    bucket is below s, so a share that grows keeps everyone it had.

    >>> bucket('win_back', 17)
    7279
    """
    return md5_low64(f"{salt}:{unit}") % BUCKETS


def enrollment_id(journey: str, person: int, key: str, entered_micros: int) -> int:
    """A 63-bit id of one passage of one person (and entry key) through a journey."""
    return md5_low64(f"{journey}|{person}|{key}|{entered_micros}") >> 1


def message_id(enrollment: int, step: str, round_: int = 0) -> str:
    """The id of the message that one enrollment sends at one step; also the idempotency key. ``round_`` tells the
    visits of a step in a loop apart."""
    digest = hashlib.md5(step.encode(), usedforsecurity=False).hexdigest()[:8]
    return f"{enrollment:016x}-{digest}" + (f"-{round_}" if round_ else "")


def task_id(enrollment: int, step: str, opened_micros: int) -> str:
    """The id of the task that one enrollment opens each time it comes to a hand-off."""
    visit = hashlib.md5(f"{step}|{opened_micros}".encode(), usedforsecurity=False).hexdigest()
    return f"{enrollment:016x}-{visit[:8]}"


def fingerprint(parts: Iterable[bytes]) -> str:
    """Content address of a definition: 16 hex digits of SHA-256 over the parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:16]


def random_id() -> str:
    """A new random id (32 hex digits), for records whose sender gave none."""
    return secrets.token_hex(16)


def random_fraction() -> float:
    """A random number in [0, 1), for the jitter of retries."""
    return secrets.randbits(53) / (1 << 53)


def seeded_random(*seed: int | str) -> random.Random:
    """A source of chance that gives the same numbers for the same seed, on every machine.

    >>> seeded_random(7, "clicks").random() == seeded_random(7, "clicks").random()
    True
    """
    return random.Random(md5_low64("|".join(str(part) for part in seed)))
