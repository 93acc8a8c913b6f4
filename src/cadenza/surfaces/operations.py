"""Every operation of the API, in the order in which a person would read about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from cadenza.definitions.schema import schemas
from cadenza.errors import CadenzaError, near_miss
from cadenza.surfaces.contract_operations import CONTRACT_OPERATIONS
from cadenza.surfaces.control_operations import CONTROL_OPERATIONS
from cadenza.surfaces.encoding import plain
from cadenza.surfaces.entry_operations import ENTRY_OPERATIONS
from cadenza.surfaces.operation import Operation, Parameter, limit_of
from cadenza.surfaces.quarantine_operations import QUARANTINE_OPERATIONS
from cadenza.surfaces.suppression_operations import SUPPRESSION_OPERATIONS
from cadenza.surfaces.task_operations import TASK_OPERATIONS
from cadenza.workspace import (
    Alert,
    AuditReport,
    Deployed,
    Explanation,
    JourneyFigures,
    LintReport,
    Member,
    OutboxRow,
    OutboxState,
    Plan,
    Report,
    SegmentFigures,
    Status,
    WhyNot,
    Workspace,
)  # fmt: skip

Arguments = Mapping[str, Any]


class JourneyView(msgspec.Struct, frozen=True, kw_only=True):
    """A journey as it is deployed, and its figures."""

    name: str
    definition: dict[str, Any]
    figures: JourneyFigures | None


class Apply(msgspec.Struct, frozen=True, kw_only=True):
    """``version``: the fingerprint of a deployed version, to go back; without it, the project folder."""

    version: str | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a query, each by column name."""

    rows: list[dict[str, Any]]


def _report(workspace: Workspace, given: Arguments) -> Report:
    return workspace.report(given["as_of"])


def _explain(workspace: Workspace, given: Arguments) -> Explanation:
    return workspace.explain(given["person"], given.get("journey"))


def _segments(workspace: Workspace, given: Arguments) -> tuple[SegmentFigures, ...]:
    return workspace.report().segments


def _members(workspace: Workspace, given: Arguments) -> list[Member]:
    return workspace.members(given["segment"], given["limit"], given["after"])


def _journeys(workspace: Workspace, given: Arguments) -> tuple[JourneyFigures, ...]:
    return workspace.report().journeys


def _journey(workspace: Workspace, given: Arguments) -> JourneyView:
    journeys = {j.name: j for j in workspace.deployed().journeys}
    found = journeys.get(given["journey"])
    if found is None:
        raise CadenzaError(f"there is no journey '{given['journey']}'.", remedy=near_miss(given["journey"], journeys))
    figures = {f.name: f for f in workspace.report().journeys}
    return JourneyView(name=found.name, definition=plain(found), figures=figures.get(found.name))


def _messages(workspace: Workspace, given: Arguments) -> list[OutboxRow]:
    return workspace.messages(given["limit"], given["state"], given["person"], given["journey"])


def _query(workspace: Workspace, given: Arguments) -> Answer:
    return Answer(rows=workspace.query(given["sql"], given["limit"]))


_AS_OF = Parameter(
    name="as_of", place="query", kind="date-time", meaning="The instant to look at; without it, the present."
)
_PERSON = Parameter(
    name="person", place="path", meaning="A person id, or any identifier of the person such as an e-mail address."
)
_JOURNEY = Parameter(name="journey", place="path", meaning="The name of a journey.")


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        path="/api/status", name="status", answer=Status, run=lambda workspace, _: workspace.status(),
        summary="How far the log is decided, how many people there are, what waits to be sent",
    ),
    Operation(
        path="/api/report", name="report", answer=Report, run=_report, parameters=(_AS_OF,),
        summary="What happened: people, segments, journeys, messages, outcomes, and whether it adds up",
    ),
    Operation(
        path="/api/persons/{person}", name="explain_person", answer=Explanation, run=_explain, parameters=(_PERSON,),
        summary="Everything known of one person, with the evidence",
    ),
    Operation(
        path="/api/persons/{person}/journeys/{journey}", name="explain_journey", answer=Explanation, run=_explain,
        parameters=(_PERSON, _JOURNEY),
        summary="One person in one journey: why in, why not, every step and message",
    ),
    Operation(
        path="/api/persons/{person}/journeys/{journey}/why-not", name="why_not", answer=WhyNot,
        run=lambda workspace, given: workspace.why_not.run(given["person"], given["journey"]),
        parameters=(_PERSON, _JOURNEY),
        summary="The smallest set of facts whose change would have let the last refused message or entry go",
    ),
    Operation(
        path="/api/segments", name="segments", answer=list[SegmentFigures], run=_segments,
        summary="Segments and how many are in them",
    ),
    Operation(
        path="/api/segments/{segment}/members", name="members", answer=list[Member], run=_members,
        summary="The members of a segment, by person id; go on with the last id as 'after'",
        parameters=(
            Parameter(name="segment", place="path", meaning="The name of a segment."), limit_of(100, 10_000),
            Parameter(name="after", place="query", kind="integer", default=0, meaning="Only persons with a greater id."),
        ),
    ),
    Operation(
        path="/api/journeys", name="journeys", answer=list[JourneyFigures], run=_journeys,
        summary="Journeys and their figures",
    ),
    Operation(
        path="/api/journeys/{journey}", name="journey", answer=JourneyView, run=_journey, parameters=(_JOURNEY,),
        summary="One journey: its deployed definition and its figures",
    ),
    Operation(
        path="/api/messages", name="messages", answer=list[OutboxRow], run=_messages,
        summary="Messages decided to be sent, newest first, and where each stands",
        parameters=(
            limit_of(100, 1_000),
            Parameter(name="state", place="query", meaning="Only messages in this state.", enum=get_args(OutboxState)),
            Parameter(name="person", place="query", kind="integer", meaning="Only messages of this person id."),
            Parameter(name="journey", place="query", meaning="Only messages of this journey."),
        ),
    ),
    Operation(
        path="/api/alerts", name="alerts", answer=tuple[Alert, ...], run=lambda workspace, given: workspace.alerts.run(given["as_of"]),
        summary="What running journeys stopped doing, or do otherwise than they used to, though nothing fails",
        parameters=(_AS_OF,),
    ),
    Operation(
        path="/api/lint", name="lint", answer=LintReport, group="definitions",
        run=lambda workspace, given: workspace.lint.run(given["days"]),
        summary="What is valid and yet probably not meant in the project folder, and which journeys want the same people",
        parameters=(
            Parameter(name="days", place="query", kind="integer", default=7, maximum=366, meaning="How near in time two journeys must want a person."),
        ),
    ),
    Operation(
        path="/api/audit", name="audit", answer=AuditReport, run=lambda workspace, _: workspace.audit.run(),
        summary="Every message that was sent, checked against the log by code that shares nothing with what decided",
    ),
    *CONTROL_OPERATIONS,
    *TASK_OPERATIONS,
    *QUARANTINE_OPERATIONS,
    *ENTRY_OPERATIONS,
    *SUPPRESSION_OPERATIONS,
    *CONTRACT_OPERATIONS,
    Operation(
        path="/api/query", name="query", answer=Answer, run=_query,
        summary="The answer to one SELECT over the tables of the catalogue",
        parameters=(
            Parameter(name="sql", place="query", required=True, meaning="One SELECT.", example="SELECT count(*) AS persons FROM person"),
            limit_of(1_000, 10_000),
        ),
    ),
    Operation(
        path="/api/definitions/schema/{kind}", name="schema", answer=dict[str, Any], group="definitions",
        run=lambda workspace, given: workspace.schema(given["kind"]),
        summary="The JSON Schema of a kind of definition, for editors and agents",
        parameters=(Parameter(name="kind", place="path", meaning="A kind of definition.", enum=tuple(schemas())),),
    ),
    Operation(
        path="/api/plan", name="plan", answer=Plan, group="definitions", run=lambda workspace, given: workspace.plan(given["version"]),
        summary="What applying the project folder would change, and how many people it touches",
        parameters=(
            Parameter(name="version", place="query", meaning="The fingerprint of a deployed version, in place of the folder."),
        ),
    ),
    Operation(
        path="/api/apply", name="apply", method="POST", answer=Deployed, group="definitions",
        run=lambda workspace, given: workspace.apply(version=given["body"].version), body=Apply,
        summary="Apply the project folder, or an older version: a record of the log, in force when it is decided",
    ),
)  # fmt: skip
