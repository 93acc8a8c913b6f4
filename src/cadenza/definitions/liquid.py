"""Liquid: which variables a template uses, and the one environment in which templates are parsed.

A template's author is trusted with its text, not with the machine: nothing here reads a file, the environment or
the time of day, and what costs time or memory out of proportion to the text is refused at parsing or is paid for
from a budget at rendering (``runtime/render.py``). Rendering itself is not done here; validation needs only parsing.

Beyond standard Liquid (no ``include``, ``render``, ``safe``, ``escapejs``, no ``now``/``today``):

- ``| money`` → ``1,234.50``; ``| money: 'GBP'`` → ``£1,234.50``; ``| money: 'EUR', locale: 'de_DE'``.
- ``| date: '%d %B %Y'``, ``zone: 'Europe/London'`` for an instant written as ISO 8601 (no offset is UTC) or as
  whole seconds since 1970. Without a format: ``2 January 2026``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, cast
from zoneinfo import ZoneInfo

from babel.core import UnknownLocaleError
from babel.numbers import UnknownCurrencyError, format_currency, format_decimal, list_currencies
from liquid import BoundTemplate, Environment, RenderContext
from liquid.ast import Node
from liquid.builtin.expressions import LoopExpression
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.exceptions import FilterArgumentError, LiquidError
from liquid.expression import Expression
from liquid.undefined import FalsyStrictUndefined, Undefined

from cadenza.errors import ExpressionError, near_miss

SOURCE_LIMIT = 256 * 1024
"""The longest template, in characters."""
OUTPUT_LIMIT = 1024 * 1024
"""The longest result, in bytes; also the longest value a filter may build."""
LOOP_LIMIT = 10_000
"""The most turns of a loop, nested loops multiplied; also the longest range."""
LIST_LIMIT = 2_000
"""The longest list a filter takes."""
NUMBER_BITS = 512
"""The largest whole number a filter takes, in bits."""
TAG_LIMIT = 16_000
"""The longest single ``{{ ... }}`` or ``{% ... %}``, in characters."""
BLANK_LIMIT = 100
"""The most blanks in a row inside one."""

_WITHDRAWN_TAGS = ("include", "render")
_WITHDRAWN_FILTERS = ("safe", "escapejs")
_CLOCK_WORDS = ("now", "today")


class Budget(Protocol):
    """A render context that counts what rendering costs (see ``runtime/render.py``)."""

    def spend(self, units: int) -> None:
        """Take ``units`` (about a microsecond each) from the budget; raises a LiquidError when it is used up."""
        ...


class Absent(FalsyStrictUndefined):
    """A value that is not there (never sent, or null): false in a condition, replaced by ``default``, equal to nil;
    an error when printed or computed with."""

    __slots__ = ()
    force_liquid_default = True

    def __eq__(self, other: object) -> bool:
        return other is None or other is False or isinstance(other, Undefined)

    def __hash__(self) -> int:
        return hash(self.name)


class _BoundedRange(RangeLiteral):
    """``(1..n)`` no longer than a loop may be: the library would count through any length."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> range:
        made = super().evaluate(context)
        if made.stop - made.start > LOOP_LIMIT:
            raise FilterArgumentError(f"a range has at most {LOOP_LIMIT} numbers", token=self.token)
        return made


class _Environment(Environment):
    context_depth_limit = 30
    block_nesting_limit = 30
    loop_iteration_limit = LOOP_LIMIT
    local_namespace_limit = OUTPUT_LIMIT
    output_stream_limit = OUTPUT_LIMIT


# --- filters -------------------------------------------------------------------------------------


def _size(value: object) -> int:
    """What a filter pays for a value; refuses those that are out of bounds."""
    if isinstance(value, int) and value.bit_length() > NUMBER_BITS:
        raise FilterArgumentError(f"a number has more than {NUMBER_BITS} bits", token=None)
    if isinstance(value, str):
        if len(value) > OUTPUT_LIMIT:
            raise FilterArgumentError(f"a value is longer than {OUTPUT_LIMIT} characters", token=None)
        return len(value) // 64
    if isinstance(value, (list, tuple, range)):
        if len(value) > LIST_LIMIT:
            raise FilterArgumentError(f"a list has more than {LIST_LIMIT} entries", token=None)
        return len(value) + sum(len(entry) // 64 for entry in value if isinstance(entry, Sized))
    return len(value) if isinstance(value, dict) else 0


def _grown(name: str, value: object, args: tuple[object, ...]) -> int:
    """The most characters that a filter which repeats one of its arguments could build."""
    if name == "replace" and len(args) == 2:
        text, sought = str(value), str(args[0])
        hits = text.count(sought) if sought else len(text) + 1
        return len(text) + hits * len(str(args[1]))
    if name == "join" and isinstance(value, (list, tuple, range)) and args:
        return len(value) * len(str(args[0]))
    return 0


def _metered(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, paying for its input from the render's budget. Without bounds ``'a' | append: ...`` or
    ``uniq`` on a long list stall the process while keeping inside the library's own limits."""

    @functools.wraps(function)
    def call(value: object, *args: object, context: RenderContext, **named: object) -> object:
        if name != "default" and any(isinstance(given, Absent) for given in (value, *args)):
            str(next(given for given in (value, *args) if isinstance(given, Absent)))  # raises; arithmetic would take 0
        cost = 1 + _size(value) + sum(map(_size, args)) + sum(map(_size, named.values()))
        if name == "uniq" and isinstance(value, list):
            cost += len(value) * len(value) // 64
        if _grown(name, value, args) > OUTPUT_LIMIT:
            raise FilterArgumentError(f"'{name}' would build more than {OUTPUT_LIMIT} characters", token=None)
        if hasattr(context, "spend"):
            cast(Budget, context).spend(cost)
        if getattr(function, "with_context", False):
            named["context"] = context
        if getattr(function, "with_environment", False):
            named["environment"] = context.env
        return function(value, *args, **named)

    call.with_context = True  # type: ignore[attr-defined]
    call.with_environment = False  # type: ignore[attr-defined]
    return call


def _decimal(value: object) -> Decimal:
    try:
        number = Decimal(str(value).strip()) if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > 30:
        raise FilterArgumentError(f"money: {str(value)[:40]!r} is not an amount", token=None)
    return number


def money(value: object, currency: object = None, *, locale: object = "en_GB") -> str:
    """An amount (number, or decimal as text) with the decimals and the sign of its currency.

    >>> money('1234.5'), money(1234.5, 'GBP'), money(-3, 'JPY')
    ('1,234.50', '£1,234.50', '-JP¥3')
    """
    amount = _decimal(value)
    try:
        if currency is None:
            return format_decimal(amount, format="#,##0.00", locale=str(locale))
        code = str(currency).upper()
        if code not in list_currencies():
            raise UnknownCurrencyError(code)
        return format_currency(amount, code, locale=str(locale))
    except UnknownCurrencyError as error:
        raise FilterArgumentError(f"money: '{str(currency)[:20]}' is not an ISO 4217 currency", token=None) from error
    except (UnknownLocaleError, ValueError) as error:
        raise FilterArgumentError(f"money: '{str(locale)[:20]}' is not a locale", token=None) from error


# strftime of the C library takes field widths: '%999999999d' would fill the memory
_FORMAT = re.compile(r"(?:[^%\r\n]|%-?[aAbBdeHIjmMpSyYZ%])*")


def date(value: object, format: object = "%-d %B %Y", *, zone: object = "UTC") -> str:
    """An instant (ISO 8601 text, no offset is UTC; or seconds since 1970) at the clock of a zone.

    >>> date('2026-06-01T23:30:00.000000Z', '%d.%m.%Y %H:%M', zone='Europe/Berlin')
    '02.06.2026 01:30'
    """
    pattern = str(format)
    if len(pattern) > 100 or not _FORMAT.fullmatch(pattern):
        raise FilterArgumentError(f"date: the format {pattern[:40]!r} is not allowed", token=None)
    try:
        at = ZoneInfo(str(zone))
    except (ValueError, OSError, KeyError) as error:
        raise FilterArgumentError(f"date: '{str(zone)[:40]}' is not a time zone", token=None) from error
    try:
        return _instant(value).astimezone(at).strftime(pattern)
    except (ValueError, OverflowError) as error:
        raise FilterArgumentError(f"date: {str(value)[:40]!r} is not an instant in ISO 8601", token=None) from error


def _instant(value: object) -> datetime:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
    made = datetime.fromisoformat(str(value).strip())
    return made if made.tzinfo else made.replace(tzinfo=UTC)


@functools.cache
def environment(html: bool) -> Environment:
    """The environment for text or for HTML (values are escaped), with every filter metered."""
    made = _Environment(undefined=Absent, strict_filters=True, autoescape=html)
    for tag in _WITHDRAWN_TAGS:
        made.tags.pop(tag, None)
    for name in _WITHDRAWN_FILTERS:
        made.filters.pop(name, None)
    made.filters["money"] = money
    made.filters["date"] = date
    for name, function in made.filters.items():
        made.filters[name] = _metered(name, function)
    return made


# --- parsing -------------------------------------------------------------------------------------


class Parsed:
    """A template ready to render. ``nodes`` counts its parts (what one turn through it costs);
    ``variables``: paths of the values it takes from its context."""

    __slots__ = ("nodes", "template", "variables")

    def __init__(self, template: BoundTemplate, text: str) -> None:
        self.template = template
        self.nodes = _bound_ranges(template)
        self.variables = _variables(template, text)


@functools.lru_cache(maxsize=512)
def parse(text: str, html: bool = False) -> Parsed:
    """The parsed template. Raises ExpressionError naming the line at fault.

    >>> sorted(parse('Dear {{ first_name }}, {{ entry.order_id }}').variables)
    [('entry', 'order_id'), ('first_name',)]
    """
    if len(text) > SOURCE_LIMIT:
        raise ExpressionError(
            f"The template has {len(text)} characters; at most {SOURCE_LIMIT} are allowed.",
            remedy="Move images and styles out of the template.",
        )
    _check_delimiters(text)
    try:
        return Parsed(environment(html).from_string(text), text)
    except LiquidError as error:
        raise liquid_problem(error, "does not parse") from error
    except RecursionError as error:
        raise ExpressionError("The template is nested too deeply to be parsed.") from error


_OPENING = re.compile(r"\{[{%]")
_BLANKS = re.compile(rf"\s{{{BLANK_LIMIT + 1}}}")
_VERBATIM = re.compile(r"\{%-?\s*(raw|doc)\s*-?%\}")
_VERBATIM_END = {name: re.compile(rf"\{{%-?\s{{0,100}}end{name}\s{{0,100}}-?%\}}") for name in ("raw", "doc")}


def _check_delimiters(text: str) -> None:
    """Refuse what the library's lexer, a backtracking pattern, takes quadratic time to refuse itself: openings that
    are never closed, and long runs of blanks."""
    at = 0
    while opening := _OPENING.search(text, at):
        start = opening.start()
        closing = "}}" if opening[0] == "{{" else "%}"
        end = text.find(closing, start + 2)
        part = text[start : start + 40].splitlines()[0]
        if end < 0 or end - start > TAG_LIMIT:
            what = "is never closed" if end < 0 else f"is longer than {TAG_LIMIT} characters"
            raise ExpressionError(
                f"The template does not parse: '{part}' {what} (line {_line(text, start)}).",
                remedy=f"Close it with '{closing}'.",
            )
        if _BLANKS.search(text, start, end):
            raise ExpressionError(f"The template has more than {BLANK_LIMIT} blanks in a row in '{part.rstrip()}'.")
        at = end + 2
        if verbatim := _VERBATIM.fullmatch(text, start, at):
            finish = _VERBATIM_END[verbatim[1]].search(text, at)
            if not finish:
                raise ExpressionError(f"The template does not parse: '{part}' has no '{{% end{verbatim[1]} %}}'.")
            at = finish.end()


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def template_variables(text: str) -> frozenset[tuple[str, ...]]:
    """Paths of the values a template takes from its context: ``{{ first_name }}`` is ``('first_name',)``,
    ``{{ entry.items[0].sku }}`` is ``('entry', 'items')`` (a path ends where an index begins). Names that the template
    assigns itself are not among them. Raises ExpressionError for text that is not a Liquid template, uses an unknown
    filter or tag, or asks for the time of day."""
    return parse(text).variables


def liquid_problem(error: LiquidError, verb: str) -> ExpressionError:
    """The library's error as ours: message, line, and the text of the line."""
    message = str(error.message or type(error).__name__).rstrip(".")
    try:
        place = error.context()
    except ValueError:
        place = None
    where = f" (line {place[0]}: {place[3].strip()[:120]!r})" if place else ""
    remedy = None
    if "is undefined" in message:
        remedy = "Give it a value for when there is none: {{ name | default: '...' }}, or ask first: {% if name %}."
    return ExpressionError(f"The template {verb}: {message}{where}.", remedy=remedy)


def _nodes(roots: Iterable[Node], context: RenderContext) -> Iterator[Node]:
    stack = list(roots)
    while stack:
        node = stack.pop()
        yield node
        stack.extend(node.children(context, include_partials=False))


def _operands(root: Expression) -> Iterator[Expression]:
    stack = [root]
    while stack:
        expression = stack.pop()
        yield expression
        stack.extend(expression.children())


def _bound_ranges(template: BoundTemplate) -> int:
    """Put a bounded range in the place of each range that is looped over, refuse ranges anywhere else; the number
    of nodes of the template."""
    context = RenderContext(template)
    count = 0
    for node in _nodes(template.nodes, context):
        count += 1
        for root in node.expressions():
            for expression in _operands(root):
                if isinstance(expression, LoopExpression) and type(expression.iterable) is RangeLiteral:
                    loose = expression.iterable
                    expression.iterable = _BoundedRange(loose.token, loose.start, loose.stop)
                elif type(expression) is RangeLiteral:
                    raise FilterArgumentError("a range may only be looped over", token=expression.token)
    return count


def _variables(template: BoundTemplate, text: str) -> frozenset[tuple[str, ...]]:
    analysis = template.analyze(include_partials=False)
    known: Mapping[str, object] = template.env.filters
    for name, spans in analysis.filters.items():
        if name not in known:
            line = _line(text, spans[0].index)
            raise ExpressionError(
                f"The template uses the unknown filter '{name}' (line {line}).", remedy=near_miss(name, known)
            )
    paths = set()
    for uses in analysis.globals.values():
        for use in uses:
            path = _leading_names(use.segments)
            if path and path[0] in _CLOCK_WORDS:
                raise ExpressionError(
                    f"The template uses '{path[0]}': a message must come out the same whenever it is rendered.",
                    remedy="Print an instant of the context, for example {{ message.planned_at | date }}.",
                )
            paths.add(path)
    return frozenset(paths - {()})


def _leading_names(segments: Iterable[object]) -> tuple[str, ...]:
    names: list[str] = []
    for segment in segments:
        if not isinstance(segment, str):
            break
        names.append(str(segment))
    return tuple(names)
