"""What is wrong with a journey's entry: its trigger, lateness and key."""

from __future__ import annotations

from zoneinfo import available_timezones

import msgspec

from cadenza.definitions import kinds
from cadenza.definitions.cron import parse_cron
from cadenza.definitions.findings import Findings
from cadenza.definitions.implied import REQUESTED
from cadenza.definitions.project import Project
from cadenza.definitions.typecheck import Scope, fits
from cadenza.errors import ExpressionError, near_miss

_FORMS = {"event": "an event", "segment": "a change of a segment", "becomes": "a condition", "absence": "an absence",
          "trait": "a change of a trait", "date": "a date", "api": "a call of the API", "schedule": "a schedule"}  # fmt: skip
_GOES_WITH = {
    "where": ("event", "api"), "change": ("segment",), "from": ("trait",), "to": ("trait",), "before": ("date",),
    "after": ("date",), "at": ("date",), "past": ("date",), "zone": ("date", "schedule"),
}  # fmt: skip
NO_EVENT = "there is none"


def check_entry(project: Project, scope: Scope, findings: Findings, journey: kinds.Journey) -> None:
    """Check the entry of a journey. Of those of one kind of trigger, every part must be its own."""
    _Check(project, scope, findings, journey).all()


class _Check:
    def __init__(self, project: Project, scope: Scope, findings: Findings, journey: kinds.Journey) -> None:
        self._project, self._scope, self._findings, self._journey = project, scope, findings, journey
        self._name, self._entry = journey.name, journey.entry

    def _problem(self, what: str, path: str, remedy: str | None = None) -> None:
        self._findings.problem(what, "journeys", self._name, path, remedy)

    def _said(self, path: str) -> bool:
        return self._findings.said("journeys", self._name, path)

    def all(self) -> None:
        on = self._entry.on
        forms = [form for form in _FORMS if getattr(on, form) and not (form == "segment" and on.schedule)]
        if len(forms) != 1:
            self._problem(f"The trigger must be one of {', '.join(repr(form) for form in _FORMS)}.", "entry.on",
                          "Write for example 'on: { event: Order Completed }'.")  # fmt: skip
        elif self._form(forms[0]):
            getattr(self, f"_{forms[0]}", lambda: None)()
        self._of_event(REQUESTED if on.api else on.event)
        for tree, path in ((self._entry.when, "entry.when"), (self._entry.unless, "entry.unless")):
            if tree is not None:
                self._findings.condition(self._scope, tree, "journeys", self._name, path)

    def _form(self, form: str) -> bool:
        """The keys of other kinds of trigger."""
        for key, forms in _GOES_WITH.items():
            if key != "where" and form not in forms and self._said(f"entry.on.{key}"):
                wanted = " or ".join(f"'{f}'" for f in forms)
                self._problem(f"'{key}' goes with {wanted} only; this trigger is {_FORMS[form]}.", f"entry.on.{key}")
        return True

    def _of_event(self, event: str | None) -> None:
        """What reads the triggering event."""
        entry = self._entry
        of_event = msgspec.structs.replace(self._scope, trigger=event)
        for tree, path, meaning in ((entry.on.where, "entry.on.where", "where"), (entry.key, "entry.key", "key")):
            if tree is not None and event is None:
                self._problem(f"'{meaning}' reads the triggering event, but {NO_EVENT}.", path)
            elif tree is not None and meaning == "where":
                self._findings.condition(of_event, tree, "journeys", self._name, path)
            elif tree is not None:
                self._findings.expression(of_event, tree, "journeys", self._name, path)
        if entry.late_s is not None and event is None and self._said("entry.late"):
            self._problem(f"'late' is about the triggering event, but {NO_EVENT}.", "entry.late", "Leave it out.")

    # --- each kind of trigger ----------------------------------------------------------------------------

    def _event(self) -> None:
        self._findings.event(self._scope, self._entry.on.event or "", "journeys", self._name, "entry.on.event")

    def _segment(self) -> None:
        if not self._scope.partial:
            wanted = self._entry.on.segment or ""
            self._findings.reference(
                "segment", wanted, self._scope.segments, "journeys", self._name, "entry.on.segment"
            )

    def _becomes(self) -> None:
        scope = msgspec.structs.replace(self._scope, journey_allowed=False)
        if self._entry.on.becomes is not None:
            self._findings.condition(scope, self._entry.on.becomes, "journeys", self._name, "entry.on.becomes")

    def _absence(self) -> None:
        absence = self._entry.on.absence
        for key in ("event", "after"):
            event = getattr(absence, key)
            if event:
                self._findings.event(self._scope, event, "journeys", self._name, f"entry.on.absence.{key}")

    def _trait(self) -> None:
        on, at = self._entry.on, "entry.on.trait"
        found = next((trait for trait in self._project.traits if trait.name == on.trait), None)
        if found is None:
            if not self._scope.partial:
                self._problem(f"Unknown trait '{on.trait}'.", at, near_miss(on.trait or "", self._scope.traits))
            return
        if on.from_ is None and on.to is None:
            self._problem("The change of a trait says neither 'from' nor 'to'.", at,
                          "Name the value it changes to, or the one it had, or both.")  # fmt: skip
        if on.from_ is not None and on.from_ == on.to:
            self._problem("The trait changes from a value to the same value.", at, "Change one of them.")
        for key, value in (("from", on.from_), ("to", on.to)):
            if value is not None and found.type and not fits(value, found.type):
                self._problem(f"The trait '{on.trait}' is of type {found.type}; '{value}' is not.", f"entry.on.{key}")

    def _date(self) -> None:
        on = self._entry.on
        kind = self._scope.traits.get(on.date or "")
        if on.date not in self._scope.traits and not self._scope.partial:
            self._problem(f"Unknown trait '{on.date}'.", "entry.on.date", near_miss(on.date or "", self._scope.traits))
        elif kind not in ("timestamp", None):
            self._problem(f"The trait '{on.date}' is of type {kind}, and not a timestamp.", "entry.on.date",
                          "Declare it as timestamp; dates without a time are timestamps too.")  # fmt: skip
        if on.before_s and on.after_s:
            self._problem("The trigger says both 'before' and 'after'.", "entry.on.after", "Keep one of them.")
        if on.at is not None and (on.before_s + on.after_s) % 86400:
            self._problem("With 'at', 'before' and 'after' are whole days.", "entry.on", "Write for example '30 days'.")
        self._zone()

    def _schedule(self) -> None:
        on = self._entry.on
        try:
            parse_cron(on.schedule or "")
        except ExpressionError as error:
            self._problem(error.what, "entry.on.schedule", error.remedy)
        if on.segment is None:
            self._problem("A schedule says for whom: 'segment' is missing.", "entry.on",
                          "Write for example 'on: { schedule: 0 9 * * MON, segment: regulars }'.")  # fmt: skip
        else:
            self._segment()
        self._zone()

    def _zone(self) -> None:
        zone = self._entry.on.zone
        if zone and zone not in available_timezones():
            what = f"'{zone}' is not an IANA time zone."
            self._problem(what, "entry.on.zone", near_miss(zone, available_timezones()))
