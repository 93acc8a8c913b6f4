"""A shop whose big orders are handed to people, on a clock that stands still until it is moved."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from cadenza.clock import VirtualClock, to_micros
from cadenza.ports.ledger import NewRecord
from cadenza.runtime.tasks import TaskRow, TaskWanted
from cadenza.workspace import Workspace

START = datetime(2024, 5, 6, 9)

JOURNEY = """
journey: big_order
owner: sales@shop.example
outcome: { metric: revenue_28d }
arena: null
entry:
  on: { event: Order Completed, where: revenue > 500 }
  again: after_exit
exit:
  goal: event('Page Viewed')
  disqualified: orders > 5
  superseded: false
  time_limit: 30 days
steps:
  - hand_off:
      team: sales
      title: Thank for the order
      due: 2 days
      priority: 80
      context: [orders, lifetime_revenue, last_order_at, first_name]
      recent_events: 3
      hold_marketing: true
      escalate: { to: leads, after: 1 hour, due: 1 day }
      outcomes:
        won: { steps: [ { exit: won } ] }
        lost: { steps: [ { wait: 1 day } ] }
      breached: { steps: [ { exit: given_up } ] }
"""


class Shop:
    """The workspace with its clock. ``say`` appends a call of a customer and decides it."""

    @staticmethod
    def create_files(folder: Path, files: Mapping[str, str | None]) -> None:
        """The starter project with these files besides; None takes a file or a folder away."""
        Workspace.create(folder)
        for name, text in files.items():
            if text is not None:
                (folder / name).write_text(text)
            elif (folder / name).is_dir():
                shutil.rmtree(folder / name)
            else:
                (folder / name).unlink()

    def __init__(self, folder: Path, journey: str | None = JOURNEY) -> None:
        """``journey``: besides those of the starter project; None: the folder is a project already."""
        if journey is not None:
            self.create_files(folder, {"journeys/big_order.yaml": journey})
        self.clock = VirtualClock(START - timedelta(days=1))
        self.workspace = Workspace.open(folder, self.clock)
        self.workspace.apply()
        self.tick()
        self.clock.advance_to(START)
        self._n = 0

    def say(self, who: str, event: str | None = None, properties: dict[str, Any] | None = None, **more: Any) -> None:
        self.note(who, event, properties, **more)
        self.later(seconds=1)

    def note(self, who: str, event: str | None = None, properties: dict[str, Any] | None = None, **more: Any) -> None:
        """Append a call of a customer; the next tick decides it."""
        self._n += 1
        at = to_micros(self.clock.now())
        body = {"type": "track" if event else "identify", "userId": who, "occurred_at": at, **more}
        body |= {"event": event, "properties": properties or {}} if event else {}
        record = NewRecord(kind="call", source="website", message_id=f"m{self._n}", body=msgspec.json.encode(body))
        self.workspace._log.append([record], at)

    def order(self, who: str, revenue: float = 900) -> None:
        self.say(who, "Order Completed", {"order_id": "A-1", "revenue": revenue})

    def later(self, **span: float) -> None:
        """Let time pass and decide what came and what is due."""
        self.clock.advance_to(self.clock.now() + timedelta(**span))
        self.tick()

    def tick(self) -> None:
        while (report := self.workspace.tick()) is not None and report.more:
            pass

    def task(self, state: str = "any") -> TaskRow:
        """The one task in this state."""
        [row] = self.workspace.tasks.list(TaskWanted(state=state))
        return row

    def ends(self) -> list[str]:
        return [row["reason"] for row in self.workspace.query("SELECT reason FROM enrollment_end ORDER BY ts, eid")]

    def changes(self) -> list[tuple[str, str | None]]:
        """(change, why it was refused) of everything that happened to tasks."""
        rows = self.workspace.query("SELECT change, refused FROM task_change ORDER BY ts, coalesce(offset_, 0), wave")
        return [(row["change"], row["refused"]) for row in rows]
