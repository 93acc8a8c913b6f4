"""The process that is killed: delivers everything in a folder once, through a real channel. Arguments: folder, adapter, port."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from cadenza.adapters import open_channel
from cadenza.clock import SystemClock
from cadenza.definitions.kinds import Destination, Template
from cadenza.definitions.project import Project
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.runtime.deliver import Deliverer


async def main(folder: Path, adapter: str, port: str) -> None:
    settings = {
        "smtp": {"host": "127.0.0.1", "port": int(port), "security": "none", "from": "shop@shop.example"},
        "webhook": {"url": f"http://127.0.0.1:{port}/", "allow_private": True},
        "mailbox": {},
    }[adapter]
    destination = Destination(name="d", channel="email", adapter=adapter, settings=settings)
    template = Template(name="hello", channel="email", purpose="news", subject="Hi", body="Hello {{ first_name }}")
    project = Project(templates=(template,), destinations=(destination,))
    outbox, log = SqliteOutbox.open(folder / "outbox.db"), SqliteLog.open(folder / "log.db")
    channels = {"d": open_channel(destination, folder)}
    deliverer = Deliverer(
        outbox, log, channels, lambda: project, SystemClock(), "worker", jitter=random.Random(1).random
    )
    for _ in range(3):
        # the tick, which consumes what delivery reported, so that the gate opens for what is claimed after it
        outbox.publish([], [], log.head().offset)
        await deliverer.drain()
    await deliverer.close()
    outbox.close()
    log.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
