"""The kinds of definition, as frozen structs. A project is made of these and nothing else.

Every struct is what one YAML document means after parsing: durations in seconds (``_s``), shares in
basis points (``_bp``), expressions as trees. None holds where it was written: locations live beside the project
(``Project.locations``), so that a definition's fingerprint does not change when a comment does.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from cadenza.definitions.definition import Definition
from cadenza.definitions.expression import Expr, Type
from cadenza.definitions.kinds_alerts import (
    AlertCode as AlertCode,
    Alerts as Alerts,
)
from cadenza.definitions.kinds_journey import (
    Absence as Absence,
    Arm as Arm,
    Branch as Branch,
    BreachedArm as BreachedArm,
    Call as Call,
    Enter as Enter,
    Entry as Entry,
    Escalation as Escalation,
    Exit as Exit,
    ExitStep as ExitStep,
    Experiment as Experiment,
    HandOff as HandOff,
    Journey as Journey,
    Jump as Jump,
    Outcome as Outcome,
    OutcomeArm as OutcomeArm,
    Send as Send,
    Split as Split,
    SplitArm as SplitArm,
    Step as Step,
    Subject as Subject,
    Trigger as Trigger,
    Update as Update,
    Wait as Wait,
    WaitFor as WaitFor,
)
from cadenza.definitions.kinds_policy import (
    Cap as Cap,
    Holdout as Holdout,
    Policy as Policy,
    Programme as Programme,
    QuietHours as QuietHours,
    Suppress as Suppress,
)
from cadenza.definitions.kinds_wait import (
    Calendar as Calendar,
    LocalWait as LocalWait,
    OpenHours as OpenHours,
    Weekday as Weekday,
)

# --- sources and contracts ------------------------------------------------------------------


class RecordMapping(Definition, frozen=True, kw_only=True):
    """One kind of record that a file source makes from each row (or group of rows).

    Values are SQL expressions over the file's columns (aggregates allowed where the source groups).
    """

    call: Literal["track", "identify", "page", "screen", "group", "alias"]
    message_id: str
    """SQL text giving an id that is the same whenever the file is read again."""
    timestamp: str
    event: str | None = None
    """The track event's name (plain text, not SQL)."""
    when: str | None = None
    once_per: str | None = None
    """Only the first record (by timestamp) for each value of this SQL expression."""
    user_id: str | None = None
    anonymous_id: str | None = None
    group_id: str | None = None
    previous_id: str | None = None
    properties: dict[str, str] = {}
    traits: dict[str, str] = {}


class Control(Definition, frozen=True, kw_only=True):
    """A control total: an SQL aggregate over the raw file, and the text it must come to (None: only shown)."""

    sql: str
    expect: str | None = None


class Lookup(Definition, frozen=True, kw_only=True):
    """A CSV file joined to the rows: its columns are available as ``name.column``."""

    path: str
    key: str
    on: str


class Hmac(Definition, frozen=True, kw_only=True):
    """Where a signature stands in a request, and over which text it is made. ``content`` is literal text and the
    placeholders ``{body}``, ``{timestamp}``, ``{id}``, ``{method}`` and ``{url}``."""

    header: str
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    layout: Literal["plain", "pairs"] = "plain"
    """``pairs``: the header is ``t=TIMESTAMP,v1=SIGNATURE`` and may hold several ``v1``."""
    content: str = "{body}"
    timestamp_header: str | None = None
    timestamp_format: Literal["seconds", "milliseconds", "iso"] = "seconds"
    id_header: str | None = None


class WebhookRecord(Definition, frozen=True, kw_only=True):
    """One kind of call that is made of a webhook. Values are texts of the payload language (``payload.py``)."""

    name: str
    call: Literal["track", "identify", "group"] | None = None
    """None only until the preset it overrides is filled in."""
    topics: tuple[str, ...] = ()
    """Only webhooks of these topics; none is every topic."""
    each: str | None = None
    """An array of the payload: one call for each of its elements, which the expressions see as ``item``."""
    when: str | None = None
    event: str | None = None
    message_id: str | None = None
    timestamp: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    group_id: str | None = None
    properties: dict[str, str] = {}
    traits: dict[str, str] = {}


class Webhook(Definition, frozen=True, kw_only=True):
    """How the webhooks of a source are verified and read. What a preset says is filled in when it is loaded."""

    preset: str | None = None
    scheme: str | None = None
    hmac: Hmac | None = None
    secrets: tuple[str, ...] = ()
    """``env:NAME`` or ``file:PATH``; any of them may have signed, so that they can be rotated."""
    window_s: int = 300
    """How far the signed timestamp may lie from our clock, either way."""
    url: str | None = None
    """The address the sender knows, where it is part of what is signed."""
    fields: dict[str, Type] = {}
    """Declared types of payload fields, by dotted path; others are JSON of any type."""
    each: str | None = None
    id: str | None = None
    topic: str | None = None
    timestamp: str | None = None
    ignore: tuple[str, ...] = ()
    """Topics that are known and not wanted; ``*`` at the end stands for any rest."""
    without: tuple[str, ...] = ()
    """Records of the preset that are not wanted."""
    records: tuple[WebhookRecord, ...] = ()


class Source(Definition, frozen=True, kw_only=True):
    """Where records come from. ``http`` is the collection API with a write key; ``webhook`` is another system that
    calls; ``file`` is imported."""

    name: str
    kind: Literal["http", "file", "webhook"]
    owner: str = ""
    description: str = ""
    write_key: str | None = None
    """http: the key clients send. Plain text or ``env:NAME``."""
    webhook: Webhook | None = None
    path: str | None = None
    format: Literal["parquet", "csv", "jsonl"] | None = None
    time_zone: str = "UTC"
    """The zone of timestamps in the file that carry none (IANA name)."""
    duplicates: Literal["keep", "drop"] = "keep"
    """file: what to do with rows that are equal in every column. Either way they are counted."""
    group_by: tuple[str, ...] = ()
    lookups: dict[str, Lookup] = {}
    columns: dict[str, str] = {}
    """Derived columns: name -> SQL over the file's row."""
    records: tuple[RecordMapping, ...] = ()
    controls: dict[str, Control] = {}
    """file: totals the file must reconcile with, checked and shown at every import."""


Action = Literal["flag", "drop_field", "quarantine", "reject"]
"""What becomes of a record that breaks a rule: kept and marked; kept without the field, and marked; set aside;
or refused and not kept."""

Sensitivity = Literal["public", "internal", "personal", "sensitive", "secret"]
"""How much harm a field does in wrong hands, least first. From ``personal`` on it is personal data."""


class Property(Definition, frozen=True, kw_only=True):
    """One declared field: a property of an event, a trait of identify, a member of the context."""

    type: Literal["string", "integer", "decimal", "boolean", "timestamp", "object", "array"]
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    enum: tuple[str, ...] = ()
    pattern: str | None = None
    format: Literal["email", "uuid", "uri", "date", "time", "ipv4", "ipv6"] | None = None
    max_length: int | None = None
    personal: bool = False
    sensitivity: Sensitivity | None = None
    """None: ``personal`` where that is true, else ``internal``."""
    purposes: tuple[str, ...] = ()
    """What the field may be used for; empty where nobody has said."""
    owner: str = ""
    description: str = ""
    on_violation: Action | None = None
    """For every rule of this field, over what the contract says."""

    @property
    def sensitivity_class(self) -> Sensitivity:
        """The sensitivity, where ``personal`` alone is said too."""
        return self.sensitivity or ("personal" if self.personal else "internal")

    @property
    def is_personal(self) -> bool:
        """Whether it is personal data, whichever way that is said."""
        return self.personal or self.sensitivity in ("personal", "sensitive", "secret")


class RuleActions(Definition, frozen=True, kw_only=True):
    """What a contract does per kind of rule. None: as ``on_violation`` says; for ``undeclared_field``: keep it."""

    missing: Action | None = None
    type: Action | None = None
    value: Action | None = None
    """A value of the right type that is not in the enum, pattern, format, length or range."""
    undeclared_field: Action | None = None


class Contract(Definition, frozen=True, kw_only=True):
    """What an event must look like. ``name`` is the track event's name, or a call: ``identify`` and ``group`` (their
    traits), ``page``, ``screen``; or ``context`` (the context of every call)."""

    name: str
    version: str = ""
    """For people, as ``1.2.0``. What is in force is known by its content."""
    compatibility: Literal["none", "backward", "forward", "full"] = "none"
    """What every new version promises towards the one before it: see ``compatibility.py``."""
    owner: str = ""
    description: str = ""
    properties: dict[str, Property] = {}
    schema: dict[str, Any] = {}
    """JSON Schema 2020-12 over all fields together, besides ``properties``. Both must hold."""
    on_violation: Action = "quarantine"
    actions: RuleActions = RuleActions()


# --- identity, traits, segments ---------------------------------------------------------------


class Identifier(Definition, frozen=True, kw_only=True):
    """A kind of identifier. ``source``: where it is found: ``userId``, ``anonymousId``, ``traits.X``
    (traits or context.traits), ``properties.X``."""

    type: str
    source: str
    blocked: tuple[str, ...] = ()
    """Values that never identify anyone, besides the built-in ones; ``/.../`` is a pattern."""


ACCOUNT = "account"
"""The type of identifier that names an account."""


class Accounts(Definition, frozen=True, kw_only=True):
    """Accounts are subjects of their own. ``source``: where the calls of persons name theirs; a ``group`` call always does
    in its ``groupId``."""

    source: str = "context.groupId"
    blocked: tuple[str, ...] = ()
    """As of an identifier."""


class Identity(Definition, frozen=True, kw_only=True):
    """How records become persons, and accounts. ``identifiers`` in order of priority, highest first."""

    identifiers: tuple[Identifier, ...]
    accounts: Accounts | None = None
    """None: there are persons only."""


class TraitDefinition(Definition, frozen=True, kw_only=True):
    """A trait of a person: either the last value sent under ``from_`` (``traits.X``), or ``value``."""

    name: str
    type: Type
    from_: str | None = msgspec.field(default=None, name="from")
    value: Expr | None = None
    owner: str = ""
    description: str = ""
    personal: bool = False


class Segment(Definition, frozen=True, kw_only=True):
    """Persons (or accounts) for whom ``when`` is TRUE; membership is kept as intervals."""

    name: str
    when: Expr
    subject: Subject = "person"
    owner: str = ""
    description: str = ""


# --- content, delivery, metrics, the log ------------------------------------------------------------


class LogKeeping(Definition, frozen=True, kw_only=True):
    """How long the log keeps what, and where. None: never (archive), for ever (keep)."""

    archive_after_s: int | None = None
    keep_s: int | None = None
    duplicates_s: int = 30 * 86400


class Template(Definition, frozen=True, kw_only=True):
    """Content of one message. ``subject`` and ``body`` are Liquid with strict variables."""

    name: str
    channel: str
    purpose: str
    message_class: Literal["marketing", "transactional"] = msgspec.field(default="marketing", name="class")
    subject: str = ""
    body: str
    format: Literal["text", "html"] = "text"
    owner: str = ""
    topic: str | None = None
    """What it is about, for caps; None is its purpose."""


def topic_of(template: Template) -> str:
    """The topic under which caps count messages of a template."""
    return template.topic or template.purpose


class Destination(Definition, frozen=True, kw_only=True):
    """Where messages of a channel go. ``settings`` are the adapter's; secrets as ``env:`` or ``file:``."""

    name: str
    channel: str
    adapter: str
    address_trait: str = "email"
    settings: dict[str, str | int | bool] = {}
    attempts: int = 8
    backoff_s: int = 2


class Metric(Definition, frozen=True, kw_only=True):
    """What is counted for a unit after its assignment, within ``within_s``.

    ``sum`` of ``property`` (minus the same of ``minus`` events), ``count`` of events, or ``conversion``
    (1 when there is at least one).
    """

    name: str
    kind: Literal["sum", "count", "conversion"]
    event: str
    property: str | None = None
    minus: str | None = None
    where: Expr | None = None
    within_s: int
    unit_label: str = ""
    description: str = ""
