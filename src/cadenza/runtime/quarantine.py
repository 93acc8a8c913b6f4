"""The work on quarantine: see what is there and why, correct it, take it in again, or drop it with a reason.

Every act is written down beside the record: what, when, by whom, why. The original body is never touched.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from cadenza.clock import Clock, to_micros
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.quarantine import Act, Quarantined, Readmission, Readmitted, ReasonCount, State, StillRefused
from cadenza.runtime.readmission import Judge

MAX_RECORD = 1_000_000
"""Bytes of a corrected record."""
AT_ONCE = 500
"""Records of a replay that one transaction takes."""
MOST = 10_000
"""Records that one call of ``replay`` takes; who has more asks again."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A record of quarantine with its history, oldest act first."""

    record: Quarantined
    history: tuple[Act, ...]


class Fixed(msgspec.Struct, frozen=True, kw_only=True):
    """A corrected record, and what a replay would say of it now: ``reason`` is None when it would be taken in, unless its
    message id is taken."""

    record: Quarantined
    reason: str | None
    detail: str


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay did. ``refused``: how many stay, by reason. ``passed_over``: had left before, were dropped or changed
    meanwhile. ``last``: the greatest id that was looked at; ``more``: there are further ones after it."""

    stored: int
    duplicate: int
    refused: dict[str, int]
    passed_over: int
    results: tuple[Readmitted, ...]
    last: int
    more: bool


class Quarantine:
    """The quarantine of one project. Safe to use from several threads."""

    def __init__(self, log: SqliteLog, project: Callable[[], Project], clock: Clock) -> None:
        self._log, self._project, self._clock = log, project, clock

    def counts(self) -> list[ReasonCount]:
        """Records by source and reason, the largest group first."""
        return self._log.quarantined.counts()

    def list(
        self, limit: int = 100, source: str | None = None, reason: str | None = None, state: State | None = "resting",
        before: int | None = None,
    ) -> list[Quarantined]:  # fmt: skip
        """Records, newest first; with an id below ``before``, if given. ``state`` None: whatever became of them."""
        return self._log.quarantined.list(limit, source, reason, state, before)

    def show(self, id: int) -> Shown:
        """One record and what was done about it. Raises CadenzaError when there is none."""
        return Shown(record=self._log.quarantined.get(id), history=tuple(self._log.quarantined.history(id)))

    def fix(
        self, id: int, who: str, *, put: Mapping[str, bytes] | None = None, remove: Sequence[str] = (),
        record: bytes | None = None, note: str = "",
    ) -> Fixed:  # fmt: skip
        """Keep a correction beside the original: ``record`` instead of the body, then the values ``put`` (JSON) at their paths
        (``properties.revenue``), and the paths in ``remove`` taken out. It builds on an earlier correction.

        Raises CadenzaError when the record does not rest in quarantine, or when the result is no JSON object."""
        held, judge = self._log.quarantined.get(id), self._judge()
        value = _parsed(record if record is not None else held.corrected or held.body, id)
        for path in remove:
            _remove(value, path)
        for path, item in (put or {}).items():
            _put(value, path, _value(item, path))
        said = [*(["a new record"] if record is not None else []), *(f"set {path}" for path in put or ())]
        said += [f"removed {path}" for path in remove]
        kept = self._log.quarantined.fix(id, _encoded(value), self._now(), who, note or ", ".join(said))
        judged = judge.judge(kept, self._now())
        still = isinstance(judged, StillRefused)
        return Fixed(record=kept, reason=judged.reason if still else None, detail=judged.detail if still else "")

    def replay(
        self, who: str, ids: Sequence[int] | None = None, source: str | None = None, reason: str | None = None,
        after: int = 0, limit: int = MOST,
    ) -> Replayed:  # fmt: skip
        """Take records in as if they came now as they are now: those named, or all that rest there (of a source or
        reason) with an id above ``after``. Done twice, it is done once. Raises OperatingError when nothing is deployed."""
        known = self._log.quarantined
        wanted = sorted(set(ids)) if ids is not None else known.resting(source, reason)
        wanted = [id for id in wanted if id > after]
        now_wanted, judge = wanted[:limit], self._judge()
        results: list[Readmitted] = []
        for low in range(0, len(now_wanted), AT_ONCE):
            results += self._replay(now_wanted[low : low + AT_ONCE], judge, who)
        told = Counter(item.status for item in results)
        return Replayed(
            stored=told["stored"], duplicate=told["duplicate"], passed_over=told["passed over"],
            refused=dict(Counter(item.reason for item in results if item.status == "refused").most_common()),
            results=tuple(results), last=now_wanted[-1] if now_wanted else after, more=len(wanted) > len(now_wanted),
        )  # fmt: skip

    def drop(self, ids: Sequence[int], because: str, who: str) -> list[int]:
        """Say that records are not wanted, and why. They stay, marked, and counted. Returns those that rested there until
        now. Raises CadenzaError without a reason, or when a record is unknown or has been replayed."""
        if not because.strip():
            raise CadenzaError(
                "a record is dropped for a reason.", where="because", remedy="Say why; it is kept with the record."
            )
        return self._log.quarantined.drop(ids, because.strip(), self._now(), who)

    def _replay(self, ids: Sequence[int], judge: Judge, who: str) -> list[Readmitted]:
        accepted: list[Readmission] = []
        refused: list[StillRefused] = []
        gone: list[Readmitted] = []
        for id in ids:
            item = self._log.quarantined.get(id)
            if item.state != "resting":
                gone.append(Readmitted(id=id, status="passed over", offset=item.log_offset, reason=item.state))
                continue
            judged = judge.judge(item, self._now())
            (refused if isinstance(judged, StillRefused) else accepted).append(judged)  # type: ignore[arg-type]
        done = self._log.readmit(accepted, refused, self._now(), who) if accepted or refused else []
        return sorted([*gone, *done], key=lambda item: item.id)

    def _judge(self) -> Judge:
        project = self._project()
        return Judge(lambda: project)

    def _now(self) -> int:
        return to_micros(self._clock.now())


# --- corrections ------------------------------------------------------------------------------------

_read_exactly = msgspec.json.Decoder(float_hook=Decimal).decode
_write_exactly = msgspec.json.Encoder(decimal_format="number").encode


def _parsed(body: bytes, id: int) -> dict[str, Any]:
    """A body whose numbers keep their digits. ``NaN``, which some clients send, is read too."""
    try:
        value = _read_exactly(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            value = json.loads(body, parse_float=Decimal)
        except (ValueError, RecursionError):
            raise CadenzaError(
                "the record is no JSON object.", where=f"quarantine {id}",
                remedy="Give the whole record: --file corrected.json or --editor.",
            ) from None  # fmt: skip
    if not isinstance(value, dict):
        raise CadenzaError(
            "a record must be a JSON object.", where=f"quarantine {id}", remedy='For example {"type": "track", ...}.'
        )
    return value


def _encoded(value: dict[str, Any]) -> bytes:
    infinite = _not_finite(value, "")
    if infinite:
        raise CadenzaError(
            f"{infinite} holds a number that JSON cannot.", remedy=f"Set it, or take it out: --unset {infinite}."
        )
    body = _write_exactly(value)
    if len(body) > MAX_RECORD:
        raise CadenzaError(
            f"the record has {len(body):,} bytes.", remedy=f"A corrected record has at most {MAX_RECORD:,}."
        )
    return body


def _not_finite(value: Any, path: str) -> str | None:
    """The path of the first number that is NaN or infinite."""
    if isinstance(value, float | Decimal):
        return None if math.isfinite(value) else path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((at for key, item in inside if (at := _not_finite(item, f"{path}.{key}".lstrip(".")))), None)


def _value(item: bytes, path: str) -> Any:
    try:
        return _read_exactly(item)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise CadenzaError("the value is no JSON.", where=path, remedy='Quote a text: "shoes".') from None


def _put(value: dict[str, Any], path: str, item: Any) -> None:
    holder, key = _place(value, path, make=True)
    holder[key] = item


def _remove(value: dict[str, Any], path: str) -> None:
    holder, key = _place(value, path, make=False)
    if key not in holder:
        raise CadenzaError(
            f"the record has no '{path}'.", where="path", remedy=f"There is: {', '.join(sorted(holder)) or 'nothing'}."
        )
    del holder[key]


def _place(value: dict[str, Any], path: str, make: bool) -> tuple[dict[str, Any], str]:
    """The object that holds a path's last part, and that part. A key that holds dots itself is found first."""
    holder = value
    while path not in holder and "." in path:
        key, _, rest = path.partition(".")
        inside = holder.setdefault(key, {}) if make else holder.get(key)
        if not key or not isinstance(inside, dict):
            raise CadenzaError(
                f"'{key}' holds no fields.", where="path", remedy="Name a path through objects: properties.revenue."
            )
        holder, path = inside, rest
    if not path:
        raise CadenzaError("the path is empty.", where="path", remedy="For example properties.revenue.")
    return holder, path
