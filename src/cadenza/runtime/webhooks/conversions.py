"""The functions of the payload language at work: JSON values in, values of a type out.

None stays None. What cannot be converted raises Unmappable, whose text names what was found, never the value itself:
payloads are personal data.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

import msgspec

from cadenza.clock import EPOCH, iso
from cadenza.runtime.wire import parse_instant

_EXACT = Context(prec=76, rounding=ROUND_HALF_UP)
_LONGEST_NUMBER = 40
_INTEGER = re.compile(r"[+-]?[0-9]{1,38}")
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
_NO_MINOR = frozenset({
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf",
})  # fmt: skip
"""Currencies whose amounts have no smaller unit, as payment providers count them (ISO 4217; ISK and UGX are sent with
two decimals)."""
_THREE_DECIMALS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})


class Unmappable(Exception):
    """A value that an expression cannot use. The text says what was found instead, without the value."""


def described(value: Any) -> str:
    """What kind of JSON value it is."""
    match value:
        case bool():
            return "a truth value"
        case int() | float() | Decimal():
            return "a number"
        case str():
            return "a text" if value else "an empty text"
        case list():
            return "an array"
        case dict():
            return "an object"
    return "an instant" if isinstance(value, datetime) else "nothing"


def to_text(value: Any) -> str | None:
    """Text of a single value; numbers as JSON writes them, instants as RFC 3339."""
    if value is None or isinstance(value, str):
        return value
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return msgspec.json.encode(value).decode()
        case Decimal():
            return f"{value:f}"
        case datetime():
            return iso(value)
    raise Unmappable(f"a text was expected, not {described(value)}")


def to_decimal(value: Any) -> Decimal | None:
    """An exact number of a number or of its text."""
    if value is None or isinstance(value, Decimal):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(value) if isinstance(value, int) else Decimal(repr(value))
    if isinstance(value, str) and len(text := value.strip()) <= _LONGEST_NUMBER and _DECIMAL.fullmatch(text):
        try:
            return Decimal(text)
        except InvalidOperation:  # pragma: no cover - the pattern lets nothing else through
            pass
    raise Unmappable(f"a number was expected, not {described(value)}")


def to_integer(value: Any) -> int | None:
    """A whole number of a number or of its text; 2.0 is one, 2.5 is not."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    number = to_decimal(value)
    if number is None or number != number.to_integral_value():
        raise Unmappable("a whole number was expected, not one with decimals")
    return int(number)


def to_boolean(value: Any) -> bool | None:
    """A truth value, or the texts ``true`` and ``false``."""
    if value is None or isinstance(value, bool):
        return value
    known = {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None
    if known is None:
        raise Unmappable(f"true or false was expected, not {described(value)}")
    return known


def to_timestamp(value: Any) -> datetime | None:
    """An instant (naive UTC) of ISO 8601 text; without an offset it is UTC."""
    if value is None or (isinstance(value, datetime) and value.tzinfo is None):
        return value
    parsed = parse_instant(value)
    if parsed is None:
        raise Unmappable(f"a date and time was expected, not {described(value)}")
    try:
        return parsed if parsed.tzinfo is None else parsed.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise Unmappable("a date and time between the years 1 and 9999 was expected") from None


def epoch_seconds(value: Any) -> datetime | None:
    """An instant of seconds since 1970."""
    return _since_1970(value, 1_000_000)


def epoch_millis(value: Any) -> datetime | None:
    """An instant of milliseconds since 1970."""
    return _since_1970(value, 1_000)


def _since_1970(value: Any, unit_us: int) -> datetime | None:
    number = to_decimal(value)
    if number is None:
        return None
    try:
        return EPOCH + timedelta(microseconds=int((number * unit_us).to_integral_value(ROUND_HALF_UP)))
    except (OverflowError, InvalidOperation):
        raise Unmappable("a count since 1970 was expected, not so large a number") from None


def minor_units(amount: Any, currency: str | None = None) -> Decimal | None:
    """An amount of its smallest unit: 1999 of EUR is 19.99, of JPY 1999, of KWD 1.999. No currency counts two decimals.

    >>> minor_units(1999, 'eur'), minor_units(1999, 'JPY')
    (Decimal('19.99'), Decimal('1999'))
    """
    number = to_decimal(amount)
    if number is None:
        return None
    code = (currency or "").lower()
    return number.scaleb(0 if code in _NO_MINOR else -3 if code in _THREE_DECIMALS else -2, context=_EXACT)


def pick(value: Any, *keys: str) -> Any:
    """Of an object, or of each object in an array, only some keys."""
    if isinstance(value, list):
        return [pick(item, *keys) for item in value]
    if isinstance(value, dict):
        return {key: value[key] for key in keys if key in value}
    return value


def size(value: Any) -> int | None:
    """How many elements an array has. Raises Unmappable for anything else."""
    return None if value is None else len(elements(value))


def elements(value: Any) -> list[Any]:
    """The elements of an array; nothing has none. Raises Unmappable for anything else."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unmappable(f"an array was expected, not {described(value)}")
    return value


def split_part(text: str | None, separator: str | None, part: int | None) -> str | None:
    """Part number ``part`` of a text, from 1, or from the end when it is negative; nothing where there is none."""
    if text is None or not separator or not part:
        return None
    parts = text.split(separator)
    at = part - 1 if part > 0 else part
    return parts[at] if -len(parts) <= at < len(parts) else None


def concat(*parts: str | None) -> str | None:
    """Texts joined; nothing when one of them is nothing, as in SQL."""
    return None if None in parts else "".join(parts)  # type: ignore[arg-type]


def _replace(text: str | None, old: str | None, new: str | None) -> str | None:
    return None if text is None or old is None or new is None else text.replace(old, new) if old else text


def _of_text(change: Callable[[str], str]) -> Callable[[str | None], str | None]:
    return lambda text: None if text is None else change(text)


CONVERSIONS: dict[str, Callable[..., Any]] = {
    "text": to_text, "integer": to_integer, "decimal": to_decimal, "boolean": to_boolean, "timestamp": to_timestamp,
    "epoch_seconds": epoch_seconds, "epoch_millis": epoch_millis, "minor_units": minor_units,
    "lower": _of_text(str.lower), "upper": _of_text(str.upper), "trim": _of_text(str.strip),
    "replace": _replace, "split_part": split_part, "pick": pick, "size": size, "concat": concat,
}  # fmt: skip
"""Functions of the payload language by name; their arguments are of the right types already."""
