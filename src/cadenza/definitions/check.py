"""What is wrong with a project as a whole: names, types, and rules that span definitions.

``check`` reports everything at once. Journeys have a file of their own (``check_journey.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from cadenza.definitions import kinds
from cadenza.definitions.check_accounts import check_accounts
from cadenza.definitions.check_contracts import check_contracts
from cadenza.definitions.check_journey import check_journeys
from cadenza.definitions.check_policy import check_policy, string_trait, zone_known
from cadenza.definitions.check_webhook import check_webhook
from cadenza.definitions.expression import Expr, InSegment, Trait, parse, walk
from cadenza.definitions.findings import Findings
from cadenza.definitions.flags import sent_templates
from cadenza.definitions.implied import effective
from cadenza.definitions.lint import lint
from cadenza.definitions.liquid import template_variables
from cadenza.definitions.mapping import has_aggregate, parse_mapping
from cadenza.definitions.project import Location, Project
from cadenza.definitions.typecheck import (
    NUMBERS,
    Scope,
    contracts_of,
    event_properties,
    expressions_of,
    properties_of,
    property_types,
    scope_of,
    trait_types,
    type_of,
)  # fmt: skip
from cadenza.errors import ExpressionError, Problem, near_miss

__all__ = [
    "Scope", "check", "contracts_of", "event_properties", "expressions_of", "properties_of", "property_types",
    "scope_of", "trait_types", "type_of",
]  # fmt: skip

ADAPTERS = ("mailbox", "smtp", "webhook")
TEMPLATE_ROOTS = {"person": ("id",), "message": ("id",)}
"""What a template sees besides traits and ``entry``."""


def check(
    project: Project,
    locations: dict[tuple[str, str], Location] | None = None,
    places: dict[tuple[str, str, str], Location] | None = None,
    partial: bool = False,
) -> tuple[list[Problem], list[Problem]]:
    """(problems, warnings) of a project. ``locations`` and ``places`` say where its parts are written (without them
    every line is 0); ``partial``: some file could not be read, so unknown names are let pass."""
    findings = Findings(locations or {}, places or {})
    scope = scope_of(project, partial)
    _check_names(project, findings)
    _check_sources(project, scope, findings)
    check_contracts(project, findings)
    _check_identity(project, findings)
    _check_traits(project, scope, findings)
    for segment in project.segments:
        findings.condition(scope_without_journeys(scope), segment.when, "segments", segment.name, "when")
    _check_cycles(project, findings)
    check_journeys(project, scope, findings)
    check_accounts(project, findings)
    check_policy(project, scope, findings)
    _check_log(project, findings)
    _check_templates(project, scope, findings)
    _check_destinations(project, scope, findings)
    _check_metrics(project, scope, findings)
    if not findings.problems and not partial:
        lint(project, findings)
    return findings.problems, findings.warnings


def scope_without_journeys(scope: Scope) -> Scope:
    """For traits and segments, which are evaluated before journeys."""
    return msgspec.structs.replace(scope, journey_allowed=False)


# --- names ---------------------------------------------------------------------------------------


def _check_names(project: Project, findings: Findings) -> None:
    """Names that differ in case only would be one column in the store."""
    for kind in ("segments", "journeys", "contracts", "templates", "destinations", "metrics", "sources"):
        seen: dict[str, str] = {}
        for definition in getattr(project, kind):
            first = seen.setdefault(definition.name.lower(), definition.name)
            if first != definition.name:
                what = f"'{definition.name}' and '{first}' differ only in upper and lower case."
                findings.problem(what, kind, definition.name, "", "Rename one of them.")


# --- sources and contracts -------------------------------------------------------------------------


def _check_sources(project: Project, scope: Scope, findings: Findings) -> None:
    keys: dict[str, str] = {}
    for source in project.sources:
        name = source.name
        zone_known(findings, source.time_zone, "sources", name, "time_zone")
        if source.kind == "http":
            _check_http(source, keys, findings)
        elif source.kind == "file":
            _check_file(source, findings)
        elif source.kind == "webhook":
            check_webhook(source, project.identity, scope, findings)
        _check_keys_of_kind(source, findings)
        for number, record in enumerate(source.records):
            _check_record(source, record, f"records.{number}", scope, findings)


_FILE_ONLY = ("path", "format", "group_by", "lookups", "columns", "controls", "records")


def _check_http(source: kinds.Source, keys: dict[str, str], findings: Findings) -> None:
    if not source.write_key:
        findings.problem("An http source needs a 'write_key'.", "sources", source.name, "kind",
                         "Write for example 'write_key: env:SHOP_WRITE_KEY'.")  # fmt: skip
    elif (first := keys.setdefault(source.write_key, source.name)) != source.name:
        what = f"The sources '{first}' and '{source.name}' have the same write key."
        findings.problem(what, "sources", source.name, "write_key", "Give each its own.")


def _check_keys_of_kind(source: kinds.Source, findings: Findings) -> None:
    """No key that only another kind of source reads."""
    only = {**dict.fromkeys(_FILE_ONLY, "file"), "write_key": "http", "webhook": "webhook"}
    for key, kind in only.items():
        if getattr(source, key) and source.kind not in (kind, None):
            a = "is a file" if source.kind == "file" else f"is {source.kind}"
            findings.problem(f"'{key}' is for {kind} sources; this one {a}.", "sources", source.name, key)


def _check_file(source: kinds.Source, findings: Findings) -> None:
    for key in ("path", "format", "records"):
        if not getattr(source, key):
            findings.problem(f"A file source needs '{key}'.", "sources", source.name, "kind")
    for number, text in enumerate(source.group_by):
        _mapping(findings, source.name, f"group_by.{number}", text, grouped=False)
    for column, text in source.columns.items():
        _mapping(findings, source.name, f"columns.{column}", text, grouped=False)
    for lookup, of in source.lookups.items():
        _mapping(findings, source.name, f"lookups.{lookup}.on", of.on, grouped=False)
    for name, control in source.controls.items():
        _mapping(findings, source.name, f"controls.{name}.sql", control.sql, grouped=True)


def _mapping(findings: Findings, source: str, path: str, text: str | None, grouped: bool) -> None:
    if not text:
        return
    try:
        tree = parse_mapping(text)
    except ExpressionError as error:
        findings.problem(error.what[:1].upper() + error.what[1:], "sources", source, path, error.remedy)
        return
    if has_aggregate(tree) and not grouped:
        findings.problem(f"'{text}' aggregates rows, but nothing is grouped here.", "sources", source, path,
                         "Add 'group_by' to the source, or leave the aggregate out.")  # fmt: skip


_RECORD_SQL = (
    "message_id", "timestamp", "when", "once_per", "user_id", "anonymous_id", "group_id", "previous_id",
)  # fmt: skip


def _check_record(
    source: kinds.Source, record: kinds.RecordMapping, path: str, scope: Scope, findings: Findings
) -> None:
    grouped = bool(source.group_by)
    for key in _RECORD_SQL:
        _mapping(findings, source.name, f"{path}.{key}", getattr(record, key), grouped)
    for key in ("properties", "traits"):
        for name, text in getattr(record, key).items():
            _mapping(findings, source.name, f"{path}.{key}.{name}", text, grouped)
    if record.call == "track" and not record.event:
        findings.problem("A track record needs an 'event'.", "sources", source.name, path)
    if record.call not in ("track", None) and record.event:
        findings.problem(f"'event' is for track records; this one is {record.call}.", "sources", source.name,
                         f"{path}.event")  # fmt: skip
    for key, call in (("group_id", "group"), ("previous_id", "alias")):
        if record.call == call and not getattr(record, key):
            findings.problem(f"A {call} record needs a '{key}'.", "sources", source.name, path)
        if record.call not in (call, None) and getattr(record, key):
            findings.problem(f"'{key}' is for {call} records; this one is {record.call}.", "sources", source.name,
                             f"{path}.{key}")  # fmt: skip
    if not record.user_id and not record.anonymous_id:
        findings.problem("The record names nobody.", "sources", source.name, path,
                         "Give it a 'user_id' or an 'anonymous_id'.")  # fmt: skip
    if record.call == "track" and record.event and record.event not in scope.events:
        what = f"No contract speaks of the event '{record.event}'; its properties are kept, but not checked or typed."
        findings.warning(what, "sources", source.name, f"{path}.event", near_miss(record.event, scope.events))


# --- identity and traits -----------------------------------------------------------------------------


def _check_identity(project: Project, findings: Findings) -> None:
    seen: set[str] = set()
    for number, identifier in enumerate(project.identity.identifiers):
        path = f"identifiers.{number}"
        if identifier.type and identifier.type in seen:
            findings.problem(f"The identifier '{identifier.type}' is declared twice.", "identity", "identity", path)
        seen.add(identifier.type)
        _check_blocked(identifier.blocked, f"{path}.blocked", findings)
    if project.identity.accounts is not None:
        _check_blocked(project.identity.accounts.blocked, "accounts.blocked", findings)


def _check_blocked(blocked: tuple[str, ...], path: str, findings: Findings) -> None:
    for at, value in enumerate(blocked):
        if len(value) > 1 and value.startswith("/") and value.endswith("/"):
            _check_pattern(value[1:-1], f"{path}.{at}", findings)


def _check_pattern(pattern: str, path: str, findings: Findings) -> None:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        findings.problem(f"'/{pattern}/' is not a pattern: {error}.", "identity", "identity", path)
        return
    if re.search(r"\(\?[=!<P]|\\[1-9]|[*+?}]\+", pattern):
        what = f"'/{pattern}/' looks around, refers back or is possessive."
        findings.problem(what, "identity", "identity", path, "Only patterns that every engine reads alike are taken.")


def _check_traits(project: Project, scope: Scope, findings: Findings) -> None:
    scope = scope_without_journeys(scope)
    for trait in project.traits:
        name = trait.name
        _check_trait_name(name, findings)
        if (trait.from_ is None) == (trait.value is None):
            what = f"The trait '{name}' has both 'from' and 'value'." if trait.value else (
                f"The trait '{name}' has neither 'from' nor 'value'.")  # fmt: skip
            findings.problem(what, "traits", name, "", "Say either where it comes from, or how it is computed.")
        if trait.value is None:
            continue
        found = findings.expression(scope, trait.value, "traits", name, "value")
        if found and trait.type and found != trait.type and (found, trait.type) != ("integer", "decimal"):
            what = f"The trait '{name}' is declared as {trait.type}, but its value is of type {found}."
            findings.problem(what, "traits", name, "value", f"Declare 'type: {found}'.")


def _check_trait_name(name: str, findings: Findings) -> None:
    if name in (*TEMPLATE_ROOTS, "entry"):
        findings.problem(f"'{name}' means something else in templates.", "traits", name, "", "Rename the trait.")
        return
    try:
        plain = not name or parse(name) == Trait(name)
    except ExpressionError:
        plain = False
    if not plain:
        what = f"'{name}' is a word of the expression language and cannot name a trait."
        findings.problem(what, "traits", name, "", "Rename the trait.")


def _check_cycles(project: Project, findings: Findings) -> None:
    """Computed traits and segments may use one another, but none may come back to itself."""
    trees: dict[tuple[str, str], Expr] = {("traits", t.name): t.value for t in project.traits if t.value is not None}
    trees |= {("segments", s.name): s.when for s in project.segments}
    uses = {key: [k for k in _names_of(tree) if k in trees] for key, tree in trees.items()}
    done: set[tuple[str, str]] = set()
    for start in trees:
        cycle = _cycle(start, uses, done)
        if cycle:
            chain = " -> ".join(name for _, name in cycle)
            kind, name = cycle[0]
            noun = "segment" if kind == "segments" else "trait"
            path = "when" if kind == "segments" else "value"
            findings.problem(f"The {noun} '{name}' refers to itself: {chain}.", kind, name, path, "Break the circle.")


def _names_of(tree: Expr) -> Iterator[tuple[str, str]]:
    for node in walk(tree):
        if isinstance(node, Trait):
            yield "traits", node.name
        elif isinstance(node, InSegment):
            yield "segments", node.name


def _cycle(
    start: tuple[str, str], uses: dict[tuple[str, str], list[tuple[str, str]]], done: set[tuple[str, str]]
) -> list[tuple[str, str]] | None:
    """A way from ``start`` back to a definition on it, found once; iterative, as chains may be long."""
    path: list[tuple[str, str]] = []
    stack: list[tuple[tuple[str, str], bool]] = [(start, False)]
    while stack:
        at, leaving = stack.pop()
        if leaving:
            done.add(path.pop())
        elif at in path:
            found = [*path[path.index(at) :], at]
            done.update(path)
            return found
        elif at not in done:
            path.append(at)
            stack.append((at, True))
            stack += [(to, False) for to in uses[at]]
    return None


# --- templates, destinations, metrics -----------------------------------------------------------


def _check_log(project: Project, findings: Findings) -> None:
    log, at = project.log, ("project", "project")
    # 0 stands in for what could not be read.
    if not log.keep_s or log.archive_after_s == 0:
        return
    if log.archive_after_s is None or log.archive_after_s >= log.keep_s:
        findings.problem("'keep' deletes from the archive, so records must be archived before that.", *at, "log.keep",
                         "Say 'archive_after', shorter than 'keep'.")  # fmt: skip
    if log.duplicates_s > log.keep_s:
        findings.problem("'duplicates' is longer than 'keep': a deleted record cannot be compared with.", *at,
                         "log.duplicates", "Keep records at least that long.")  # fmt: skip


def _check_templates(project: Project, scope: Scope, findings: Findings) -> None:
    served = {destination.channel for destination in project.destinations}
    senders: dict[str, list[kinds.Journey]] = {}
    for journey in project.journeys:
        for template_name in sent_templates(journey.every_step):
            senders.setdefault(template_name, []).append(journey)
    _check_consent_pairs(project, findings)
    for template in project.templates:
        name = template.name
        if template.channel and template.channel not in served and not scope.partial:
            what = f"No destination serves the channel '{template.channel}'."
            findings.problem(what, "templates", name, "channel", near_miss(template.channel, served)
                             or "Add one under destinations/.")  # fmt: skip
        if name not in senders:
            findings.warning(f"No journey sends the template '{name}'.", "templates", name, "")
        for path, text in (("subject", template.subject), ("body", template.body)):
            _check_liquid(project, scope, template, path, text, senders.get(name, []), findings)


def _check_consent_pairs(project: Project, findings: Findings) -> None:
    """Purpose and channel make one column name, so 'a_b' + 'c' must not meet 'a' + 'b_c'."""
    seen: dict[str, tuple[str, str]] = {}
    for template in project.templates:
        pair = (template.purpose, template.channel)
        first = seen.setdefault("_".join(pair), pair)
        if first != pair:
            what = f"Purpose and channel {pair} cannot be told from {first} when joined by '_'."
            findings.problem(what, "templates", template.name, "purpose", "Rename the purpose.")


def _check_liquid(
    project: Project, scope: Scope, template: kinds.Template, path: str, text: str,
    senders: Iterable[kinds.Journey], findings: Findings,
) -> None:  # fmt: skip
    try:
        variables = template_variables(text)
    except ExpressionError as error:
        line = re.search(r"line (\d+)", str(error))
        findings.liquid(error.what[:1].upper() + error.what[1:], template.name, path,
                        int(line[1]) - 1 if line else 0, error.remedy)  # fmt: skip
        return
    if scope.partial:
        return
    for variable in sorted(variables):
        for what, remedy in _variable_problems(project, scope, variable, senders):
            findings.liquid(what, template.name, path, _line_of(text, variable), remedy)


def _line_of(text: str, variable: tuple[str, ...]) -> int:
    """The line (from 0) of the first mention of a variable inside a tag."""
    word = re.compile(r"\b" + r"\W+".join(re.escape(part) for part in variable) + r"\b")
    for number, line in enumerate(text.splitlines()):
        if word.search(line):
            return number
    return 0


def _variable_problems(
    project: Project, scope: Scope, variable: tuple[str, ...], senders: Iterable[kinds.Journey]
) -> Iterator[tuple[str, str | None]]:
    root, rest = variable[0], variable[1:]
    shown = ".".join(variable)
    if root in TEMPLATE_ROOTS:
        if rest[:1] not in {(key,) for key in TEMPLATE_ROOTS[root]}:
            yield f"'{shown}' is not a variable.", f"There is '{root}.{TEMPLATE_ROOTS[root][0]}'."
    elif root == "entry":
        for journey in senders:
            yield from _entry_problems(project, journey, rest, shown)
    elif root not in scope.traits:
        known = [*scope.traits, "entry", *TEMPLATE_ROOTS]
        yield f"'{shown}' is not a trait.", near_miss(root, known)
    elif rest:
        yield f"'{shown}': the trait '{root}' is one value and has no parts.", f"Write '{root}'."


def _entry_problems(
    project: Project, journey: kinds.Journey, rest: tuple[str, ...], shown: str
) -> Iterator[tuple[str, str | None]]:
    event = effective(journey).entry.on.event
    if not event and journey.entry.on == kinds.Trigger():
        return
    if not event:
        yield (f"'{shown}': the journey '{journey.name}', which sends this, is not triggered by an event.",
               "Use a trait, or another template for it.")  # fmt: skip
    elif not rest:
        yield f"'{shown}' is not one value.", "Write 'entry.' and the name of a property."
    elif contracts_of(project, event) and rest[0] not in properties_of(project, event):
        known = properties_of(project, event)
        yield (f"'{shown}': the event '{event}', which triggers the journey '{journey.name}', has no property "
               f"'{rest[0]}' in its contract.", near_miss(rest[0], known))  # fmt: skip


def _check_destinations(project: Project, scope: Scope, findings: Findings) -> None:
    used = {template.channel for template in project.templates}
    served: dict[str, str] = {}
    for destination in project.destinations:
        name = destination.name
        if destination.adapter and destination.adapter not in ADAPTERS:
            what = f"Unknown adapter '{destination.adapter}'."
            findings.problem(what, "destinations", name, "adapter", near_miss(destination.adapter, ADAPTERS))
        said = findings.said("destinations", name, "address")
        if said or destination.channel in used:
            string_trait(scope, destination.address_trait, findings, "destinations", name,
                          "address" if said else "", "the address")  # fmt: skip
        first = served.setdefault(destination.channel, name)
        if first != name and destination.channel:
            what = f"The channel '{destination.channel}' is served by '{first}' already."
            findings.problem(what, "destinations", name, "channel", "Give it another channel, or remove one of them.")


def _check_metrics(project: Project, scope: Scope, findings: Findings) -> None:
    for metric in project.metrics:
        name = metric.name
        for path in ("event", "minus"):
            event = getattr(metric, path)
            if event and findings.event(scope, event, "metrics", name, path) and metric.property:
                _summed(project, metric, event, findings, scope)
        if metric.kind == "sum" and not metric.property:
            findings.problem("A sum needs a 'property'.", "metrics", name, "kind")
        for path in ("property", "minus"):
            if metric.kind in ("count", "conversion") and getattr(metric, path):
                findings.problem(f"'{path}' is for sums; this is a {metric.kind}.", "metrics", name, path)
        if metric.where is not None:
            findings.condition(msgspec.structs.replace(scope, trigger=metric.event), metric.where, "metrics", name,
                               "where")  # fmt: skip


def _summed(project: Project, metric: kinds.Metric, event: str, findings: Findings, scope: Scope) -> None:
    """The property of a sum is a number in the event's contract."""
    if metric.kind != "sum":
        return
    known = properties_of(project, event)
    prop = known.get(metric.property or "")
    if prop is None:
        if not scope.partial:
            what = f"'{event}' has no property '{metric.property}' in its contract."
            findings.problem(what, "metrics", metric.name, "property", near_miss(metric.property or "", known))
    elif prop.type not in (*NUMBERS, None):
        what = f"A sum adds numbers, but '{metric.property}' of '{event}' is of type {prop.type}."
        findings.problem(what, "metrics", metric.name, "property")
