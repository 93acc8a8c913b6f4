"""What is wrong with the contact policy: caps that name nothing, hours that never open, zones nobody knows."""

from __future__ import annotations

import re
from functools import lru_cache
from zoneinfo import available_timezones

from cadenza.definitions.check_best_channel import check_best_channel
from cadenza.definitions.check_wait import check_calendars
from cadenza.definitions.findings import Findings
from cadenza.definitions.kinds import Cap, topic_of
from cadenza.definitions.kinds_policy import Jurisdiction, Policy, SendWindow
from cadenza.definitions.open_hours import never_opens
from cadenza.definitions.project import Project
from cadenza.definitions.typecheck import Scope
from cadenza.errors import near_miss

_CLOCK = re.compile(r"([01][0-9]|2[0-4]):[0-5][0-9]")
_POLICY = ("policy", "policy")


def check_policy(project: Project, scope: Scope, findings: Findings) -> None:
    """Check the policy of a project."""
    policy = project.policy
    for key in ("caps", "suppress"):
        names: set[str] = set()
        for number, rule in enumerate(getattr(policy, key)):
            if rule.name and rule.name in names:
                findings.problem(f"'{rule.name}' is used twice in '{key}'.", *_POLICY, f"{key}.{number}.name")
            names.add(rule.name)
    for number, cap in enumerate(policy.caps):
        _check_cap(project, scope, cap, f"caps.{number}", findings)
    for number, rule in enumerate(policy.suppress):
        findings.condition(scope, rule.when, "policy", "policy", f"suppress.{number}.when")
    for path, rule in (("", policy), *((f"jurisdictions.{j.name}.", j) for j in policy.jurisdictions)):
        _check_hours(rule, path, scope, findings)
    _check_jurisdictions(project, scope, findings)
    check_best_channel(project, scope, findings)
    check_calendars(project, findings)
    _check_zone(project, scope, findings)


def _check_cap(project: Project, scope: Scope, cap: Cap, path: str, findings: Findings) -> None:
    # 0 also stands in for a duration that could not be read.
    rolling = cap.per_s > 0 or findings.said(*_POLICY, f"{path}.per")
    if rolling == (cap.calendar is not None):
        what = f"The cap '{cap.name}' has {'both' if rolling else 'neither'} 'per' {'and' if rolling else 'nor'} 'calendar'."
        findings.problem(
            what, *_POLICY, path, "Say 'per: 7 days' for any 7 days, or 'calendar: week' for each local week."
        )
    if cap.each is not None and getattr(cap, cap.each) is not None:
        what = f"The cap '{cap.name}' is for one {cap.each} already, so 'each: {cap.each}' says nothing."
        findings.problem(what, *_POLICY, f"{path}.each", "Leave one of the two out.")
    if scope.partial:
        return
    topics = {topic_of(template) for template in project.templates if template.message_class == "marketing"}
    known = {"channel": scope.channels, "topic": topics, "journey": scope.journeys}
    for noun, names in known.items():
        wanted = getattr(cap, noun)
        if wanted and wanted not in names:
            findings.problem(f"Unknown {noun} '{wanted}'.", *_POLICY, f"{path}.{noun}", near_miss(wanted, names))


def _check_hours(rule: Policy | Jurisdiction, path: str, scope: Scope, findings: Findings) -> None:
    places = [(f"{path}channel_quiet_hours.{n}", quiet) for n, quiet in enumerate(rule.channel_quiet_hours)]
    for at, quiet in [*([(f"{path}quiet_hours", rule.quiet_hours)] if rule.quiet_hours else []), *places]:
        if quiet.from_ and quiet.from_ == quiet.to:
            findings.problem("The quiet hours begin and end at the same time.", *_POLICY, at,
                             "Leave them out, or change one end.")  # fmt: skip
    windows = [(f"{path}send_windows.{n}", window) for n, window in enumerate(rule.send_windows)]
    for at, window in windows:
        if window.from_ and window.to and window.from_ >= window.to:
            what = f"The send window closes at {window.to}, no later than it opens."
            findings.problem(what, *_POLICY, at, "A window ends on its own day; write two for one past midnight.")
    for at, of_channel in [*places, *windows]:
        channel = of_channel.channel
        if channel and channel not in scope.channels and not scope.partial:
            findings.problem(
                f"Unknown channel '{channel}'.", *_POLICY, f"{at}.channel", near_miss(channel, scope.channels)
            )


def _check_jurisdictions(project: Project, scope: Scope, findings: Findings) -> None:
    """The trait, the assumed one, and that no channel rests for ever."""
    policy, names = project.policy, {j.name for j in project.policy.jurisdictions}
    if (policy.jurisdiction_trait is None) == bool(names):
        said, missing = ("jurisdictions", "jurisdiction_trait") if names else ("jurisdiction_trait", "jurisdictions")
        findings.problem(f"'{said}' is said without '{missing}'.", *_POLICY, said,
                         "The trait says which of the jurisdictions a person belongs to.")  # fmt: skip
    elif policy.jurisdiction_trait:
        string_trait(scope, policy.jurisdiction_trait, findings, *_POLICY, "jurisdiction_trait", "the jurisdiction")
    assumed = policy.unknown_jurisdiction
    if assumed and assumed != "drop" and assumed not in names:
        findings.problem(f"Unknown jurisdiction '{assumed}'.", *_POLICY, "unknown_jurisdiction",
                         near_miss(assumed, {"drop", *names}))  # fmt: skip
    rules = (policy, *policy.jurisdictions)
    hours = [h for rule in rules for h in (rule.quiet_hours, *rule.channel_quiet_hours, *rule.send_windows) if h]
    # A time that could not be read has been told, and so has a wrong window.
    if not all(
        _CLOCK.fullmatch(h.from_) and _CLOCK.fullmatch(h.to) and (not isinstance(h, SendWindow) or h.from_ < h.to)
        for h in hours
    ):
        return
    for channel in sorted({t.channel for t in project.templates if t.message_class == "marketing"}):
        for place in policy.jurisdictions or (None,):
            if never_opens(policy, channel, place):
                where = f" in '{place.name}'" if place else ""
                findings.problem(f"The channel '{channel}' rests the whole week{where}: no hour is open.", *_POLICY,
                                 f"jurisdictions.{place.name}" if place else "", "Shorten its quiet hours or widen its windows.")  # fmt: skip


def _check_zone(project: Project, scope: Scope, findings: Findings) -> None:
    """The trait of the zone is there where something reads it."""
    policy, said = project.policy, findings.said(*_POLICY, "time_zone_trait")
    calendar = next((f"caps.{n}" for n, cap in enumerate(policy.caps) if cap.calendar), None)
    hours = ("quiet_hours", "channel_quiet_hours", "send_windows")
    own = next((name for name in hours if getattr(policy, name)), None)
    theirs = next((f"jurisdictions.{j.name}" for j in policy.jurisdictions if any(getattr(j, h) for h in hours)), None)
    reader = "time_zone_trait" if said else own or theirs or calendar
    if reader:
        string_trait(scope, policy.time_zone_trait, findings, *_POLICY, reader, "the time zone")
    if policy.missing_time_zone != "drop":
        zone_known(findings, policy.missing_time_zone, *_POLICY, "missing_time_zone")


def string_trait(scope: Scope, trait: str, findings: Findings, kind: str, name: str, path: str, meaning: str) -> None:
    """The trait exists and is text."""
    if not trait or (trait not in scope.traits and scope.partial):
        return
    if trait not in scope.traits:
        hint = near_miss(trait, scope.traits) or ""
        remedy = hint if hint.startswith("Did") else f"Declare a trait '{trait}' of type string."
        findings.problem(f"The trait '{trait}' that holds {meaning} is not declared.", kind, name, path, remedy)
    elif scope.traits[trait] not in ("string", None):
        what = f"The trait '{trait}' holds {meaning}, but is of type {scope.traits[trait]}."
        findings.problem(what, kind, name, path, "Declare it as string.")


@lru_cache(maxsize=1)
def known_zones() -> frozenset[str]:
    """Every IANA time zone this machine knows."""
    return frozenset(available_timezones())


def zone_known(findings: Findings, zone: str, kind: str, name: str, path: str) -> None:
    """The zone is one of IANA's."""
    if zone and zone not in known_zones():
        findings.problem(f"'{zone}' is not an IANA time zone.", kind, name, path, near_miss(zone, known_zones()))
