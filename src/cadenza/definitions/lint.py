"""What is valid and yet probably not meant: warnings, each with a code that the documentation explains.

``check`` says what cannot work; this looks at projects that can. A finding is told only where the project itself shows that
something is off, so that a sound project stays silent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cadenza.definitions.check_enter import entered, entered_at_once
from cadenza.definitions.contract_fields import declared
from cadenza.definitions.expression import (
    Agg,
    Coalesce,
    Consented,
    EventIs,
    Expr,
    InJourney,
    InSegment,
    IsNull,
    Lit,
    Trait,
    children,
    walk,
)  # fmt: skip
from cadenza.definitions.findings import Findings
from cadenza.definitions.flags import nested_steps
from cadenza.definitions.kinds import RecordMapping, Template, WebhookRecord
from cadenza.definitions.kinds_journey import Branch, ExitStep, Journey, Step, Update, Wait, WaitFor
from cadenza.definitions.project import Project
from cadenza.definitions.typecheck import expressions_of
from cadenza.errors import near_miss

CODES: dict[str, str] = {
    "purpose-without-consent": "A marketing template is for a purpose that nothing in the project can consent to.",
    "unknown-never-taken": "The `unknown` arm of a branch does something, but none of its conditions can be null.",
    "field-not-in-contract": "A trait is read from, or a mapping writes, a field that the contract of the call does not declare.",
    "journeys-feed-each-other": "Journeys with `again: after_exit` start one another through the traits they set or the journeys they enter, without a wait: they can go round at one instant.",
    "journeys-enter-in-a-ring": "Journeys with `again: after_exit` enter one another, so that people go round again and again.",
    "journeys-of-equal-rank": "Two journeys of one arena with one priority have the same trigger: the name decides who gets in.",
}
"""Code of a finding -> what it says."""
_LITERAL = re.compile(r"\s*'([^']*)'\s*")
_CONSENT = "Consent Updated"


def lint(project: Project, findings: Findings) -> None:
    """Add the warnings about a project that has no problem."""
    _purposes(project, findings)
    _fields(project, findings)
    for journey in project.journeys:
        _branches(project, journey, findings)
    _feeding(project, findings)
    _equal_rank(project, findings)


# --- consent ------------------------------------------------------------------------------------------------


def _purposes(project: Project, findings: Findings) -> None:
    """Purposes of marketing templates against what statements of consent can name."""
    named, anything = _consentable(project)
    asked = {n.purpose for tree in expressions_of(project) for n in walk(tree) if isinstance(n, Consented)}
    for template in project.templates:
        if template.message_class != "marketing" or template.purpose in named:
            continue
        if not anything:
            what = f"Nothing can consent to the purpose '{template.purpose}', so this template is never sent."
            _tell_purpose(findings, template, what, named)
        elif (named or asked) and template.purpose not in asked:
            what = f"No consent flow and no condition names the purpose '{template.purpose}'."
            _tell_purpose(findings, template, what, named | asked)


def _tell_purpose(findings: Findings, template: Template, what: str, known: set[str]) -> None:
    hint = near_miss(template.purpose, known) or "Name it in the contract or the mapping of 'Consent Updated'."
    findings.warning(what, "templates", template.name, "purpose", hint, "purpose-without-consent")


def _consentable(project: Project) -> tuple[set[str], bool]:
    """The purposes that statements can name, and whether they can name any: a client over HTTP says what it likes, unless
    the contract of the event lists the purposes."""
    listed = [
        set(field.enum)
        for contract in project.contracts if contract.name == _CONSENT
        for name, field in contract.properties.items() if name == "purpose" and field.enum
    ]  # fmt: skip
    if listed:
        return set.union(*listed), False
    mapped = [
        record.properties.get("purpose") for record in _mappings(project) if record.event in (_CONSENT, f"'{_CONSENT}'")
    ]
    literal = [_LITERAL.fullmatch(text or "") for text in mapped]
    named = {match[1] for match in literal if match}
    open_door = any(source.kind == "http" for source in project.sources) or not all(literal)
    return named, open_door or not project.sources


def _mappings(project: Project) -> Iterator[RecordMapping | WebhookRecord]:
    for source in project.sources:
        yield from source.records
        yield from source.webhook.records if source.webhook else ()


# --- contracts ----------------------------------------------------------------------------------------------


def _fields(project: Project, findings: Findings) -> None:
    """Fields that are read or written and that a declared contract does not know. An event or a call without a contract, or
    whose contract has no fields, says nothing."""
    known = {c.name: fields for c in project.contracts if (fields := set(declared(c)))}
    for trait in project.traits:
        read = (trait.from_ or "").removeprefix("traits.").partition(".")[0]
        if read and "identify" in known and read not in known["identify"]:
            what = f"The contract 'identify' does not declare '{read}'."
            remedy = near_miss(read, known["identify"])
            findings.warning(what, "traits", trait.name, "from", remedy, "field-not-in-contract")
    for source in project.sources:
        records = source.webhook.records if source.webhook else source.records
        prefix = "webhook.records" if source.webhook else "records"
        for number, record in enumerate(records):
            event = (record.event or "").strip("'")
            for name in sorted(set(record.properties) - known.get(event, set(record.properties))):
                what = f"The contract '{event}' does not declare '{name}'."
                path = f"{prefix}.{number}.properties.{name}"
                findings.warning(
                    what, "sources", source.name, path, near_miss(name, known[event]), "field-not-in-contract"
                )


# --- branches -----------------------------------------------------------------------------------------------


def _branches(project: Project, journey: Journey, findings: Findings) -> None:
    never = never_null(project)
    for path, step in _places(journey.steps, "steps"):
        if not isinstance(step, Branch) or not any(not isinstance(s, ExitStep) for s in step.unknown):
            continue
        if all(has_value(arm.when, never) for arm in step.arms):
            what = "None of the branch's conditions can be null, so its 'unknown' arm is never taken."
            remedy = "Leave 'unknown: []', or ask for what may be missing."
            findings.warning(what, "journeys", journey.name, f"{path}.unknown.0", remedy, "unknown-never-taken")


def never_null(project: Project) -> frozenset[str]:
    """Computed traits that always have a value."""
    found: frozenset[str] = frozenset()
    while True:
        more = {t.name for t in project.traits if t.value is not None and has_value(t.value, found)}
        if more == found:
            return found
        found = frozenset(more)


def has_value(node: Expr, never: frozenset[str]) -> bool:
    """Whether the expression is never null."""
    match node:
        case Lit(text, _):
            return text is not None
        case Trait(name):
            return name in never
        case Agg(fn=fn):
            return fn == "count"
        case EventIs() | InSegment() | InJourney() | Consented() | IsNull():
            return True
        case Coalesce(args):
            return any(has_value(arg, never) for arg in args)
    below = children(node)
    return bool(below) and all(has_value(child, never) for child in below)


# --- journeys that start one another --------------------------------------------------------------------------


def _feeding(project: Project, findings: Findings) -> None:
    """Rings of journeys: each starts the next one, by a trait that it sets and the next one's segment reads, or by a step
    that enters it. Rings of such steps alone, at one instant, are problems (see ``check_enter``)."""
    reads = {segment.name: _read(project, segment.when, frozenset()) for segment in project.segments}
    again = [j for j in project.journeys if j.entry.again == "after_exit"]
    at_once: dict[str, list[str]] = {}
    later: dict[str, list[str]] = {}
    for one in again:
        sets, enters = _at_once(one.steps), entered_at_once(one)
        at_once[one.name] = [
            other.name for other in again
            if other.name in enters
            or (other.entry.on.segment and not other.entry.on.schedule and sets & reads.get(other.entry.on.segment, set()))
        ]  # fmt: skip
        later[one.name] = sorted(entered(one) & {other.name for other in again})
    for name in at_once:
        if (ring := _ring(name, at_once)) is not None:
            what = (
                f"At one instant this journey can start {_others(ring, name)}, which can start it again, without end."
            )
            remedy = "Put a wait before the update, or write 'again: { after: ... }'."
            findings.warning(what, "journeys", name, "entry.again", remedy, "journeys-feed-each-other")
        elif (ring := _ring(name, later)) is not None:
            what = f"People come back to this journey through {_others(ring, name)}, round and round until another exit ends it."
            remedy = "Leave one of the steps that enter out, or write 'again: once' or 'again: { after: ... }'."
            findings.warning(what, "journeys", name, "entry.again", remedy, "journeys-enter-in-a-ring")


def _others(ring: list[str], name: str) -> str:
    return " and ".join(f"'{other}'" for other in sorted(set(ring) - {name})) or "itself"


def _read(project: Project, tree: Expr, seen: frozenset[str]) -> set[str]:
    """Every trait that the value of an expression depends on, through segments and computed traits."""
    values = {t.name: t.value for t in project.traits if t.value is not None}
    segments = {s.name: s.when for s in project.segments}
    found: set[str] = set()
    for node in walk(tree):
        if isinstance(node, Trait):
            found.add(node.name)
        inner = (
            values.get(node.name)
            if isinstance(node, Trait)
            else segments.get(node.name)
            if isinstance(node, InSegment)
            else None
        )
        if inner is not None and isinstance(node, Trait | InSegment) and node.name not in seen:
            found |= _read(project, inner, seen | {node.name})
    return found


def _at_once(steps: tuple[Step, ...]) -> set[str]:
    """The traits set before any wait, on some way through the steps."""
    found: set[str] = set()
    for step in steps:
        if isinstance(step, Wait) and (step.duration_s > 0 or step.local is not None):
            break
        if isinstance(step, Update):
            found |= set(step.set)
        for below in nested_steps(step):
            found |= _at_once(below)
    return found


def _ring(start: str, feeds: dict[str, list[str]]) -> list[str] | None:
    """A way from a journey back to itself."""
    ways = [[start]]
    seen = {start}
    while ways:
        way = ways.pop(0)
        for name in feeds.get(way[-1], []):
            if name == start:
                return way
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return None


def _equal_rank(project: Project, findings: Findings) -> None:
    """Journeys that fight over the same people, with nothing but their names to decide it."""
    seen: dict[tuple[object, ...], str] = {}
    for journey in project.journeys:
        on = journey.entry.on
        trigger = on.event or (on.segment, on.change, on.schedule) if on.event or on.segment else None
        if journey.arena is None or trigger is None:
            continue
        first = seen.setdefault((journey.subject, journey.arena, journey.priority, trigger), journey.name)
        if first != journey.name:
            what = f"It has the trigger, the arena '{journey.arena}' and the priority {journey.priority} of '{first}': of who qualifies for both, '{first}' gets all."
            remedy = "Give them different priorities, or arenas; 'cadenza lint' counts the people."
            findings.warning(what, "journeys", journey.name, "priority", remedy, "journeys-of-equal-rank")


def _places(steps: tuple[Step, ...], path: str) -> Iterator[tuple[str, Step]]:
    """Every step with its place, as findings name places."""
    for number, step in enumerate(steps):
        at = f"{path}.{number}"
        yield at, step
        if isinstance(step, WaitFor):
            for index, inner in enumerate(step.arms):
                yield from _places(inner, f"{at}.any.{index}.steps")
            yield from _places(step.matched, f"{at}.matched")
            yield from _places(step.timeout, f"{at}.timeout")
            continue
        arms = getattr(step, "arms", ())
        for index, arm in enumerate(arms):
            yield from _places(arm.steps, f"{at}.arms.{getattr(arm, 'name', index)}.steps")
        for name in ("unknown", "otherwise"):
            yield from _places(getattr(step, name, ()), f"{at}.{name}")
