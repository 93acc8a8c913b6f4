"""Journey tests as frozen structs. They are no part of a project's versions: what is deployed does not hold them.

Times are texts of the form in ``moments.py``.
"""

from __future__ import annotations

from typing import Any

from cadenza.definitions.definition import Definition
from cadenza.definitions.expression import Expr


class Happening(Definition, frozen=True, kw_only=True):
    """Something that a person does or that becomes known of them: an event, traits, or a statement of consent."""

    at: str
    occurred: str | None = None
    """When it happened, where it becomes known later."""
    event: str | None = None
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    consents: tuple[str, ...] = ()
    withdraws: tuple[str, ...] = ()
    """``purpose/channel``, as in the explanations."""
    completes: str | None = None
    """An outcome with which the person's task that was opened last, and is open, is completed."""
    answers: dict[str, Any] | None = None
    """What the service answers to the person's call that was put last and waits."""
    call_fails: str | None = None
    """Why that call fails."""


class Event(Happening, frozen=True, kw_only=True):
    """A happening that says whose it is; None: the only person of the test."""

    person: str | None = None
    account: str | None = None
    """The account in whose name it is done; without a person: by somebody of it."""


class TestedAccount(Definition, frozen=True, kw_only=True):
    """An account of a test: what is known of it before anything happens."""

    name: str
    traits: dict[str, Any] = {}
    arms: dict[str, str] = {}
    """Split -> arm."""
    held_out: tuple[str, ...] = ()


class Actor(TestedAccount, frozen=True, kw_only=True):
    """A person of a test, likewise."""

    consents: tuple[str, ...] = ()
    events: tuple[Happening, ...] = ()


class Expectation(Definition, frozen=True, kw_only=True):
    """One thing that must be so. Exactly one of the keys from ``path`` to ``holds`` is said."""

    path: tuple[str, ...] | None = None
    message: str | None = None
    messages: tuple[str, ...] | None = None
    nothing_sent: bool | None = None
    dropped: str | None = None
    deferred: str | None = None
    entered: int | None = None
    refused: str | None = None
    exit: str | None = None
    segment: str | None = None
    trait: str | None = None
    holds: Expr | None = None

    person: str | None = None
    account: str | None = None
    """In place of a person."""
    journey: str | None = None
    passage: int = 1
    at: str | None = None
    until: str | None = None
    channel: str | None = None
    subject: str | None = None
    body: str | None = None
    reason: str | None = None
    rule: str | None = None
    value: Any = None
    member: bool = True


KEYS = ("path", "message", "messages", "nothing_sent", "dropped", "deferred", "entered", "refused", "exit", "segment",
        "trait", "holds")  # fmt: skip
"""What an expectation may be about."""


class JourneyTest(Definition, frozen=True, kw_only=True):
    """A test of journeys: persons, what happens, what must come of it."""

    name: str
    start: str
    zone: str = "UTC"
    description: str = ""
    journey: str | None = None
    persons: tuple[Actor, ...] = ()
    accounts: tuple[TestedAccount, ...] = ()
    events: tuple[Event, ...] = ()
    until: str | None = None
    expect: tuple[Expectation, ...]


def key_of(expectation: Expectation) -> str | None:
    """What an expectation is about; None when it is about nothing or several things."""
    said = [key for key in KEYS if getattr(expectation, key) is not None]
    return said[0] if len(said) == 1 else None


def person_of(test: JourneyTest, named: str | None) -> str | None:
    """The person (or account) that is meant where one may be left out."""
    everyone = test.persons or test.accounts
    return named or (everyone[0].name if len(everyone) == 1 else None)


__all__ = ["KEYS", "Actor", "Event", "Expectation", "Happening", "JourneyTest", "TestedAccount", "key_of", "person_of"]
