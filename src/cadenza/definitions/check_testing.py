"""What is wrong with journey tests: names, times, and expectations that could never be so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import available_timezones

from cadenza.definitions import holdouts, kinds_testing as kinds
from cadenza.definitions.findings import Findings
from cadenza.definitions.flags import calls_in, nested_steps
from cadenza.definitions.graph import JourneyTooLarge
from cadenza.definitions.kinds import Journey, Step
from cadenza.definitions.moments import MOMENT, instant_of, parse_moment
from cadenza.definitions.project import Location, Project
from cadenza.definitions.step_names import exit_reasons, place_names
from cadenza.definitions.typecheck import Scope, scope_of
from cadenza.errors import ExpressionError, Problem, near_miss

REFUSALS = ("not_qualified", "no_key", "suppressed", "re_entry", "priority", "holdout")
_SENDING = ("message", "dropped", "deferred")
_FITS: dict[str, tuple[str, ...]] = {
    "journey": ("path", "entered", "refused", "exit", *_SENDING), "passage": ("path", "exit"),
    "at": ("refused", "exit", "segment", "trait", "holds", *_SENDING), "until": ("deferred",), "channel": ("message",),
    "subject": ("message",), "body": ("message",), "reason": ("dropped", "deferred"),
    "rule": ("dropped", "deferred", "refused"), "is": ("trait",), "member": ("segment",),
}  # fmt: skip
"""Key -> what it may stand beside."""
_NEEDS_JOURNEY = ("path", "entered", "refused", "exit")


def check_tests(
    tests: tuple[kinds.JourneyTest, ...],
    project: Project,
    locations: dict[tuple[str, str], Location],
    places: dict[tuple[str, str, str], Location],
    partial: bool = False,
) -> list[Problem]:
    """Every problem of a project's tests. ``partial``: some file could not be read, so unknown names are let pass."""
    findings = Findings(locations, places)
    if tests:
        scope, arms = scope_of(project, partial), arms_of(project)
        for test in tests:
            _Check(test, project, scope, arms, findings).all()
    return findings.problems


def arms_of(project: Project) -> dict[str, list[str]]:
    """Split (of any kind that has arms with shares) -> its arms, over all journeys."""
    found: dict[str, list[str]] = {}

    for journey in project.journeys:
        for name, arms in splits_of(journey.steps):
            found.setdefault(name, []).extend(arm.name for arm in arms)
    return found


def splits_of(steps: tuple[Step, ...]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """(name, arms) of every step that sends people to arms by shares, at any depth."""
    for step in steps:
        arms = getattr(step, "arms", ())
        if arms and all(hasattr(arm, "share_bp") for arm in arms):
            yield step.name, arms  # type: ignore[union-attr]
        for below in nested_steps(step):
            yield from splits_of(below)


def outcomes_of(project: Project) -> frozenset[str]:
    """The outcomes of every task that a journey hands to people."""

    def walk(steps: tuple[Step, ...]) -> Iterator[str]:
        for step in steps:
            yield from (outcome.name for outcome in getattr(step, "outcomes", ()))
            for below in nested_steps(step):
                yield from walk(below)

    return frozenset(name for journey in project.journeys for name in walk(journey.steps))


def holdouts_of(project: Project) -> frozenset[str]:
    """The names of every holdout."""
    return frozenset(held.holdout.name for held in holdouts.holdouts_of(project))


class _Check:
    """The check of one test."""

    def __init__(
        self, test: kinds.JourneyTest, project: Project, scope: Scope, arms: dict[str, list[str]], findings: Findings
    ) -> None:
        self.test, self.project, self.scope, self.arms, self.findings = test, project, scope, arms, findings
        self.actors = {actor.name for actor in test.persons}
        self.accounts = {actor.name for actor in test.accounts}
        self.zone_known = test.zone in available_timezones()
        self.start: datetime | None = None

    def problem(self, what: str, path: str, remedy: str | None = None) -> None:
        self.findings.problem(what, "tests", self.test.name, path, remedy)

    def known(self, noun: str, wanted: str | None, names: object, path: str) -> None:
        """A problem where a name is not known."""
        if wanted and not self.scope.partial:
            self.findings.reference(noun, wanted, names, "tests", self.test.name, path)

    def all(self) -> None:
        """Check everything about the test."""
        test = self.test
        if not self.zone_known:
            self.problem(
                f"'{test.zone}' is not an IANA time zone.", "zone", near_miss(test.zone, available_timezones())
            )
        self.start = self.moment(test.start, "start")
        self.known("journey", test.journey, [j.name for j in self.project.journeys], "journey")
        for actor in test.persons:
            self._actor(actor, f"persons.{actor.name}")
        self._accounts()
        for number, happening in enumerate(test.events):
            self._subject(happening.person, happening.account, f"events.{number}", both=True)
            self._happening(happening, f"events.{number}")
        until = self.moment(test.until, "until")
        for number, expectation in enumerate(test.expect):
            self._expectation(expectation, f"expect.{number}")
            at = self.moment(expectation.at, f"expect.{number}.at")
            if until and at and at > until:
                self.problem("The test ends before this.", f"expect.{number}.at", "Let 'until' be later.")

    def _accounts(self) -> None:
        """Somebody is in the test, and no account is taken for a person."""
        test = self.test
        if not test.persons and not test.accounts:
            self.problem("Nobody is in the test.", "persons", "Write for example 'persons: { anna: {} }'.")
        for account in test.accounts:
            path = f"accounts.{account.name}"
            self._known_of(account, path)
            if account.name in self.actors:
                self.problem("A person of the test has this name.", path, "Give the account another one.")
            if self.project.identity.accounts is None and not self.scope.partial:
                self.problem(
                    "The project has no accounts.", path, "Say 'accounts: { from: context.groupId }' in identity.yaml."
                )

    def moment(self, text: str | None, path: str) -> datetime | None:
        """The instant of a text; a problem where it has none. None too where the text or the zone is not given."""
        if not text or not self.test.start or not self.zone_known:
            return None
        try:
            return instant_of(parse_moment(text), self.test.start, self.test.zone)
        except ExpressionError as error:
            self.problem(error.what, path, error.remedy)
            return None

    def _actor(self, actor: kinds.Actor, path: str) -> None:
        self._known_of(actor, path)
        for number, happening in enumerate(actor.events):
            self._happening(happening, f"{path}.events.{number}")

    def _known_of(self, actor: kinds.TestedAccount, path: str) -> None:
        for split, arm in actor.arms.items():
            self.known("split", split, self.arms, f"{path}.arms.{split}")
            if split in self.arms:
                self.known("arm", arm, self.arms[split], f"{path}.arms.{split}")
        for number, name in enumerate(actor.held_out):
            self.known("holdout", name, holdouts_of(self.project), f"{path}.held_out.{number}")
        self._traits(actor.traits, f"{path}.traits")

    def _traits(self, traits: dict[str, Any], path: str) -> None:
        sent = {t.from_.removeprefix("traits.").split(".")[0] for t in self.project.traits if t.from_}
        sent |= {i.source.removeprefix("traits.") for i in self.project.identity.identifiers if "." in i.source}
        for name in traits:
            computed = any(t.name == name and t.value is not None for t in self.project.traits)
            if computed:
                self.problem(f"The trait '{name}' is computed; nobody sends it.", f"{path}.{name}",
                             "Let the events happen that it is computed from.")  # fmt: skip
            else:
                self.known("trait", name, sent, f"{path}.{name}")

    def _happening(self, happening: kinds.Happening, path: str) -> None:
        at = self.moment(happening.at, f"{path}.at")
        occurred = self.moment(happening.occurred, f"{path}.occurred")
        if at and occurred and occurred > at:
            self.problem("It becomes known before it happens.", f"{path}.occurred", "Let 'at' be later.")
        said = happening.event or happening.traits or happening.consents or happening.withdraws or happening.completes
        called = happening.answers is not None or happening.call_fails
        if not said and not called:
            remedy = "Say 'event', 'traits', 'consents', 'withdraws', 'completes', 'answers' or 'call_fails'."
            self.problem("Nothing happens here.", path, remedy)
        if happening.completes and happening.occurred:
            self.problem("A task is completed when that becomes known.", f"{path}.occurred", "Take it away.")
        if called:
            self._answer(happening, path)
        self.known("outcome of a task", happening.completes, outcomes_of(self.project), f"{path}.completes")
        if happening.event and not self.scope.partial:
            self.findings.event(self.scope, happening.event, "tests", self.test.name, f"{path}.event")
        if happening.properties and not happening.event:
            self.problem("'properties' are those of an event.", f"{path}.properties", "Say 'event' too.")
        self._traits(happening.traits, f"{path}.traits")

    def _answer(self, happening: kinds.Happening, path: str) -> None:
        word = "answers" if happening.answers is not None else "call_fails"
        if happening.occurred:
            self.problem("A call is answered when that becomes known.", f"{path}.occurred", "Take it away.")
        if happening.answers is not None and happening.call_fails:
            self.problem("A call is answered or fails, not both.", f"{path}.call_fails", "Take one of them away.")
        if not self.scope.partial and not any(calls_in(journey.steps) for journey in self.project.journeys):
            self.problem("No journey calls a service.", f"{path}.{word}", "Add a step 'call', or take it away.")

    def _subject(self, named: str | None, account: str | None, path: str, both: bool) -> None:
        """Whose something is. ``both``: a person may do it in the name of an account."""
        if account:
            self.known("account", account, self.accounts, f"{path}.account")
        if named:
            self.known("person", named, self.actors, f"{path}.person")
            if account and not both:
                self.problem("It is about a person or an account.", f"{path}.account", "Take one of them away.")
        elif account is None and not self.actors and len(self.accounts) > 1:
            self.problem("The test has several accounts; say whose this is.", path, "Add 'account: NAME'.")
        elif account is None and len(self.actors) > 1:
            self.problem("The test has several persons; say whose this is.", path, "Add 'person: NAME'.")

    # --- expectations ------------------------------------------------------------------------------

    def _expectation(self, wanted: kinds.Expectation, path: str) -> None:
        key = kinds.key_of(wanted)
        self._subject(wanted.person, wanted.account, path, both=False)
        if key is None:
            self.problem("An expectation is about one thing.", path, f"Say one of {', '.join(kinds.KEYS)}.")
            return
        for other, beside in _FITS.items():
            if self.findings.said("tests", self.test.name, f"{path}.{other}") and key not in beside:
                self.problem(f"'{other}' does not go with '{key}'.", f"{path}.{other}", "Take it away.")
        journey = self._journey(wanted, key, path)
        self.moment(wanted.until, f"{path}.until")
        match key:
            case "path":
                self._path(wanted.path or (), journey, path)
            case "message" | "dropped" | "deferred":
                self._template(getattr(wanted, key), f"{path}.{key}")
            case "messages":
                for number, name in enumerate(wanted.messages or ()):
                    self._template(name, f"{path}.messages.{number}")
            case "nothing_sent":
                if wanted.nothing_sent is False:
                    self.problem("'nothing_sent' is true or not said.", f"{path}.nothing_sent", "Name the message.")
            case "refused":
                self._word(wanted.refused, REFUSALS, "refusal", f"{path}.refused")
            case "exit":
                if journey is not None and not self.scope.partial:
                    self._word(wanted.exit, reasons(journey), "reason to end", f"{path}.exit")
            case "segment":
                self.known("segment", wanted.segment, self.scope.segments, f"{path}.segment")
            case "trait":
                self.known("trait", wanted.trait, self.scope.traits, f"{path}.trait")
            case "holds":
                assert wanted.holds is not None
                self.findings.condition(self.scope, wanted.holds, "tests", self.test.name, f"{path}.holds")

    def _word(self, word: str | None, words: object, noun: str, path: str) -> None:
        if word and word not in words:  # type: ignore[operator]
            self.problem(f"'{word}' is no {noun}.", path, near_miss(word, words))  # type: ignore[arg-type]

    def _template(self, name: str | None, path: str) -> None:
        self.known("template", name, [t.name for t in self.project.templates], path)

    def _journey(self, wanted: kinds.Expectation, key: str, path: str) -> Journey | None:
        named = wanted.journey or self.test.journey
        names = [j.name for j in self.project.journeys]
        self.known("journey", wanted.journey, names, f"{path}.journey")
        if named is None and key in _NEEDS_JOURNEY:
            self.problem(f"'{key}' is about one journey, but none is named.", path, "Add 'journey: NAME' to the test.")
        return self.project.journey(named) if named in names else None

    def _path(self, items: tuple[str, ...], journey: Journey | None, path: str) -> None:
        names = _places(journey) if journey is not None and not self.scope.partial else None
        for number, item in enumerate(items):
            if not item:
                continue
            name, at = split_item(item)
            self.moment(at, f"{path}.path.{number}")
            if names is not None and name not in names:
                self.problem(f"The journey '{journey.name}' has no place '{name}'.", f"{path}.path.{number}",  # type: ignore[union-attr]
                             near_miss(name, names))  # fmt: skip


def split_item(item: str) -> tuple[str, str | None]:
    """A place of a path and when it is reached.

    >>> split_item("send welcome at +1 day at 08:00")
    ('send welcome', '+1 day at 08:00')
    """
    for found in re.finditer(" at ", item):
        if re.fullmatch(MOMENT, item[found.end() :]):
            return item[: found.start()], item[found.end() :]
    return item, None


def reasons(journey: Journey) -> frozenset[str]:
    """Why a passage may end; what is wrong with the journey itself is said elsewhere."""
    try:
        return exit_reasons(journey)
    except (JourneyTooLarge, RecursionError):
        return frozenset()


def _places(journey: Journey) -> frozenset[str] | None:
    try:
        return place_names(journey)
    except (JourneyTooLarge, RecursionError):
        return None
