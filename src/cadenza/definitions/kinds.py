"""The kinds of definition, as frozen structs. A project is made of these and nothing else.

Every struct is what one YAML document means after parsing: durations in seconds (``_s``), shares in
basis points (``_bp``), expressions as trees. None holds where it was written: locations live beside the project
(``Project.locations``), so that a definition's fingerprint does not change when a comment does.
"""

from __future__ import annotations

from typing import Any, Literal, Union

import msgspec

from cadenza.definitions.expression import Expr, Type


class _Definition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of the structs below."""


# --- sources and contracts ------------------------------------------------------------------


class RecordMapping(_Definition, frozen=True, kw_only=True):
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


class Control(_Definition, frozen=True, kw_only=True):
    """A control total: an SQL aggregate over the raw file, and the text it must come to (None: only shown)."""

    sql: str
    expect: str | None = None


class Lookup(_Definition, frozen=True, kw_only=True):
    """A CSV file joined to the rows: its columns are available as ``name.column``."""

    path: str
    key: str
    on: str


class Hmac(_Definition, frozen=True, kw_only=True):
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


class WebhookRecord(_Definition, frozen=True, kw_only=True):
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


class Webhook(_Definition, frozen=True, kw_only=True):
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


class Source(_Definition, frozen=True, kw_only=True):
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


class Property(_Definition, frozen=True, kw_only=True):
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


class RuleActions(_Definition, frozen=True, kw_only=True):
    """What a contract does per kind of rule. None: as ``on_violation`` says; for ``undeclared_field``: keep it."""

    missing: Action | None = None
    type: Action | None = None
    value: Action | None = None
    """A value of the right type that is not in the enum, pattern, format, length or range."""
    undeclared_field: Action | None = None


class Contract(_Definition, frozen=True, kw_only=True):
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


class Identifier(_Definition, frozen=True, kw_only=True):
    """A kind of identifier. ``source``: where it is found: ``userId``, ``anonymousId``, ``traits.X``
    (traits or context.traits), ``properties.X``."""

    type: str
    source: str
    blocked: tuple[str, ...] = ()
    """Values that never identify anyone, besides the built-in ones; ``/.../`` is a pattern."""


class Identity(_Definition, frozen=True, kw_only=True):
    """How records become persons. ``identifiers`` in order of priority, highest first."""

    identifiers: tuple[Identifier, ...]


class TraitDefinition(_Definition, frozen=True, kw_only=True):
    """A trait of a person: either the last value sent under ``from_`` (``traits.X``), or ``value``."""

    name: str
    type: Type
    from_: str | None = msgspec.field(default=None, name="from")
    value: Expr | None = None
    owner: str = ""
    description: str = ""
    personal: bool = False


class Segment(_Definition, frozen=True, kw_only=True):
    """Persons for whom ``when`` is TRUE; membership is kept as intervals."""

    name: str
    when: Expr
    owner: str = ""
    description: str = ""


# --- journeys ----------------------------------------------------------------------------------


class Trigger(_Definition, frozen=True, kw_only=True):
    """What makes a person a candidate: a track event (``where`` TRUE), or a change of a segment."""

    event: str | None = None
    where: Expr | None = None
    segment: str | None = None
    change: Literal["entered", "left"] = "entered"


class Entry(_Definition, frozen=True, kw_only=True):
    """Trigger, qualification (``when``), suppression (``unless``), re-entry (``again``), entry key.

    ``again``: ``once``; ``after_exit``; or ``after`` with ``again_after_s`` since the last entry.
    ``key``: an expression over the triggering event's properties; None is the person.
    """

    on: Trigger
    when: Expr | None = None
    unless: Expr | None = None
    again: Literal["once", "after_exit", "after"] = "once"
    again_after_s: int = 0
    key: Expr | None = None


class Holdout(_Definition, frozen=True, kw_only=True):
    """The share of candidates that is assigned to get nothing, for measurement."""

    name: str
    share_bp: int


class Exit(_Definition, frozen=True, kw_only=True):
    """The four exits, checked at every item in this order."""

    goal: Expr
    disqualified: Expr
    superseded: bool
    time_limit_s: int


class Outcome(_Definition, frozen=True, kw_only=True):
    """The primary outcome metric of a journey and its unit."""

    metric: str
    unit: Literal["person"] = "person"


class Send(_Definition, frozen=True, kw_only=True, tag_field="step", tag="send"):
    template: str


class Wait(_Definition, frozen=True, kw_only=True, tag_field="step", tag="wait"):
    duration_s: int


class WaitFor(_Definition, frozen=True, kw_only=True, tag_field="step", tag="wait_for"):
    any: tuple[Expr, ...]
    until_s: int
    as_: str | None = msgspec.field(default=None, name="as")


class Arm(_Definition, frozen=True, kw_only=True):
    when: Expr
    steps: tuple["Step", ...]


class Branch(_Definition, frozen=True, kw_only=True, tag_field="step", tag="branch"):
    """The first arm whose ``when`` is not FALSE decides: TRUE takes the arm, NULL takes ``unknown``."""

    arms: tuple[Arm, ...]
    unknown: tuple["Step", ...]
    otherwise: tuple["Step", ...]


class SplitArm(_Definition, frozen=True, kw_only=True):
    name: str
    share_bp: int
    steps: tuple["Step", ...]


class Split(_Definition, frozen=True, kw_only=True, tag_field="step", tag="split"):
    """A sticky random split: bucket(name, person) against cumulated shares, in the order written."""

    name: str
    arms: tuple[SplitArm, ...]


class Update(_Definition, frozen=True, kw_only=True, tag_field="step", tag="update"):
    """Set traits (of kind ``from``) to literals."""

    set: dict[str, str | int | float | bool]


class ExitStep(_Definition, frozen=True, kw_only=True, tag_field="step", tag="exit"):
    """End here. The reason is the author's word, default ``completed``."""

    reason: str = "completed"


Step = Union[Send, Wait, WaitFor, Branch, Split, Update, ExitStep]


class Journey(_Definition, frozen=True, kw_only=True):
    name: str
    owner: str
    outcome: Outcome
    entry: Entry
    exit: Exit
    steps: tuple[Step, ...]
    priority: int = 50
    arena: str | None = "default"
    """Journeys of one arena compete for a person; None competes with nobody."""
    holdout: Holdout | None = None
    in_flight: Literal["pin", "exit"] = "pin"
    """What a new version does with those inside an older one."""
    description: str = ""


# --- governance, content, delivery, metrics ----------------------------------------------------------


class Cap(_Definition, frozen=True, kw_only=True):
    """At most ``limit`` marketing messages per person in any ``per_s`` seconds (rolling), over all
    journeys; ``channel`` None counts every channel."""

    name: str
    limit: int
    per_s: int
    channel: str | None = None
    when_full: Literal["defer", "drop"] = "drop"


class QuietHours(_Definition, frozen=True, kw_only=True):
    """Local times (``HH:MM``) between which marketing waits; may pass midnight."""

    from_: str = msgspec.field(name="from")
    to: str


class Suppress(_Definition, frozen=True, kw_only=True):
    """Marketing is withheld while ``when`` is TRUE or unknown."""

    name: str
    when: Expr


class LogKeeping(_Definition, frozen=True, kw_only=True):
    """How long the log keeps what, and where. None: never (archive), for ever (keep)."""

    archive_after_s: int | None = None
    keep_s: int | None = None
    duplicates_s: int = 30 * 86400


class Policy(_Definition, frozen=True, kw_only=True):
    """The contact policy of the project; there is one."""

    caps: tuple[Cap, ...] = ()
    quiet_hours: QuietHours | None = None
    time_zone_trait: str = "time_zone"
    missing_time_zone: str = "drop"
    """``drop``, or the IANA zone to assume."""
    suppress: tuple[Suppress, ...] = ()
    deadline_s: int = 3 * 86400
    """A message that would have to wait longer than this is dropped."""
    holdout: Holdout | None = None
    """A global holdout: its units get no marketing from any journey."""


class Template(_Definition, frozen=True, kw_only=True):
    """Content of one message. ``subject`` and ``body`` are Liquid with strict variables."""

    name: str
    channel: str
    purpose: str
    message_class: Literal["marketing", "transactional"] = msgspec.field(default="marketing", name="class")
    subject: str = ""
    body: str
    format: Literal["text", "html"] = "text"
    owner: str = ""


class Destination(_Definition, frozen=True, kw_only=True):
    """Where messages of a channel go. ``settings`` are the adapter's; secrets as ``env:`` or ``file:``."""

    name: str
    channel: str
    adapter: str
    address_trait: str = "email"
    settings: dict[str, str | int | bool] = {}
    attempts: int = 8
    backoff_s: int = 2


class Metric(_Definition, frozen=True, kw_only=True):
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
