"""Generated worlds: a small random valid project and a log of records that exercises it.

Every choice comes from a ``Chooser``: ``Dice`` makes it from a seed, the tests' hypothesis strategies from a search.
Interesting things are made likely: merges, late and simultaneous events, timers that fall on a record's instant,
daylight saving, withdrawn consent, full caps. Option lists begin with the plainest choice, so that a search shrinks.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from cadenza.clock import MICROSECOND, iso, to_micros
from cadenza.definitions.project import Project
from cadenza.ports.ledger import Record
from cadenza.simulate.addition import Addition
from cadenza.simulate.additions import ADDITIONS
from cadenza.simulate.chooser import Chooser, Dice, chance, pick
from cadenza.simulate.made_projects import EVENTS, make_project
from cadenza.simulate.model import Model


class World(msgspec.Struct, frozen=True, kw_only=True):
    """A project, the log that begins with its deploy record, and the instant (µs) up to which timers run."""

    project: Project
    records: tuple[Record, ...]
    horizon: int


def world(chooser: Chooser, most_records: int = 70, towns: int = 1, additions: tuple[str, ...] = ()) -> World:
    """A random world of at least 8 and about ``most_records`` records after the deploy record, in each of its towns:
    groups of people that never meet, which an engine that works on sets can take in one stride. ``additions``: names
    of ``ADDITIONS`` that it has besides."""
    project = make_project(chooser)
    added = tuple(ADDITIONS[name] for name in additions)
    for addition in added:
        project = addition.project(chooser, project)
    records = _Log(chooser, project, towns, added).grow(8 + chooser.below(max(most_records - 20, 1)))
    horizon = records[-1].recorded_at + 3600_000_000 * pick(chooser, [24 * 12, 1, 24 * 45])
    return World(project=project, records=tuple(records), horizon=horizon)


def seeded(seed: int, most_records: int = 70, towns: int = 1, additions: tuple[str, ...] = ()) -> World:
    """The world of a seed."""
    return world(Dice(seed), most_records, towns, additions)


def deploy_record(project: Project, at: int, offset: int = 1) -> Record:
    """The record that a log begins with."""
    body = msgspec.json.encode({"project": project, "fingerprint": "simulated"}, order="sorted")
    return _record(offset, at, "deploy", body)


def _record(offset: int, at: int, kind: str, body: bytes) -> Record:
    return Record(
        offset=offset, recorded_at=at, writer="main", kind=kind, source="simulated", message_id=f"m{offset}",
        imported=False, body=body,
    )  # fmt: skip


# --- logs ------------------------------------------------------------------------------------------------

_STARTS = [
    ("2024-05-06T09:00:00", "Europe/Berlin"), ("2024-03-30T19:30:00", "Europe/Berlin"), ("2024-10-26T19:00:00", "Europe/London"),
    ("2024-10-26T22:00:00", "Europe/Berlin"), ("2024-03-10T01:00:00", "America/New_York"), ("2024-11-03T02:30:00", "America/Havana"),
    ("2024-10-05T09:00:00", "Australia/Lord_Howe"), ("2024-04-06T09:00:00", "Pacific/Chatham"),
]  # fmt: skip
"""An ordinary day, and the evenings before clocks change, each with a zone in which they do."""
_ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Europe/London",
          "America/Havana", "Pacific/Chatham", "Europe/Berlin", "Mars/Olympus", "Europe/London", "Mars/Olympus"]  # fmt: skip
_STEPS_S = [3600, 0, 60, 1800, 6 * 3600, 600, 86400, 2 * 3600]


class _Log:
    """Grows a log; a model runs beside it, so that records can fall on timers and outcomes can name messages."""

    def __init__(self, chooser: Chooser, project: Project, towns: int, additions: tuple[Addition, ...]) -> None:
        self._c, self._project = chooser, project
        self._added = tuple((a.call, a.percent) for a in additions if a.call is not None)
        self._answers = tuple((a.record, a.percent) for a in additions if a.record is not None)
        self._towns, self._town = range(towns), ""
        self._model = Model(project)
        start, self._zone = pick(chooser, _STARTS)
        self._at = to_micros(datetime.fromisoformat(start))
        self._times = [self._at]
        self._records = [deploy_record(project, self._at)]
        self._statements: dict[str, dict[str, Any]] = {}
        self._apart = True
        """At first nobody is two people: merges come when both sides have something to lose."""
        self._people = 2 + chooser.below(3)

    def grow(self, count: int) -> list[Record]:
        replaying = chance(self._c, 20)
        if replaying:
            self._add("command", {"command": "replay"})
        for town in self._towns:
            self._town = "abcdefghij"[town - 1] if town else ""
            for n in range(self._people):
                if chance(self._c, 85):
                    self._welcome({"userId": f"u{self._town}{n}"}, f"u{self._town}{n}")
                if chance(self._c, 75):
                    self._welcome({"anonymousId": f"a{self._town}{n}"}, f"a{self._town}{n}")
        for i in range(count):
            self._apart = i < count // 2
            self._at = self._next_instant()
            for town in self._towns:
                self._town = "abcdefghij"[town - 1] if town else ""
                kind, body = self._call()
                self._add(kind, body)
            if replaying and i == count // 2:
                self._at += 1
                self._add("command", {"command": "live"})
        return self._records

    def _welcome(self, who: dict[str, Any], name: str) -> None:
        """A person who can be reached and has consented, or nothing would ever be sent."""
        c = self._c
        who = who | {"occurred_at": self._at, "context": {}}
        traits = {
            "email": f"{name}@example.com",
            "time_zone": pick(c, [self._zone, self._zone, pick(c, _ZONES)]),
            "phone": f"+{name}",
        }
        self._add("call", who | {"type": "identify", "traits": traits})
        for purpose, channel in (("marketing", "email"), ("newsletter", "email"), ("marketing", "sms")):
            if chance(c, 95):
                properties = {"purpose": purpose, "channel": channel, "granted": True}
                self._add("call", who | {"type": "track", "event": "Consent Updated", "properties": properties})

    def _add(self, kind: str, body: dict[str, Any]) -> None:
        self._at = max(self._at, self._records[-1].recorded_at + 1)
        record = _record(len(self._records) + 1, self._at, kind, msgspec.json.encode(body, order="sorted"))
        self._model.apply(record)
        self._records.append(record)

    def _next_instant(self) -> int:
        due = self._model.next_due()
        if due is not None and chance(self._c, 25):
            return to_micros(due + pick(self._c, [0, 0, -1, 1]) * MICROSECOND)
        return self._at + 1_000_000 * pick(self._c, _STEPS_S) + (0 if self._c.below(4) else 1)

    def _occurred(self) -> int:
        """Mostly now; sometimes late, sometimes the very instant of an earlier record."""
        c, kind = self._c, self._c.below(10)
        at = self._at
        if kind == 8:
            at -= 3600_000_000 * pick(c, [1, 30, 24 * 6])
        elif kind == 9:
            at = self._times[-1 - c.below(min(len(self._times), 6))]
        self._times.append(min(at, self._at))
        return min(at, self._at)

    def _call(self) -> tuple[str, dict[str, Any]]:
        for answer, percent in self._answers:
            if chance(self._c, percent) and (said := answer(self._c, self._model, self._at)) is not None:
                return said.pop("kind", "task"), said
        c, roll = self._c, self._c.below(100)
        if roll >= 90 and self._model.rows["messages"]:
            return "outcome", self._outcome()
        body: dict[str, Any] = self._who() | {"occurred_at": self._occurred(), "context": {}}
        for added, percent in self._added:
            if chance(c, percent):
                said = added(c, self._project, self._at)
                if "project" in said:
                    self._project = said["project"]
                    return "deploy", said
                return ("command", said) if "command" in said else ("call", body | said)
        if roll < 60:
            name = pick(c, [*EVENTS, "Order Completed", "Order Completed", "Product Viewed", "Ping"])
            return "call", body | {"type": "track", "event": name, "properties": self._properties(name)}
        if roll < 70:
            return "call", body | {"type": "identify", "traits": body.get("traits", {}) | self._sent()}
        if roll < 78:
            return "call", self._statement(body)
        if roll < 83:
            t = self._town
            known = [f"a{t}{c.below(9)}", f"b{t}{c.below(5)}", "0000", f"u{t}{c.below(self._people)}"]
            return "call", body | {"type": "alias", "previousId": pick(c, known)}
        if roll < 88:
            return "call", body | self._withdrawal()
        return "call", body | {"type": pick(c, ["page", "screen", "group"]), "properties": {"name": "home"}}

    def _statement(self, body: dict[str, Any]) -> dict[str, Any]:
        """Of consent; sometimes the contrary of the last one, said of the same instant."""
        last = self._statements.get(self._town)
        if last is not None and chance(self._c, 22):
            return last | {"properties": last["properties"] | {"granted": last["properties"]["granted"] is not True}}
        said = {
            "purpose": pick(self._c, ["marketing", "marketing", "newsletter"]),
            "channel": pick(self._c, ["email", "email", "sms"]),
            "granted": pick(self._c, [True, True, True, True, False, "true", "perhaps", None]),
        }
        self._statements[self._town] = body | {"type": "track", "event": "Consent Updated", "properties": said}
        return self._statements[self._town]

    def _who(self) -> dict[str, Any]:
        c, n = self._c, self._c.below(self._people)
        style, anonymous = c.below(25), f"a{self._town}{pick(c, [n, n, n, n, n, n, c.below(5)])}"
        who: dict[str, Any] = {"userId": f"u{self._town}{n}"}
        if self._apart and 13 <= style < 19:
            style = 10
        if style in (10, 11, 12) or style > 19:
            who = {"anonymousId": anonymous}
        elif style in (13, 14, 15):
            who["anonymousId"] = anonymous
        elif style in (16, 17):
            who = {"anonymousId": anonymous, "traits": {"email": f" U{self._town}{n}@Example.com"}}
        elif style == 18:
            other = pick(c, [n, n, n, n, n, n, c.below(self._people)])
            who["traits"] = {"email": f"u{self._town}{other}@example.com"}
        elif style == 19:
            nobody: list[dict[str, Any]] = [
                {"anonymousId": "visitor"},
                {"userId": "NULL"},
                {"anonymousId": "bot-7"},
                {},
            ]
            who = pick(c, [*nobody, {"userId": "undefined", "anonymousId": anonymous}])
        return who

    def _properties(self, name: str) -> dict[str, Any]:
        c = self._c
        values: dict[str, list[Any]] = {
            "revenue": [60, 12.5, 99.99, "10.00005", 150, "much", -5], "quantity": [1, 2, 3, "2", None],
            "order_id": ["o1", "o2", "o3", 7], "gift": [True, False, "true", None], "severity": [2, 5, 9, "bad"],
            "category": ["toys", "garden", "books", {"deep": 1}],
            "ends_at": [iso(datetime(2024, 9, 1)), iso(datetime(2025, 1, 1, 12)), "2024-10-05T10:00:00+02:00", "soon"],
        }  # fmt: skip
        return {p: pick(c, values[p]) for p in EVENTS.get(name, {}) if not chance(c, 10)}

    def _sent(self) -> dict[str, Any]:
        c = self._c
        soon = datetime(1970, 1, 1) + timedelta(microseconds=self._at, days=1)
        values: dict[str, list[Any]] = {
            "time_zone": _ZONES, "phone": ["+100", "+200"],
            "plan": ["gold", "free", "trial", ""][:3], "score": [5, 15, "11", "many", 12.5], "credit": [12.5, 30, "7.123456"],
            "vip": [True, False, "maybe"], "renews_at": [iso(soon), "2024-05-06", "never"],
        }  # fmt: skip
        return {t: pick(c, v) for t, v in values.items() if chance(c, 30 if t == "time_zone" else 35)}

    def _withdrawal(self) -> dict[str, Any]:
        options: list[tuple[str, dict[str, Any]]] = [
            ("Unsubscribed", {}), ("Unsubscribed", {"purpose": "newsletter"}), ("Unsubscribed", {"channel": "sms"}),
            ("Email Bounced", {"bounce_type": "soft"}), ("Email Bounced", {"bounce_type": "hard"}),
            ("Email Marked as Spam", {}), ("Suppressed", {"channel": "sms", "reason": "legal"}),
            ("Suppressed", {"channel": "email", "reason": "sales_talk"}),
        ]  # fmt: skip
        name, properties = pick(self._c, options)
        return {"type": "track", "event": name, "properties": properties}

    def _outcome(self) -> dict[str, Any]:
        c = self._c
        sent = self._model.rows["messages"]
        message_id, pid, template, *_ = sent[-1 - c.below(min(len(sent), 4))]
        name = pick(
            c, ["Message Sent", "Message Failed", "Message Failed", "Email Opened", "Email Bounced", "Unsubscribed"]
        )
        properties = {"message_id": message_id, "template": template, "detail": "x"}
        properties |= {"bounce_type": pick(c, ["soft", "hard"])} if name == "Email Bounced" else {}
        at = self._occurred()
        return {
            "type": "track",
            "event": name,
            "person": pid,
            "occurred_at": at,
            "properties": properties,
            "context": {},
        }
