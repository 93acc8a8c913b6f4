"""Rendering: a template and its variables become a message ready for a channel.

The context is the JSON object the tick wrote when it planned the message: trait values by name, ``entry`` (the
triggering event's properties), ``person`` {id}, ``message`` {id}. ``message.planned_at`` (ISO 8601) is added here.

**Numbers.** Decimals may arrive as JSON numbers (exact to 15 digits) or as text (``"12.50"``). ``money`` takes either;
comparisons (``total > 100``) and arithmetic need a JSON number. **Nothing there.** A null is the same as an absent
value: false in ``if``, replaced by ``default``; printing it is an error, so that nobody is greeted with "Dear ,".
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from liquid import RenderContext
from liquid.exceptions import LiquidError, ResourceLimitError
from liquid.output import LimitedStringIO
from liquid.utils import ReadOnlyChainMap

from cadenza.clock import from_micros, iso
from cadenza.definitions.kinds import Template
from cadenza.definitions.liquid import OUTPUT_LIMIT, Parsed, liquid_problem, parse, template_variables
from cadenza.errors import ExpressionError, TerminalError
from cadenza.ports.channel import Rendered
from cadenza.runtime.plaintext import plain_text

BUDGET = 250_000
"""What one rendering may cost: about one per node rendered, value read or 64 characters filtered."""

# C0, DEL, C1 and the Unicode line separators: any of them may end a header line somewhere down the road
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Variables(msgspec.Struct, frozen=True):
    """What a template takes from its context: ``names`` at the top, and full ``paths``."""

    names: frozenset[str]
    paths: frozenset[tuple[str, ...]]


def variables(template: Template) -> Variables:
    """Names and paths used by subject and body. Raises ExpressionError (see ``definitions/liquid.py``).

    >>> variables(Template(name='t', channel='email', purpose='p', body='{{ entry.order_id }}')).names
    frozenset({'entry'})
    """
    paths = template_variables(template.subject) | template_variables(template.body)
    return Variables(names=frozenset(path[0] for path in paths), paths=paths)


class _Metered(RenderContext):
    """A render context with a budget, and without the library's clock (its ``now`` and ``today``)."""

    __slots__ = ("_left", "_per_turn")

    def __init__(self, parsed: Parsed, values: dict[str, Any]) -> None:
        super().__init__(parsed.template, globals=values)
        self.scope = ReadOnlyChainMap(self.locals, self.globals, self.counters)
        self._left = BUDGET
        self._per_turn = 1 + parsed.nodes // 4

    def spend(self, units: int) -> None:
        self._left -= units
        if self._left < 0:
            raise ResourceLimitError("it costs more than a template may", token=None)

    def get(self, path: list[object], **rest: Any) -> object:
        self.spend(1)
        return super().get(path, **rest)

    def assign(self, key: str, val: Any) -> None:
        self.spend(1 + len(self.locals) // 8)
        super().assign(key, val)

    def loop(self, namespace: Any, forloop: Any) -> Any:
        self.raise_for_loop_limit(forloop.length)
        self.spend(forloop.length * self._per_turn)
        return super().loop(namespace, forloop)


def render(
    template: Template, context_json: str, message_id: str, *, address: str = "", planned_at: int = 0
) -> Rendered:
    """The message for ``address``, planned at ``planned_at`` (µs).

    A subject is one line whatever its values hold. Raises TerminalError, naming the template, for a value that is not
    there, a broken template or context, limits (loops, cost, 1 MiB of output), and an address that is not one line.
    """
    where = f"template '{template.name}'"
    if not address.isprintable() or _CONTROL.search(address) or address != address.strip():
        raise TerminalError(
            f"The address of message {message_id} contains a line break or a control character.",
            where=where, remedy="Correct the address trait where it is collected.",
        )  # fmt: skip
    values = _values(context_json, where)
    values["message"] = {
        **_mapping(values.get("message")),
        "id": message_id,
        "planned_at": iso(from_micros(planned_at)),
    }
    subject = _CONTROL.sub(" ", _render(template.subject, False, values, where)).strip()
    body = _render(template.body, template.format == "html", values, where)
    html = body if template.format == "html" else None
    return Rendered(
        message_id=message_id, channel=template.channel, address=address, subject=subject,
        text=body if html is None else plain_text(html), html=html, planned_at=planned_at,
    )  # fmt: skip


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _values(context_json: str, where: str) -> dict[str, Any]:
    try:
        values = msgspec.json.decode(context_json, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise TerminalError(
            f"The variables of the message are not a JSON object: {error}.",
            where=where, remedy="This is a fault of Cadenza; report it with the message id.",
        ) from error  # fmt: skip
    return _without_null(values)


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_null(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_null(inner) for inner in value if inner is not None]
    return value


def _render(text: str, html: bool, values: dict[str, Any], where: str) -> str:
    try:
        parsed = parse(text, html)
        output = LimitedStringIO(limit=OUTPUT_LIMIT)
        parsed.template.render_with_context(_Metered(parsed, values), output)
        return output.getvalue()
    except ExpressionError as error:
        raise TerminalError(error.what, where=where, remedy=error.remedy or _REMEDY) from error
    except LiquidError as error:
        problem = liquid_problem(error, "cannot be rendered")
        raise TerminalError(problem.what, where=where, remedy=problem.remedy or _REMEDY) from error
    except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError, AttributeError) as error:
        # filters of the library let some of Python's own errors through, for values such as infinity
        what = f"The template cannot be rendered: {type(error).__name__}: {str(error)[:200]}."
        raise TerminalError(what, where=where, remedy=_REMEDY) from error


_REMEDY = "Correct the template, run 'cadenza validate' and apply; 'cadenza explain' shows the variables."
