"""Expectations against what happened. One judge sees one test; what it says is in the test's own time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from cadenza.clock import EPOCH, to_micros
from cadenza.definitions.check_testing import split_item
from cadenza.definitions.expression import Expr, InSegment, Trait
from cadenza.definitions.expression_text import write
from cadenza.definitions.kinds import Journey
from cadenza.definitions.kinds_testing import Expectation, JourneyTest, key_of, person_of
from cadenza.definitions.moments import MOMENT
from cadenza.definitions.project import Project
from cadenza.definitions.step_names import step_names, way_names
from cadenza.errors import CadenzaError
from cadenza.ids import subject_name
from cadenza.ports.engine import Engine
from cadenza.runtime.explain import Explanation, explain
from cadenza.runtime.explain.asof import Moment, evaluate
from cadenza.runtime.render import render
from cadenza.runtime.testing.observed import Message, Observed, Passage, Verdict
from cadenza.runtime.testing.script import instant

_SAME = timedelta(seconds=1)
"""Records of one instant are microseconds apart in the log: times agree when they are less than this apart."""
_AFTER = timedelta(milliseconds=1)
"""What is asked as of an instant is asked after everything that happened at it."""
_MOST_WHY = 14


class Judge:
    """What one test's persons went through until the test's end, and whether it is what was expected."""

    def __init__(
        self,
        engine: Engine,
        project: Project,
        test: JourneyTest,
        people: dict[str, int],
        observed: Observed,
        end: datetime,
    ) -> None:
        self._engine, self._project, self._test, self._people = engine, project, test, people
        self._observed, self._end = observed, end
        self._zone, self._start = ZoneInfo(test.zone), instant(test, test.start)
        self._explained: dict[str, Explanation] = {}
        self._steps: dict[str, Journey] = {j.name: j for j in project.journeys}

    def against(self, wanted: Expectation) -> tuple[str, tuple[str, ...], tuple[str, ...]] | None:
        """None where it is as expected; else what was expected, what happened, and the explanation's words."""
        key = key_of(wanted) or ""
        who = wanted.account or person_of(self._test, wanted.person) or ""
        judges: dict[str, Callable[[Expectation, int], tuple[str, tuple[str, ...]] | None]] = {
            "path": self._path, "message": self._message, "messages": self._messages, "nothing_sent": self._silence,
            "dropped": self._verdict, "deferred": self._verdict, "entered": self._entered, "refused": self._refused,
            "exit": self._exit, "segment": self._as_of, "trait": self._as_of, "holds": self._as_of,
        }  # fmt: skip
        found = judges[key](wanted, self._people[who])
        if found is None:
            return None
        expected, happened = found
        name = f"{who}: " if len(self._test.persons) + len(self._test.accounts) > 1 else ""
        about = wanted.journey or (self._test.journey if key in ("path", "entered", "refused", "exit") else None)
        return f"{name}{expected}", happened, tuple(self._why(who, about))

    # --- times --------------------------------------------------------------------------------------

    def _said(self, at: datetime) -> str:
        """An instant in the test's local time, and how long after the start."""
        local = (at.replace(tzinfo=ZoneInfo("UTC")).astimezone(self._zone)).replace(tzinfo=None, microsecond=0)
        return f"{local} ({self._since(at)})"

    def _since(self, at: datetime) -> str:
        left = round((at - self._start).total_seconds())
        sign, left, said = "-" if left < 0 else "+", abs(left), []
        for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
            n, left = divmod(left, size)
            if n:
                said.append(f"{n} {unit}{'' if n == 1 else 's'}")
        return sign + " ".join(said) if said else "start"

    def _meant(self, text: str | None) -> datetime | None:
        return instant(self._test, text) if text is not None else None

    def _is_at(self, found: datetime, text: str | None) -> bool:
        return text is None or abs(found - instant(self._test, text)) < _SAME

    def _until_end(self, items: list[Any]) -> list[Any]:
        return [item for item in items if item.at <= self._end]

    # --- passages --------------------------------------------------------------------------------------

    def _passages(self, pid: int, journey: str | None) -> list[Passage]:
        found = self._observed.passages.get(pid, [])
        return [p for p in found if p.entered <= self._end and journey in (None, p.journey)]

    def _chosen(self, wanted: Expectation, pid: int) -> Passage | None:
        """The passage that an expectation is about."""
        found = self._passages(pid, wanted.journey or self._test.journey)
        return found[wanted.passage - 1] if len(found) >= wanted.passage else None

    def _places(self, passage: Passage) -> list[tuple[tuple[str, ...], datetime, bool]]:
        """(names, instant, whether it must be named) of what a passage went through: steps, ways between them, its end."""
        journey = self._steps[passage.journey]
        found: list[tuple[tuple[str, ...], datetime, bool]] = []
        for move in passage.moves:
            if move.at > self._end:
                break
            found.append(((move.cause,), move.at, False))
            found += [(way_names(journey, said), move.at, False) for said in move.taken]
            if move.to_path is not None:
                found.append((step_names(journey, move.to_kind or "step", move.to_path), move.at, True))
        if passage.ended is not None and passage.ended <= self._end:
            found.append(((f"exit {passage.reason}",), passage.ended, True))
        return found

    def _path(self, wanted: Expectation, pid: int) -> tuple[str, tuple[str, ...]] | None:
        items = [split_item(item) for item in wanted.path or ()]
        passage = self._chosen(wanted, pid)
        places = self._places(passage) if passage else []
        left = list(places)
        for name, at in items:
            while left and not left[0][2] and name not in left[0][0]:
                left.pop(0)
            if not left or name not in left[0][0] or not self._is_at(left[0][1], at):
                break
            left.pop(0)
        else:
            if not any(must for _, _, must in left):
                return None
        happened = [f"{names[0]} at {self._said(at)}" for names, at, must in places if must] or ["no passage"]
        return "path " + ", ".join(wanted.path or ()), tuple(happened)

    def _entered(self, wanted: Expectation, pid: int) -> tuple[str, tuple[str, ...]] | None:
        found = self._passages(pid, wanted.journey or self._test.journey)
        if len(found) == wanted.entered:
            return None
        return f"{wanted.entered} passages", tuple(f"entered {self._said(p.entered)}" for p in found) or ("no passage",)

    def _exit(self, wanted: Expectation, pid: int) -> tuple[str, tuple[str, ...]] | None:
        passage = self._chosen(wanted, pid)
        ended = passage.ended if passage and passage.ended and passage.ended <= self._end else None
        if passage and ended and passage.reason == wanted.exit and self._is_at(ended, wanted.at):
            return None
        if passage is None:
            happened = "no passage"
        elif ended is None:
            happened = (
                f"the passage that began at {self._said(passage.entered)} had not ended at {self._said(self._end)}"
            )
        else:
            happened = f"ended {passage.reason} at {self._said(ended)}"
        return self._when(f"exit {wanted.exit}", wanted.at), (happened,)

    def _when(self, words: str, at: str | None) -> str:
        return f"{words} at {self._said(instant(self._test, at))}" if at else words

    # --- refusals, verdicts, messages ---------------------------------------------------------------------

    def _refused(self, wanted: Expectation, pid: int) -> tuple[str, tuple[str, ...]] | None:
        journey = wanted.journey or self._test.journey
        found = [r for r in self._until_end(self._observed.refusals.get(pid, [])) if r.journey == journey]
        refusals = [(r.at, r.reason, r.rule) for r in found]
        if wanted.refused == "not_qualified":
            told = self._explanation(pid, journey).not_qualified
            refusals += [(n.at, "not_qualified", None) for n in told if n.at <= self._end]
        for at, reason, rule in refusals:
            if reason == wanted.refused and wanted.rule in (None, rule) and self._is_at(at, wanted.at):
                return None
        words = f"refused {wanted.refused}" + (f" ({wanted.rule})" if wanted.rule else "")
        happened = [f"refused {reason} ({rule or '-'}) at {self._said(at)}" for at, reason, rule in refusals]
        return self._when(words, wanted.at), tuple(happened) or ("no refusal",)

    def _verdict(self, wanted: Expectation, pid: int) -> tuple[str, tuple[str, ...]] | None:
        template = wanted.dropped or wanted.deferred
        kind = "drop" if wanted.dropped is not None else "defer"
        found: list[Verdict] = self._until_end(self._observed.verdicts.get(pid, []))
        found = [v for v in found if v.template == template and wanted.journey in (None, v.journey)]
        until = self._meant(wanted.until)
        for v in found:
            told = v.verdict == kind and wanted.reason in (None, v.reason) and wanted.rule in (None, v.rule)
            same_until = until is None or (v.until is not None and abs(v.until - until) < _SAME)
            if told and same_until and self._is_at(v.at, wanted.at):
                return None
        words = f"{template} {'dropped' if kind == 'drop' else 'deferred'}"
        words += f" because of {wanted.reason}" if wanted.reason else ""
        words += f" ({wanted.rule})" if wanted.rule else ""
        words = self._when(words, wanted.at) + (f" until {self._said(until)}" if until else "")
        return words, tuple(self._verdict_words(v) for v in found) or (f"{template} was never a candidate",)

    def _verdict_words(self, v: Verdict) -> str:
        because = f" because of {v.reason} ({v.rule or '-'})" if v.reason else ""
        until = f" until {self._said(v.until)}" if v.until else ""
        return f"{v.template} {v.verdict} at {self._said(v.at)}{because}{until}"

    def _sent(self, pid: int, journey: str | None) -> list[Message]:
        found: list[Message] = self._until_end(self._observed.messages.get(pid, []))
        return [m for m in found if journey in (None, m.journey)]

    def _message(self, wanted: Expectation, pid: int) -> tuple[str, tuple[str, ...]] | None:
        sent = self._sent(pid, wanted.journey)
        tried = [(m, *self._content(m, wanted)) for m in sent if m.template == wanted.message]
        for m, subject, body in tried:
            same = self._is_at(m.at, wanted.at) and wanted.channel in (None, m.channel)
            if same and (wanted.subject or "") in subject and (wanted.body or "") in body:
                return None
        words = self._when(f"message {wanted.message}", wanted.at)
        for name in ("channel", "subject", "body"):
            words += f", {name} {getattr(wanted, name)!r}" if getattr(wanted, name) is not None else ""
        happened = [self._sent_words(m) for m in sent]
        happened += [
            f"its subject: {subject}\nits text: {body}".strip() for _, subject, body in tried if subject or body
        ]
        return words, tuple(happened) or ("nothing was sent",)

    def _sent_words(self, m: Message) -> str:
        return f"{m.template} by {m.channel} at {self._said(m.at)}"

    def _content(self, message: Message, wanted: Expectation) -> tuple[str, str]:
        """Subject and text as they would be handed over; empty where nobody asks."""
        if wanted.subject is None and wanted.body is None:
            return "", ""
        try:
            made = render(self._project.template(message.template), message.context, message.message_id,
                          address=message.address, planned_at=to_micros(message.at))  # fmt: skip
        except CadenzaError as error:
            return f"cannot be made: {error.what}", ""
        return made.subject or "", made.html or made.text or ""

    def _messages(self, wanted: Expectation, pid: int) -> tuple[str, tuple[str, ...]] | None:
        sent = self._sent(pid, wanted.journey)
        if tuple(m.template for m in sent) == (wanted.messages or ()):
            return None
        listed = ", ".join(wanted.messages or ()) or "none"
        return f"messages {listed}", tuple(self._sent_words(m) for m in sent) or ("nothing was sent",)

    def _silence(self, wanted: Expectation, pid: int) -> tuple[str, tuple[str, ...]] | None:
        sent = self._sent(pid, wanted.journey)
        return ("nothing sent", tuple(self._sent_words(m) for m in sent)) if sent else None

    # --- what is true at an instant ----------------------------------------------------------------------

    def _as_of(self, wanted: Expectation, pid: int) -> tuple[str, tuple[str, ...]] | None:
        at = self._meant(wanted.at) or self._end
        tree: Expr
        if wanted.segment is not None:
            tree, expected = InSegment(wanted.segment), wanted.member
            words = f"{'' if wanted.member else 'not '}in segment '{wanted.segment}'"
        elif wanted.trait is not None:
            tree, expected = Trait(wanted.trait), wanted.value
            words = f"{wanted.trait} is {'nothing' if expected is None else expected}"
        else:
            assert wanted.holds is not None
            tree, expected, words = wanted.holds, True, write(wanted.holds)
        family = self._observed.families.get(pid, (pid,))
        moment = Moment(pid=pid, family=family, now=at + _AFTER, item=None)
        value = evaluate(self._engine, self._project, moment, [tree])[0]
        if wanted.trait is None:
            value = bool(value) if wanted.segment is not None else value
            same = value is expected or value == expected
        else:
            same = self._equal(value, expected)
        shown = "unknown" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        return None if same else (f"{words} at {self._said(at)}", (f"it is {shown}",))

    def _equal(self, value: Any, expected: Any) -> bool:
        """Whether a trait's value is what a test wrote: numbers by value, instants by the second."""
        if value is None or expected is None:
            return value is expected
        if isinstance(value, datetime):
            text = str(expected)
            if re.fullmatch(MOMENT, text):
                return abs(value - instant(self._test, text)) < _SAME
            try:
                meant = datetime.fromisoformat(text)
            except ValueError:
                return False
            offset = meant.utcoffset() or (EPOCH - EPOCH)
            return abs(value - (meant.replace(tzinfo=None) - offset)) < _SAME
        if isinstance(value, bool) or isinstance(expected, bool):
            return value is expected
        try:
            return Decimal(str(value)) == Decimal(str(expected))
        except InvalidOperation:
            return str(value) == str(expected)

    # --- the explanation -----------------------------------------------------------------------------------

    def _explanation(self, pid: int, journey: str | None) -> Explanation:
        key = f"{subject_name(pid)} {journey}"
        if key not in self._explained:
            self._explained[key] = explain(self._engine, self._project, subject_name(pid), journey)
        return self._explained[key]

    def _why(self, who: str, journey: str | None) -> Iterator[str]:
        """What ``cadenza explain`` says of the person, as far as the test ran."""
        told = self._explanation(self._people[who], journey)
        lines: list[tuple[datetime, str]] = []
        for passage in told.passages:
            lines.append((passage.entered_at, f"{passage.journey}: entered by {passage.trigger}"))
            lines += [(move.at, f"{passage.journey}: {move.words}") for move in passage.moves]
            lines += [(v.at, f"{m.template}: {v.words}") for m in passage.messages for v in m.verdicts]
            if passage.ended_at is not None:
                lines.append((passage.ended_at, f"{passage.journey}: ended, {passage.reason}"))
        lines += [(refusal.at, f"{refusal.journey}: refused, {refusal.words}") for refusal in told.refusals]
        for missed in told.not_qualified:
            parts = "; ".join(f"{part.text} was {part.answer}" for part in missed.parts)
            lines.append((missed.at, f"{missed.journey}: did not qualify at {missed.trigger}: {parts}"))
        ordered = [line for line in sorted(lines, key=lambda line: line[0]) if line[0] <= self._end]
        if not ordered:
            yield "Nothing triggered a journey for this person."
        for at, words in ordered[:_MOST_WHY]:
            yield f"{self._said(at)} {words}"
        if len(ordered) > _MOST_WHY:
            yield f"and {len(ordered) - _MOST_WHY} more"
