"""A generated shop: its project as YAML, and a store filled with people by SQL.

50 journeys of eight steps (send, wait_for, branch, split, wait, branch, send, exit), each with its own trigger, predicates
and holdout, in ten arenas; two caps, quiet hours, consent, a suppression rule, a global holdout and priorities for all.
Every person is in two journeys, has had two events and two messages, and lives in one of four time zones.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from cadenza.clock import to_micros
from cadenza.definitions.load import load
from cadenza.definitions.project import Project
from cadenza.ports.engine import Engine
from cadenza.sql.program import Program
from cadenza.store.duckdb_engine import DuckEngine

JOURNEYS = 50
SIGNALS = 25
WRITE_KEY = "bench-shop-key"
NOON = datetime(2026, 3, 2, 12)
FIRST_PID = 1_000_000_000
"""Person ids are log offsets; these people come from no log, so they are numbered where no log of ours will come."""

_BASE = {
    "cadenza.yaml": "project: bench_shop\n",
    "sources/shop.yaml": f"source: shop\nkind: http\nwrite_key: {WRITE_KEY}\n",
    "identity.yaml": "identifiers:\n  - { type: user_id, from: userId }\n  - { type: anonymous_id, from: anonymousId }\n",
    "destinations/all.yaml": "destination: mail\nchannel: email\nadapter: mailbox\naddress: email\n---\n"
    "destination: text\nchannel: sms\nadapter: mailbox\naddress: phone\n",
    "metrics/revenue.yaml": "metric: revenue_28d\nkind: sum\nevent: Order Completed\nproperty: revenue\nwithin: 28 days\n",
    "traits/traits.yaml": """traits:
  email: { type: string, from: traits.email, personal: true }
  phone: { type: string, from: traits.phone, personal: true }
  time_zone: { type: string, from: traits.time_zone }
  plan: { type: string, from: traits.plan }
  open_tickets: { type: integer, from: traits.open_tickets }
  orders: { type: integer, value: "events('Order Completed')" }
  lifetime_revenue: { type: decimal, value: "coalesce(sum_of('Order Completed', revenue), 0)" }
""",
    "segments/segments.yaml": "segment: vip\nwhen: lifetime_revenue > 1000\n---\n"
    "segment: complained\nwhen: events('Complaint Filed', within => '30 days') >= 1\n",
    "policies/contact.yaml": """caps:
  - { name: weekly, limit: 3, per: 7 days, when_full: drop }
  - { name: mails, limit: 2, per: 1 day, channel: email, when_full: defer }
quiet_hours: { from: '21:00', to: '08:00' }
missing_time_zone: drop
suppress:
  - { name: open_ticket, when: open_tickets > 0 }
deadline: 3 days
holdout: { name: nobody_writes, share: 2% }
""",
}


def _contract(name: str, **properties: str) -> str:
    return f"contract: {name}\nproperties:\n" + "".join(f"  {n}: {kind}\n" for n, kind in properties.items())


def _contracts() -> str:
    order = {"order_id": "{ type: string, required: true }", "revenue": "{ type: decimal, required: true }"}
    documents = [_contract("Order Completed", **order), _contract("Complaint Filed", text="{ type: string }")]
    documents += [_contract(f"Signal {n}", amount="{ type: integer }") for n in range(SIGNALS)]
    return "---\n".join(documents)


def _template(name: str, channel: str, subject: str, body: str, purpose: str = "marketing") -> str:
    kind = "marketing" if purpose == "marketing" else "transactional"
    return (
        f"template: {name}\nchannel: {channel}\npurpose: {purpose}\nclass: {kind}\nsubject: {subject}\nbody: '{body}'\n"
    )


def _templates() -> str:
    return "---\n".join([
        _template("hello", "email", "Good to see you", "You ordered {{ orders }} times."),
        _template("offer_a", "email", "Free shipping", "On the {{ plan }} plan it is free."),
        _template("offer_b", "sms", "Bestsellers", "Ours are on sale."),
        _template("reminder", "email", "Still there?", "We wait for you."),
        _template("receipt", "email", "'Receipt {{ entry.order_id }}'", "Thank you.", "service"),
    ])  # fmt: skip


def _journey(n: int) -> str:
    flag, first = (
        (", as: clicked", "      - when: clicked\n        steps: [ { wait: 6 hours } ]\n") if n % 2 else ("", "")
    )
    return f"""journey: journey_{n:02}
owner: bench@shop.example
outcome: {{ metric: revenue_28d }}
priority: {10 + n * 13 % 80}
arena: arena_{n % 10}
entry:
  on: {{ event: Signal {n % SIGNALS}, where: amount >= {n % 7} }}
  when: lifetime_revenue >= {10 * (n % 9)} or plan = 'pro'
  unless: in_segment('complained')
  again: {{ after: 30 days }}
holdout: {{ name: holdout_{n:02}, share: 10% }}
exit:
  goal: event('Order Completed')
  disqualified: not consented('marketing', 'email')
  superseded: true
  time_limit: 14 days
steps:
  - send: hello
  - wait_for: {{ any: [ event('Email Link Clicked') ], until: 1 day{flag} }}
  - branch:
{first}      - when: lifetime_revenue < {n % 5}
        steps: [ {{ exit: small }} ]
      - unknown: [ {{ exit: unknown }} ]
      - otherwise: []
  - split:
      name: split_{n:02}
      arms:
        a: {{ share: 50%, steps: [ {{ send: offer_a }} ] }}
        b: {{ share: 50%, steps: [ {{ send: offer_b }} ] }}
  - wait: 2 days
  - branch:
      - when: orders >= {3 + n % 3}
        steps: [ {{ exit: satisfied }} ]
      - unknown: [ {{ exit: unknown }} ]
      - otherwise: []
  - send: reminder
  - exit: completed
"""


_RECEIPT = """journey: receipts
owner: bench@shop.example
outcome: { metric: revenue_28d }
priority: 90
arena: receipts
entry: { on: { event: Order Completed }, key: order_id, again: once }
exit: { goal: event('Complaint Filed'), disqualified: email is null, superseded: false, time_limit: 1 day }
steps:
  - send: receipt
"""


def write_project(folder: Path, journeys: int = JOURNEYS, receipts: bool = False) -> None:
    """Write the project's files. ``receipts``: one more journey that confirms every order at once (transactional)."""
    documents = [_journey(n) for n in range(journeys)] + ([_RECEIPT] if receipts else [])
    files = _BASE | {
        "contracts/events.yaml": _contracts(),
        "templates/all.yaml": _templates(),
        "journeys/all.yaml": "---\n".join(documents),
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def make_project(folder: Path, journeys: int = JOURNEYS) -> Project:
    """The project, read and checked as ``apply`` would."""
    write_project(folder, journeys)
    return load(folder).project


# --- people -----------------------------------------------------------------------------------------------

_PEOPLE = """
CREATE OR REPLACE TEMP TABLE b_person AS
SELECT i, {first} + i AS pid, 'c' || i AS name, TIMESTAMP '{at}' AS noon,
  ['Europe/London', 'Europe/Berlin', 'America/New_York', 'Asia/Tokyo'][1 + i % 4] AS time_zone,
  CASE WHEN i % 3 = 0 THEN 'pro' ELSE 'free' END AS plan, i % 20 = 7 AS ticket, i % 10 <> 9 AS granted,
  i % 5 < 3 AS ordered, CAST(20 + i * 7919 % 300 AS DECIMAL(18, 4)) AS revenue
FROM range({n}) AS r(i)
"""

_FILL = (
    "INSERT INTO person SELECT pid, noon - INTERVAL 30 DAY, NULL FROM b_person",
    "INSERT INTO identifier SELECT 'user_id', name, pid FROM b_person",
    "INSERT INTO link SELECT pid, noon - INTERVAL 30 DAY, pid, 'new', 'user_id', name, NULL, 1.0 FROM b_person",
    """INSERT INTO event BY NAME SELECT pid AS offset_, pid, pid AS origin_pid, 'track' AS type, 'Signal ' || (i % {signals}) AS name,
       noon - INTERVAL 20 DAY AS occurred_at, noon - INTERVAL 20 DAY AS recorded_at, 'shop' AS source, 'a' || i AS message_id, i % 10 AS p_amount FROM b_person""",
    """INSERT INTO event BY NAME SELECT pid + {n} AS offset_, pid, pid AS origin_pid, 'track' AS type,
       CASE WHEN ordered THEN 'Order Completed' ELSE 'Email Link Clicked' END AS name, noon - INTERVAL 10 DAY AS occurred_at, noon - INTERVAL 10 DAY AS recorded_at,
       'shop' AS source, 'b' || i AS message_id, CASE WHEN ordered THEN revenue END AS p_revenue, CASE WHEN ordered THEN 'o' || i END AS p_order_id FROM b_person""",
    """INSERT INTO event_payload SELECT pid, '{{"amount":' || (i % 10) || '}}', NULL FROM b_person""",
    """INSERT INTO event_payload SELECT pid + {n}, '{{"order_id":"o' || i || '","revenue":' || revenue || '}}', NULL FROM b_person WHERE ordered""",
    """INSERT INTO trait_value SELECT pid, pid, trait, value, noon - INTERVAL 30 DAY, noon - INTERVAL 30 DAY, 0, NULL, pid, 'record' FROM (
       SELECT pid, noon, unnest(['email', 'phone', 'time_zone', 'plan', 'open_tickets']) AS trait,
         unnest([name || '@shop.example', '+49' || (1000000 + i), time_zone, plan, CASE WHEN ticket THEN '1' ELSE '0' END]) AS value FROM b_person)""",
    """INSERT INTO consent SELECT pid, pid, 'marketing', channel, granted, noon - INTERVAL 30 DAY, pid, 'shop', NULL FROM (
       SELECT pid, noon, granted, unnest(['email', 'sms']) AS channel FROM b_person)""",
    """INSERT INTO profile BY NAME SELECT pid, name || '@shop.example' AS t_email, '+49' || (1000000 + i) AS t_phone, time_zone AS t_time_zone, plan AS t_plan,
       CASE WHEN ticket THEN 1 ELSE 0 END AS t_open_tickets, CASE WHEN ordered THEN 1 ELSE 0 END AS t_orders,
       CASE WHEN ordered THEN revenue ELSE 0 END AS t_lifetime_revenue, FALSE AS s_vip, FALSE AS s_complained,
       granted AS c_marketing_email, granted AS c_marketing_sms, FALSE AS c_service_email FROM b_person""",
    """INSERT INTO message BY NAME SELECT 'old-' || i || '-' || k AS message_id, -2 * i - k AS eid, pid, pid AS origin_pid, 1 AS jid, 0 AS step, 'hello' AS template,
       '' AS template_version, 'email' AS channel, 'mail' AS destination, 'marketing' AS message_class, 'marketing' AS purpose, name || '@shop.example' AS address,
       noon - to_hours(CAST(20 + k * 70 + i % 60 AS BIGINT)) AS planned_at, '{{}}' AS context, FALSE AS deliverable, 0 AS wave
       FROM b_person CROSS JOIN range(2) AS k(k) ORDER BY planned_at""",
)  # fmt: skip

_ENROLL = """
INSERT INTO enrollment BY NAME
SELECT 10 * pid + {slot} AS eid, pid, pid AS origin_pid, r.jid, '' AS key, noon - INTERVAL 2 DAY AS entered_at, pid AS entry_offset,
  noon + INTERVAL 12 DAY AS limit_at, r.step, {wake} AS wake_at, NULL AS due_since
FROM (SELECT *, {journey} AS jid FROM b_person) AS p JOIN b_rest AS r ON r.jid = p.jid AND r.choice = p.i % r.choices ORDER BY pid
"""


def fill(engine: Engine, program: Program, persons: int, at: datetime, due: datetime | None = None) -> None:
    """Fill the deployed store with ``persons`` people, as of ``at``, each in two journeys.

    Their timers are spread over the day after ``at``; with ``due`` the first timer of everyone is due at that instant,
    at a wait before a branch, a split and a send, and the second not for days.
    """
    journeys = len(program.versions)
    spread = "noon + to_seconds(60 + (i * 7919 + {shift}) % 86400)"
    with engine.transaction():
        engine.execute(_PEOPLE.format(first=FIRST_PID, at=at, n=persons))
        for statement in _FILL:
            engine.execute(statement.format(n=persons, signals=SIGNALS))
        first = spread.format(shift=0) if due is None else f"TIMESTAMP '{due}'"
        second = spread.format(shift=43) if due is None else "noon + INTERVAL 10 DAY"
        # The arenas of the two differ: they are the journeys' numbers modulo ten.
        both = (
            (f"1 + i % {journeys}", first),
            (f"1 + (i % {journeys} + 1 + i // {journeys} % 9) % {journeys}", second),
        )
        _rests(engine, program, only_first=due is not None)
        for slot, (journey, wake) in enumerate(both):
            engine.execute(_ENROLL.format(slot=slot, journey=journey, wake=wake))
        engine.execute("DROP TABLE b_person")
        engine.execute("DROP TABLE b_rest")
    engine.execute("CHECKPOINT")


def _rests(engine: Engine, program: Program, only_first: bool) -> None:
    """Where people may rest: the waits of each journey, or only its first."""
    rows = []
    for version in program.versions.values():
        stops = [s.step for s in version.graph.stops if s.kind in ("wait", "wait_for")] or [0]
        waits = [s.step for s in version.graph.stops if s.kind == "wait_for"][:1] if only_first else stops
        rows += [(version.jid, i, len(waits), step) for i, step in enumerate(waits)]
    values = ", ".join(str(row) for row in rows)
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE b_rest AS SELECT * FROM (VALUES {values}) AS v(jid, choice, choices, step)"
    )


def happens(number: int, person: int, at: datetime) -> dict[str, object]:
    """The ``number``-th event of the shop: 45 % signals, 20 % orders, 35 % clicks. All of them can change a decision."""
    kind = number * 37 % 100
    if kind < 45:
        name, properties = f"Signal {number * 11 % SIGNALS}", {"amount": number % 10}
    elif kind < 65:
        name, properties = "Order Completed", {"order_id": f"n{number}", "revenue": 10 + number % 90}
    else:
        name, properties = "Email Link Clicked", {}
    return {"type": "track", "event": name, "userId": f"c{person}", "occurred_at": to_micros(at), "properties": properties}  # fmt: skip


# --- what a bare database would do -----------------------------------------------------------------------------


class Written:
    """The rows that were written to a store since this was made, to be written again without any thought."""

    def __init__(self, engine: DuckEngine, tables: Iterable[str]) -> None:
        self._engine = engine
        self._before = {table: self._count(table) for table in tables}

    def _count(self, table: str) -> int:
        return self._engine.query(f"SELECT count(*) FROM {table}")[0][0]

    def collect(self) -> dict[str, int]:
        """Set the new rows of every table aside, and the enrollments that moved; how many of each."""
        found = {}
        for table, before in self._before.items():
            query = f"SELECT * FROM {table} OFFSET {before}"
            if table == "enrollment":
                query = "SELECT e.* FROM enrollment AS e SEMI JOIN (SELECT eid FROM new_transition UNION ALL SELECT eid FROM new_enrollment_end) AS t ON t.eid = e.eid"
            self._engine.execute(f"CREATE OR REPLACE TEMP TABLE new_{table} AS {query}")
            found[table] = self._count(f"new_{table}")
            self._engine.execute(f"CREATE TABLE bare_{table} AS SELECT * FROM {table} LIMIT 0")
        return {table: n for table, n in found.items() if n}

    def write_bare(self) -> None:
        """INSERT .. SELECT of the same rows into tables without indexes, one transaction."""
        with self._engine.transaction():
            for table in self._before:
                self._engine.execute(f"INSERT INTO bare_{table} SELECT * FROM new_{table}")

    def drop(self) -> None:
        """Take the copies away again."""
        for table in self._before:
            self._engine.execute(f"DROP TABLE bare_{table}")
            self._engine.execute(f"DROP TABLE new_{table}")


WRITTEN = ("event", "event_payload", "transition", "enrollment_end", "decision", "message", "refusal", "assignment",
           "membership", "cancellation", "enrollment")  # fmt: skip
"""Tables that ticks append to; ``enrollment`` last: its moved rows are found by the transitions and the ends."""


def spread_instants(start: datetime, count: int) -> list[int]:
    """``count`` strictly increasing instants (µs) from ``start`` on, one microsecond apart."""
    first = to_micros(start)
    return [first + i for i in range(count)]


def later(at: datetime, seconds: float) -> datetime:
    """The instant ``seconds`` after ``at``."""
    return at + timedelta(seconds=seconds)
