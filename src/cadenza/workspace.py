"""The facade: everything a surface can do with a project, and the one place where the parts are put together.

It delegates and computes nothing. Parts open when they are first needed, so that ``validate`` works while a server
holds the store. What reads may be called from several threads; ``tick`` and ``run`` belong to one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from cadenza.adapters import local_server
from cadenza.adapters.channels import MAILBOX_FILE
from cadenza.adapters.deployed import DeployedFile, publish
from cadenza.adapters.ed25519 import verify_ed25519
from cadenza.adapters.local_server import LocalServer, ServerInfo
from cadenza.adapters.mailbox import Mailbox
from cadenza.adapters.opened import OpenedChannels
from cadenza.adapters.settings import resolve_secret, write_keys
from cadenza.adapters.telemetry import open_spans
from cadenza.clock import Clock, SystemClock, from_micros
from cadenza.definitions.library import blueprint_files
from cadenza.definitions.load import Loaded, load
from cadenza.definitions.project import Project
from cadenza.definitions.schema import schemas
from cadenza.definitions.starter import write_project, write_starter
from cadenza.errors import CadenzaError, OperatingError, near_miss
from cadenza.ids import random_fraction, random_id
from cadenza.ledger.journal import JournalWriter
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import OutboxRow, SqliteOutbox, State as OutboxState
from cadenza.ledger.quarantine import Act, Quarantined, Readmitted, ReasonCount, State as QuarantineState
from cadenza.runtime import imports
from cadenza.runtime.alerts import Alert, Alerting
from cadenza.runtime.audit import Auditing, AuditReport
from cadenza.runtime.care import Care
from cadenza.runtime.collect import Collector, Limits, journal_room
from cadenza.runtime.contract_book import (
    ContractBook,
    ContractSummary,
    ContractText,
    ContractView,
    Format as ContractFormat,
)
from cadenza.runtime.contract_impact import ContractPlan, refuse_breaking
from cadenza.runtime.controls import Commanded, Controls, JourneyState, Killed
from cadenza.runtime.deliver import Deliverer
from cadenza.runtime.deploy import prepare
from cadenza.runtime.doctor import Doctor, Finding, Severity
from cadenza.runtime.entry_calls import EntryCalls, EntryRequested
from cadenza.runtime.explain import Explanation, explain
from cadenza.runtime.export import Exported, export
from cadenza.runtime.imports import ImportProgress, ImportReport
from cadenza.runtime.lint import Linting, LintReport
from cadenza.runtime.live import Live
from cadenza.runtime.measures import MeasuredJournal, Measures
from cadenza.runtime.operate import Operate
from cadenza.runtime.plan import Deployed, JourneyPlan, Plan, apply, older_project, plan
from cadenza.runtime.quarantine import Fixed, Quarantine, Replayed, Shown
from cadenza.runtime.rebuild import RebuildReport, rebuild
from cadenza.runtime.report import Report, report
from cadenza.runtime.report.figures import (
    Comparison,
    JourneyFigures,
    LogCounts,
    Quarantined as QuarantineCount,
    SegmentFigures,
)
from cadenza.runtime.screen import Screen
from cadenza.runtime.sequence import SequencedLog, Sequencer
from cadenza.runtime.status import Member, Status, current_project, go_live, members, status
from cadenza.runtime.suppressions import SuppressionRow, Suppressions, SuppressionSaid, SuppressionWanted
from cadenza.runtime.tail import Counted, Outcome, Seen, Tail, Wanted
from cadenza.runtime.tasks import TaskChange, TaskDesk, TaskReceipt, TaskRow, TaskShown, TaskWanted, TeamFigures
from cadenza.runtime.testing import CaseResult, Covered, JourneyTests, SuiteResult
from cadenza.runtime.tick import Progress, Ticker, TickReport
from cadenza.runtime.trials import (
    Backtest,
    Course,
    Forecast,
    JourneyAhead,
    JourneyVolume,
    Passed,
    Side,
    Simulation,
    Spread,
    Trials,
    Wanted as Trial,
)
from cadenza.runtime.webhooks import Webhooks
from cadenza.simulate.why_not import Counterfactuals, WhyNot
from cadenza.sql.read_only import read_only
from cadenza.store.duckdb_engine import DuckEngine
from cadenza.store.parquet import ParquetFiles

__all__ = [
    "Act",
    "Alert",
    "AuditReport",
    "Backtest",
    "CaseResult",
    "Collector",
    "Commanded",
    "Comparison",
    "ContractFormat",
    "ContractPlan",
    "ContractSummary",
    "ContractText",
    "ContractView",
    "Counted",
    "Course",
    "Covered",
    "Deliverer",
    "Deployed",
    "Doctor",
    "EntryRequested",
    "Explanation",
    "Exported",
    "Finding",
    "Fixed",
    "Forecast",
    "ImportProgress",
    "ImportReport",
    "JourneyAhead",
    "JourneyFigures",
    "JourneyPlan",
    "JourneyState",
    "JourneyVolume",
    "Killed",
    "LintReport",
    "Loaded",
    "LocalServer",
    "Mailbox",
    "Member",
    "Operate",
    "OutboxRow",
    "OutboxState",
    "Outcome",
    "Passed",
    "Plan",
    "Progress",
    "Project",
    "Quarantine",
    "QuarantineState",
    "Quarantined",
    "Readmitted",
    "ReasonCount",
    "RebuildReport",
    "Replayed",
    "Report",
    "Seen",
    "SegmentFigures",
    "ServerInfo",
    "Severity",
    "Shown",
    "Side",
    "Simulation",
    "Spread",
    "Status",
    "SuiteResult",
    "SuppressionRow",
    "SuppressionSaid",
    "SuppressionWanted",
    "Tail",
    "TaskChange",
    "TaskReceipt",
    "TaskRow",
    "TaskShown",
    "TaskWanted",
    "TeamFigures",
    "TickReport",
    "Trial",
    "Wanted",
    "WhyNot",
    "Workspace",
    "announce_server",
    "find_server",
    "withdraw_server",
]  # fmt: skip

JOURNALS = "journal"
"""The folder, inside the state, of the collectors' journals."""
STATE = ".cadenza"
"""The folder, inside the project, of everything that is not a definition."""


def find_server(folder: Path) -> LocalServer | None:
    """The server that holds the store of the project in ``folder``, if one runs."""
    return local_server.find(folder / STATE)


def announce_server(folder: Path, info: ServerInfo) -> None:
    """Say that this process serves the project."""
    local_server.announce(folder / STATE, info)


def withdraw_server(folder: Path) -> None:
    """Take the announcement back."""
    local_server.withdraw(folder / STATE)


class Workspace:
    """One project folder with its state. Close it, or use it in a ``with`` block."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self.clock = clock
        self._state = folder / STATE
        self._ticker: Ticker | None = None
        self._known = self._published = Project()
        self._keys: tuple[Project, dict[str, str]] | None = None

    @staticmethod
    def create(folder: Path, template: str | None = None) -> list[Path]:
        """Write the starter project, or a template of the library, into a folder; what is there is never overwritten.
        Raises TerminalError, and CadenzaError for an unknown template."""
        return write_starter(folder) if template is None else write_project(folder, blueprint_files(template))

    @classmethod
    def open(cls, folder: Path, clock: Clock | None = None) -> Workspace:
        """The project in ``folder``; nothing is read or made yet. Raises OperatingError when there is no folder."""
        if not folder.is_dir():
            raise OperatingError(
                "there is no such folder.", where=str(folder), remedy="'cadenza init FOLDER' makes one."
            )
        return cls(folder, clock or SystemClock())

    # --- definitions ---------------------------------------------------------------------------

    def validate(self) -> Loaded:
        """Read and check the definitions in the folder. Raises DefinitionError with every problem."""
        return load(self.folder)

    def schema(self, kind: str) -> dict[str, Any]:
        """The JSON Schema of a kind of definition. Raises CadenzaError for an unknown kind."""
        known = schemas()
        if kind not in known:
            raise CadenzaError(f"there is no kind of definition '{kind}'.", remedy=near_miss(kind, known))
        return known[kind]

    def plan(self, version: str | None = None) -> Plan:
        """What applying the folder, or an older ``version`` (its fingerprint), would change, with the people it touches.
        Raises DefinitionError, CadenzaError."""
        with self._reading() as engine:
            wanted = older_project(engine, version) if version else self.validate().project
            return plan(engine, current_project(engine), wanted, self._log)

    def apply(self, history_of: str | None = None, version: str | None = None) -> Deployed:
        """Deploy the folder: a record of the log, in force when a tick has decided it. ``history_of``: a file source that is
        to be imported; the project is then in force from its first record on. ``version``: not the folder but what was
        deployed under this fingerprint. Raises DefinitionError, TerminalError, CadenzaError, and BreakingContract where a
        contract does not keep its promise."""
        with self._reading() as engine:
            project = older_project(engine, version) if version else self.validate().project
            refuse_breaking(current_project(engine), project)
        return apply(self._log, project, self._beginning(project, history_of) or self.clock.now())

    def deployed(self) -> Project:
        """The project in force. Raises OperatingError when there is none."""
        with self._reading() as engine:
            return self._in_force(engine)

    # --- the log's way in, the tick, the outbox's way out -------------------------------------------

    def import_source(self, source: str, progress: Callable[[ImportProgress], None] | None = None) -> ImportReport:
        """Append the records of a file source to the log; again stores nothing twice. Raises TerminalError."""
        with self._scratch() as engine:
            return imports.import_source(
                self.validate().project, source, self.folder, engine, self._log, self.clock, progress
            )

    def go_live(self) -> bool:
        """Say in the log that messages planned from now on are real; False when they are already."""
        with self._reading() as engine:
            return go_live(engine, self._log, self.clock)

    def tick(self) -> TickReport | None:
        """Decide what came and what is due now, in one transaction, and publish it; None when there is nothing."""
        with self._ticking() as live:
            report = live.step()
            self._publish_project()
            return report

    def run(self, until: datetime | None = None, progress: Callable[[Progress], None] | None = None) -> TickReport:
        """Tick until the log is consumed and timers until ``until`` are done; None: no further than the last record."""
        with self._ticking() as live:
            report = live.run(until, progress)
            self._publish_project()
            return report

    def collector(self, name: str = "main") -> Collector:
        """A collector, by a name of its own, whose requests come into this project's log; close it before the workspace. Raises LedgerError when
        another process collects for this project under the same name."""
        folder, limits = self._made() / JOURNALS, Limits()
        journal = JournalWriter.open(folder, name, random_id())
        return Collector(MeasuredJournal(journal, self.measures), self.clock, lambda: journal_room(folder, limits))

    @cached_property
    def measures(self) -> Measures:
        """What this process measures of itself. Raises OperatingError when it is to trace itself and cannot."""
        return Measures(self.clock, open_spans(os.environ, self.clock))

    @cached_property
    def screen(self) -> Screen:
        """What rejects single calls at the door, by the contracts in force."""
        return Screen(self._last_known)

    def write_keys(self) -> dict[str, str]:
        """Write key -> source, of the project in force, secrets looked up once per deployment. Raises OperatingError when one is not set."""
        project = self._last_known()
        if self._keys is None or self._keys[0] is not project:
            self._keys = (project, write_keys(project))
        return self._keys[1]

    @cached_property
    def webhooks(self) -> Webhooks:
        """The webhook sources of the project in force: what verifies and maps their requests."""
        return Webhooks(self._last_known, self.clock, resolve_secret, verify_ed25519)

    def deliverer(self) -> Deliverer:
        """What hands messages to the channels of the project in force; its ``run`` is the delivery loop."""
        channels = OpenedChannels(self._last_known, self._made(), self.clock)
        return Deliverer(
            self._outbox, self._sequenced, channels, self._last_known, self.clock, "server", jitter=random_fraction,
            called=self.measures.called,
        )  # fmt: skip

    def mailbox(self) -> Mailbox:
        """The development mailbox of this project."""
        return Mailbox.open(self._made() / MAILBOX_FILE, self.clock)

    # --- reading ------------------------------------------------------------------------------------

    def status(self) -> Status:
        """How far the log is decided, how many people there are, what waits."""
        self._take_in()
        with self._reading() as engine:
            return status(engine, self._log, self.clock, self._outbox.counts(), asdict(self._log.stored_counts()))

    def report(self, as_of: datetime | None = None) -> Report:
        """What happened until ``as_of``; None is as far as the store is. Raises OperatingError before a deployment."""
        refused = self._log.quarantine_counts()
        counts = LogCounts(
            duplicates=self._log.stored_counts().duplicate,
            quarantined=tuple(QuarantineCount(source=s, reason=r, n=n) for (s, r), n in refused.items()),
        )
        with self._reading() as engine:
            return report(engine, self._in_force(engine), counts, as_of)

    def explain(self, person: str, journey: str | None = None) -> Explanation:
        """Everything known of one person (``p_`` and the id, or any identifier), or of the person in one journey."""
        with self._reading() as engine:
            return explain(engine, self._in_force(engine), person, journey)

    def members(self, segment: str, limit: int = 100, after: int = 0) -> list[Member]:
        """Members of a segment with person id > ``after``. Raises CadenzaError for an unknown segment."""
        with self._reading() as engine:
            return members(engine, self._in_force(engine), segment, limit, after)

    @property
    def quarantine(self) -> Quarantine:
        """Refused records: what is there and why, and what may be done about them."""
        self._take_in()
        return Quarantine(self._log, self.deployed, self.clock)

    def messages(
        self, limit: int = 100, state: OutboxState | None = None, person: int | None = None, journey: str | None = None
    ) -> list[OutboxRow]:
        """Messages decided to be sent, newest first, and where each stands."""
        return self._outbox.list(limit, state, person, journey)

    def query(self, sql: str, limit: int = 1_000) -> list[dict[str, Any]]:
        """The rows of one SELECT over the catalogue. Raises ExpressionError for anything else."""
        with self._reading() as engine:
            return engine.records(read_only(sql, limit))

    def export(self, target: Path) -> tuple[Exported, ...]:
        """Every table as a Parquet file in a new folder. Raises OperatingError when it holds files."""
        with self._reading() as engine:
            return export(engine, target)

    # --- care -------------------------------------------------------------------------------------

    @property
    def testing(self) -> JourneyTests:
        """The project's journey tests, run beside everything else: on stores of their own, in memory."""
        return JourneyTests(self.validate, self._scratch, self.clock)

    @property
    def entries(self) -> EntryCalls:
        """Calls that ask for somebody's entry into a journey."""
        return EntryCalls(self._last_known, self._log, self.clock)

    @property
    def contracts(self) -> ContractBook:
        """The tracking plan: list, show, draft from traffic, bring in, take out."""
        return ContractBook(self.folder, lambda: self.validate().project, lambda: self._log)

    @property
    def controls(self) -> Controls:
        """Pause, stop and kill: for journeys that run. What it says is in force when a tick has decided it."""
        return Controls(self._log, lambda: self._outbox, self._reading, self._last_known, self.clock)

    @property
    def suppressions(self) -> Suppressions:
        """Who is not contacted, why, and until when. What it says is in force when a tick has decided it."""
        self._take_in()
        return Suppressions(self._last_known, self._log, self._reading, self.clock)

    @property
    def tasks(self) -> TaskDesk:
        """What journeys handed to people: list, show, and say what was done."""
        self._take_in()
        return TaskDesk(self._reading, lambda: self._log, self.clock)

    @property
    def care(self) -> Care:
        """Archiving, retention, snapshots: for use beside everything else."""
        return Care(self._log, self._outbox, self._archive_files, self.clock, lambda: self._last_known().log)

    @property
    def trials(self) -> Trials:
        """Drafts over the real history, and the days to come, in scratch stores: changes nothing, sends nothing."""
        return Trials(lambda: self._log, self._made(), self._reading, self.clock, os.cpu_count() or 2)

    @property
    def operate(self) -> Operate:
        """The records as they come, and the doctor: for use beside everything else."""
        state = self._made()
        return Operate(self._log, lambda: self._outbox, state, state / JOURNALS, self.clock)

    @property
    def lint(self) -> Linting:
        """What is valid and yet probably not meant, with the people it concerns."""
        return Linting(self.validate, self._reading)

    @property
    def why_not(self) -> Counterfactuals:
        """What would have let a message go, or a person enter."""
        return Counterfactuals(self._reading, self._in_force, lambda: self._log)

    @property
    def alerts(self) -> Alerting:
        """What running journeys stopped doing, or do otherwise than they used to."""
        return Alerting(self._reading, self.clock)

    @property
    def audit(self) -> Auditing:
        """The independent auditor, over the log and what was sent."""
        return Auditing(self._log, self._outbox, self._reading)

    def rebuild(
        self, verify: bool, progress: Callable[[Progress], None] | None = None, without_deleted: bool = False
    ) -> RebuildReport:
        """Make the store anew from the log; ``verify``: only compare the two. Closes this workspace's store. Raises
        LedgerError where retention deleted records, unless ``without_deleted``."""
        self.close()
        return rebuild(self._state, verify, progress, without_deleted)

    def close(self) -> None:
        """Close what was opened. The workspace opens again when it is used again."""
        self.__dict__.pop("_live", None)
        self.__dict__.pop("_sequenced", None)
        for part in ("_engine", "_outbox", "sequencer", "_log", "_archive_files", "measures"):
            opened = self.__dict__.pop(part, None)
            if opened is not None:
                opened.close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- parts, opened when first needed ------------------------------------------------------------

    @cached_property
    def _log(self) -> SqliteLog:
        return SqliteLog.open(self._made() / "log.db", files=self._archive_files)

    @cached_property
    def _archive_files(self) -> ParquetFiles:
        return ParquetFiles()

    @cached_property
    def sequencer(self) -> Sequencer:
        """What moves accepted requests from the collectors' journals into the log."""
        return Sequencer(self._log, self._made() / JOURNALS, self.clock, self._last_known)

    @cached_property
    def _sequenced(self) -> SequencedLog:
        return SequencedLog(self._log, self.sequencer)

    @cached_property
    def _outbox(self) -> SqliteOutbox:
        return SqliteOutbox.open(self._made() / "outbox.db")

    @cached_property
    def _engine(self) -> DuckEngine:
        engine = DuckEngine.open(self._made() / "store.duckdb", threads=os.cpu_count() or 2)
        prepare(engine)
        return engine

    @cached_property
    def _live(self) -> Live:
        self._ticker = Ticker(self._engine, self._log, self._outbox, self.clock)
        return Live(self._ticker, self._engine, self._sequenced, self.clock)

    @contextmanager
    def _ticking(self) -> Iterator[Live]:
        try:
            yield self._live
        except BaseException:
            # The transaction was rolled back; what the ticker remembers may be ahead of it. The next use reads it anew.
            self.__dict__.pop("_live", None)
            raise

    def _last_known(self) -> Project:
        """The project in force: of this process's ticker, or as another process's wrote it down."""
        if self._ticker is not None:
            self._known = self._ticker.project() or self._known
        else:
            self._known = self._deployed_file.project() or self._known
        return self._known

    def _take_in(self) -> None:
        """In the engine's process: who was answered before they ask finds what they sent."""
        if self._ticker is not None:
            self.sequencer.catch_up()

    def _publish_project(self) -> None:
        project = self._last_known()
        if project is not self._published:
            publish(self._made(), project)
            self._published = project

    @cached_property
    def _deployed_file(self) -> DeployedFile:
        return DeployedFile(self._state, self.clock)

    def _made(self) -> Path:
        self._state.mkdir(exist_ok=True)
        return self._state

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        engine = self._engine.reader()
        try:
            yield engine
        finally:
            engine.close()

    @contextmanager
    def _scratch(self) -> Iterator[DuckEngine]:
        engine = DuckEngine.open(None)
        try:
            yield engine
        finally:
            engine.close()

    def _beginning(self, project: Project, source: str | None) -> datetime | None:
        if source is None:
            return None
        with self._scratch() as engine:
            first = imports.first_instant(project, source, self.folder, engine)
        return None if first is None else from_micros(first)

    def _in_force(self, engine: Any) -> Project:
        project = current_project(engine)
        if project is None:
            raise OperatingError(
                "nothing is deployed yet.", where=str(self.folder),
                remedy="'cadenza apply' deploys the project; 'cadenza import SOURCE' does so at the beginning of its history.",
            )  # fmt: skip
        return project
