"""The catalogue of every table in the store: grain, key, owner room, retention, personal data.

``fixed`` columns are below; the columns that definitions add (traits, memberships, consents of ``profile``,
declared properties of ``event``) come from ``sql/columns.py``.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Retention = Literal["log", "state", "definitions"]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One table. ``columns``: name -> engine type. ``updated``: columns that are ever updated in place
    (merges rewrite ``pid`` everywhere and are not listed)."""

    name: str
    owner: str
    grain: str
    key: tuple[str, ...]
    columns: dict[str, str]
    retention: Retention = "log"
    personal: bool = False
    updated: tuple[str, ...] = ()


def _table(name: str, owner: str, grain: str, key: str, columns: str, **more: object) -> Table:
    pairs = (part.strip().split(" ", 1) for part in columns.split(","))
    return Table(
        name=name, owner=owner, grain=grain, key=tuple(key.split()),
        columns={column: kind.strip() for column, kind in pairs}, **more,  # type: ignore[arg-type]
    )  # fmt: skip


TABLES: tuple[Table, ...] = (
    _table("clock", "events", "one row: how far the store is", "consumed",
           "consumed BIGINT, horizon TIMESTAMP, live_from TIMESTAMP, records BIGINT, waves BIGINT",
           retention="state", updated=("consumed", "horizon", "live_from", "records", "waves")),
    _table("deployment", "events", "one deployed version of the project", "offset_",
           "offset_ BIGINT, recorded_at TIMESTAMP, fingerprint VARCHAR, project VARCHAR", retention="definitions"),
    _table("tz_rule", "events", "one span of constant UTC offset of a zone", "tz utc_from",
           "tz VARCHAR, utc_from TIMESTAMP, utc_to TIMESTAMP, off_s INTEGER", retention="definitions"),
    _table("pending", "events", "a record read from the log whose turn has not come", "offset_",
           "offset_ BIGINT, recorded_at TIMESTAMP, kind VARCHAR, source VARCHAR, message_id VARCHAR, body VARCHAR",
           retention="state", personal=True),
    _table("person", "identity", "a person ever created; merged ones point to their survivor. Accounts are rows too, here and below, with a pid from 2^62 on", "pid",
           "pid BIGINT, created_at TIMESTAMP, merged_into BIGINT", updated=("merged_into",)),
    _table("identifier", "identity", "an identifier and the person who holds it", "type value",
           "type VARCHAR, value VARCHAR, pid BIGINT", personal=True),
    _table("link", "identity", "the ledger of identity: one identifier attached or one merge", "offset_ type value other_pid",
           "offset_ BIGINT, recorded_at TIMESTAMP, pid BIGINT, rule VARCHAR, type VARCHAR, value VARCHAR, "
           "other_pid BIGINT, score DOUBLE", personal=True),
    _table("event", "events", "a record of a person", "offset_",
           "offset_ BIGINT, pid BIGINT, origin_pid BIGINT, type VARCHAR, name VARCHAR, occurred_at TIMESTAMP, "
           "recorded_at TIMESTAMP, source VARCHAR, message_id VARCHAR", personal=True),
    _table("event_payload", "events", "what a record said, as JSON: properties and traits", "offset_",
           "offset_ BIGINT, properties VARCHAR, traits VARCHAR", personal=True),
    _table("unidentified", "identity", "a record without any usable identifier", "offset_",
           "offset_ BIGINT, recorded_at TIMESTAMP, name VARCHAR, reason VARCHAR"),
    _table("trait_value", "profiles", "a value sent (or set) for a trait of a person", "applied_at wave trait pid",
           "pid BIGINT, origin_pid BIGINT, trait VARCHAR, value VARCHAR, occurred_at TIMESTAMP, applied_at TIMESTAMP, "
           "wave BIGINT, eid BIGINT, offset_ BIGINT, cause VARCHAR",
           personal=True),
    _table("profile", "profiles", "a living person: traits, memberships and consents in force", "pid",
           "pid BIGINT, check_at TIMESTAMP", retention="state", personal=True, updated=("*",)),
    _table("consent", "profiles", "an explicit statement of consent", "offset_ purpose channel",
           "pid BIGINT, origin_pid BIGINT, purpose VARCHAR, channel VARCHAR, granted BOOLEAN, occurred_at TIMESTAMP, "
           "offset_ BIGINT, source VARCHAR, text_version VARCHAR"),
    _table("suppression", "profiles", "a reason not to use a channel for a person, or the end of one", "offset_ lifts",
           "pid BIGINT, origin_pid BIGINT, channel VARCHAR, reason VARCHAR, occurred_at TIMESTAMP, offset_ BIGINT, "
           "ts TIMESTAMP, until TIMESTAMP, lifts BIGINT, by_ VARCHAR"),
    _table("membership", "segments", "a person entered or left a segment", "pid segment ts",
           "pid BIGINT, origin_pid BIGINT, segment VARCHAR, ts TIMESTAMP, entered BOOLEAN, cause VARCHAR"),
    _table("journey_version", "journeys", "a deployed version of a journey", "jid",
           "jid INTEGER, journey VARCHAR, version VARCHAR, priority INTEGER, deployed_at TIMESTAMP, current BOOLEAN, "
           "definition VARCHAR",
           retention="definitions", updated=("current",)),
    _table("journey_step", "journeys", "a position in a version of a journey", "jid step",
           "jid INTEGER, step INTEGER, path VARCHAR, kind VARCHAR, template VARCHAR", retention="definitions"),
    _table("enrollment", "journeys", "a passage of a person (and entry key) through a journey", "eid",
           "eid BIGINT, pid BIGINT, origin_pid BIGINT, jid INTEGER, key VARCHAR, entered_at TIMESTAMP, "
           "entry_offset BIGINT, limit_at TIMESTAMP, step INTEGER, wake_at TIMESTAMP, due_since TIMESTAMP",
           updated=("step", "wake_at", "due_since", "limit_at", "jid")),
    _table("enrollment_end", "journeys", "the one end of an enrollment", "eid",
           "eid BIGINT, pid BIGINT, jid INTEGER, ts TIMESTAMP, reason VARCHAR"),
    _table("control", "journeys", "a command that pauses, stops or kills, or ends that", "offset_",
           "offset_ BIGINT, ts TIMESTAMP, command VARCHAR, journey VARCHAR, channel VARCHAR, mode VARCHAR"),
    _table("paused", "journeys", "an enrollment that stands still, or was held back and is to be taken up", "eid",
           "eid BIGINT, since TIMESTAMP, wake_at TIMESTAMP, limit_at TIMESTAMP, way VARCHAR",
           retention="state", updated=("since", "way")),
    _table("transition", "journeys", "one move of an enrollment between resting steps", "eid ts from_step to_step",
           "eid BIGINT, pid BIGINT, jid INTEGER, ts TIMESTAMP, cause VARCHAR, from_step INTEGER, to_step INTEGER, "
           "hop INTEGER, offset_ BIGINT"),
    _table("journey_hop", "journeys", "a path between resting steps: the branches and arms it takes", "jid hop",
           "jid INTEGER, hop INTEGER, taken VARCHAR", retention="definitions"),
    _table("refusal", "journeys", "a candidate that did not enter, and why", "jid pid ts key",
           "pid BIGINT, jid INTEGER, ts TIMESTAMP, key VARCHAR, reason VARCHAR, rule VARCHAR, offset_ BIGINT"),
    _table("nonqualified", "journeys", "plain non-qualification, counted (sum n)", "jid hour rule",
           "jid INTEGER, hour TIMESTAMP, rule VARCHAR, n BIGINT"),
    _table("assignment", "journeys", "the first assignment of a unit under a holdout", "holdout pid",
           "holdout VARCHAR, pid BIGINT, origin_pid BIGINT, arm VARCHAR, bucket INTEGER, ts TIMESTAMP, jid INTEGER"),
    _table("decision", "governance", "a verdict on one candidate message", "eid step ts verdict",
           "eid BIGINT, pid BIGINT, jid INTEGER, step INTEGER, ts TIMESTAMP, verdict VARCHAR, reason VARCHAR, "
           "rule VARCHAR, until TIMESTAMP, evidence VARCHAR"),
    _table("message", "effects", "a message decided to be sent", "message_id",
           "message_id VARCHAR, eid BIGINT, pid BIGINT, origin_pid BIGINT, jid INTEGER, step INTEGER, template VARCHAR, "
           "template_version VARCHAR, channel VARCHAR, destination VARCHAR, message_class VARCHAR, purpose VARCHAR, "
           "address VARCHAR, planned_at TIMESTAMP, context VARCHAR, deliverable BOOLEAN, wave BIGINT", personal=True),
    _table("task", "tasks", "a task handed to people, as it was opened", "task_id",
           "task_id VARCHAR, eid BIGINT, pid BIGINT, origin_pid BIGINT, jid INTEGER, step INTEGER, opened_at TIMESTAMP, "
           "due_at TIMESTAMP, team VARCHAR, assignee VARCHAR, title VARCHAR, priority INTEGER, hold BOOLEAN, "
           "context VARCHAR, recent VARCHAR, live BOOLEAN", personal=True),
    _table("task_change", "tasks", "what was done to a task, or was refused; or became of it as time passed", "task_id ts change offset_",
           "task_id VARCHAR, pid BIGINT, origin_pid BIGINT, ts TIMESTAMP, change VARCHAR, by_ VARCHAR, outcome VARCHAR, "
           "team VARCHAR, assignee VARCHAR, note VARCHAR, refused VARCHAR, ends BOOLEAN, due_at TIMESTAMP, offset_ BIGINT, wave BIGINT", personal=True),
    _table("service_call", "calls", "a question that a passage puts to a service, or was not allowed to", "call_id",
           "call_id VARCHAR, eid BIGINT, pid BIGINT, origin_pid BIGINT, jid INTEGER, step INTEGER, destination VARCHAR, "
           "channel VARCHAR, purpose VARCHAR, planned_at TIMESTAMP, context VARCHAR, refused VARCHAR, deliverable BOOLEAN, "
           "wave BIGINT", personal=True),
    _table("service_answer", "calls", "what came of a call, or came too late: and what it was taken for", "offset_",
           "call_id VARCHAR, pid BIGINT, origin_pid BIGINT, ts TIMESTAMP, result VARCHAR, reason VARCHAR, trait VARCHAR, "
           "offset_ BIGINT, wave BIGINT"),
    _table("message_outcome", "events", "what delivery reported of a message", "offset_",
           "message_id VARCHAR, name VARCHAR, occurred_at TIMESTAMP, offset_ BIGINT, detail VARCHAR"),
    _table("cancellation", "effects", "a message withdrawn before it was handed over", "message_id",
           "message_id VARCHAR, ts TIMESTAMP, reason VARCHAR, wave BIGINT"),
)  # fmt: skip

BY_NAME = {table.name: table for table in TABLES}


def create_statements() -> list[str]:
    """One CREATE TABLE per table, fixed columns only, in catalogue order."""
    return [
        f"CREATE TABLE IF NOT EXISTS {t.name} ({', '.join(f'{c} {k}' for c, k in t.columns.items())})" for t in TABLES
    ]
