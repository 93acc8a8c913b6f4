"""Delivery drains the outbox: claim -> gate -> call -> confirm -> report.

**Exit beats send.** A claim notes the log's head; the call begins only when the tick has published everything up to
it, and ``begin`` checks again, in the same transaction that marks the message in flight, that it was not cancelled.
**At most once by guess.** A crash in the call leaves ``ambiguous`` for a channel without idempotency key; with one,
the call is repeated. An outcome goes to the log under the message's id and event, so reporting twice stores it once.

One slow destination holds up only itself: each has its own queue and its own calls, and a destination whose queue is
full is left out of the next claim.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

import msgspec

from cadenza.clock import Clock, to_micros
from cadenza.definitions.kinds import Destination, Template
from cadenza.definitions.project import Project, version_of
from cadenza.errors import CadenzaError, TerminalError, near_miss
from cadenza.faults import fault
from cadenza.ports.channel import Channel, Delivery, Rendered
from cadenza.ports.ledger import Claimed, Ending, Log, NewRecord, Outbox, OutboxMessage
from cadenza.runtime.render import render

T = TypeVar("T")

EVENTS = {"sent": "Message Sent", "failed": "Message Failed", "ambiguous": "Message Ambiguous"}
"""End of a message in the outbox -> name of the event that tells the log."""
CALL_EVENTS = {"sent": "Call Answered", "failed": "Call Failed", "ambiguous": "Call Ambiguous"}
"""The same of a call of a service, whose answer is its end."""
CALL = "call"
"""The class of calls among the outbox's messages."""
SECOND = 1_000_000
Called = Callable[[str, list[str], float], None]
"""Destination, status of each message, seconds."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How delivery paces itself. A claim is used for a call within ``hold_s``, a call takes at most ``call_s``, and both
    fit into the lease, so a lease never runs out under a living call."""

    lease_s: int = 180
    hold_s: int = 45
    call_s: int = 120
    claim_limit: int = 200
    queue_limit: int = 400
    batch: int = 50
    calls: int = 8
    """Calls at once to one destination without idempotency key (one message each); batches are half as many."""
    longest_backoff_s: int = 3600
    idle_poll_s: float = 0.2
    gate_poll_s: float = 0.02


class Deliverer:
    """Hands messages to channels. ``channels`` by destination name; ``project`` gives the definitions in force;
    ``worker`` names this process and no other (its leases of an earlier life are taken back at the start);
    ``jitter`` gives a number in [0, 1); ``called`` is told of each call that has ended."""

    def __init__(
        self, outbox: Outbox, log: Log, channels: Mapping[str, Channel], project: Callable[[], Project], clock: Clock,
        worker: str, *, jitter: Callable[[], float], pace: Pace | None = None, called: Called | None = None,
    ) -> None:  # fmt: skip
        self._called = called
        self._outbox, self._log, self._channels, self._project = outbox, log, channels, project
        self._clock, self._worker, self._jitter, self._pace = clock, worker, jitter, pace or Pace()
        self._queues: dict[str, deque[Claimed]] = {}
        self._calls: dict[str, set[asyncio.Task[None]]] = {}
        self._templates: dict[tuple[str, str], Template] = {}
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="deliver")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._open = threading.Event()
        self._open.set()
        self._recovered = False
        self._report_due = True
        self._expire_due = 0
        self._trouble: str | None = None

    # --- from outside, any thread ---------------------------------------------------------------------

    def wake(self) -> None:
        """The tick has published, or a call has ended: look now rather than at the next poll. Thread-safe."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._woken.set)

    def pause(self) -> None:
        """The kill switch: no call begins after this returns; those under way end. Thread-safe."""
        self._open.clear()

    def resume(self) -> None:
        """Deliver again. Thread-safe."""
        self._open.set()
        self.wake()

    @property
    def paused(self) -> bool:
        return not self._open.is_set()

    @property
    def trouble(self) -> str | None:
        """What keeps delivery from working at present (the ledger cannot be used), or None."""
        return self._trouble

    # --- the loop -------------------------------------------------------------------------------------

    async def run(self, stop_event: asyncio.Event) -> None:
        """Deliver until ``stop_event`` is set; then end the calls under way, give back what is only claimed, report.
        Trouble with the ledger is kept in ``trouble`` and tried again."""
        self._loop = asyncio.get_running_loop()
        stopping = asyncio.ensure_future(stop_event.wait())
        stopping.add_done_callback(lambda _: self._woken.set())
        try:
            while not stop_event.is_set():
                self._woken.clear()
                try:
                    await self._step()
                    self._trouble = None
                except CadenzaError as error:
                    self._trouble = str(error)
                await self._rest()
        finally:
            stopping.cancel()
            await self._stop()

    async def drain(self) -> int:
        """Deliver everything that can be delivered now, without waiting for time or for the tick; how many messages
        were handed over or ended. For tests and for one-shot commands."""
        self._loop = asyncio.get_running_loop()
        ended = 0
        while True:
            moved = await self._step()
            running = [call for calls in self._calls.values() for call in calls]
            if running:
                await asyncio.wait(running)
            reported = await self._report()
            ended += reported
            if not moved and not running and not reported:
                return ended

    async def close(self) -> None:
        """Close the channels and the threads; the ledger stays open."""
        for channel in set(self._channels.values()):
            await channel.close()
        self._threads.shutdown(wait=False)

    async def _rest(self) -> None:
        held = any(self._queues.values())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), self._pace.gate_poll_s if held else self._pace.idle_poll_s)

    async def _stop(self) -> None:
        running = [call for calls in self._calls.values() for call in calls]
        if running:
            await asyncio.wait(running)
        for queue in self._queues.values():
            await self._give_back(list(queue), "delivery stopped")
            queue.clear()
        await self._report()
        self._loop = None

    async def _give_back(self, claims: list[Claimed], detail: str) -> None:
        """Claimed messages become ready again. Only where the lease still stands: after it, the message may already
        have been claimed anew and sent."""
        standing = [claim for claim in claims if claim.lease_until > self._now() + SECOND]
        await self._finish([Ending(claim.message.message_id, "ready", detail) for claim in standing])

    async def _step(self) -> bool:
        """Report, take back leases, claim, call. Whether anything was claimed or begun."""
        if self._report_due:
            await self._report()
        await self._expire()
        if self.paused:
            return False
        claimed = await self._claim()
        begun = await self._start_calls()
        return claimed or begun

    async def _expire(self) -> None:
        now = self._now()
        if now < self._expire_due and self._recovered:
            return
        idempotent = {name for name, channel in self._channels.items() if channel.idempotent}
        restarted = None if self._recovered else self._worker
        if await self._ledger(self._outbox.expire, now, idempotent, restarted):
            self._report_due = True
        self._recovered, self._expire_due = True, now + SECOND

    async def _claim(self) -> bool:
        full = [name for name, queue in self._queues.items() if len(queue) >= self._pace.queue_limit]
        # the head is read before the claim: whatever was accepted before this instant is waited for
        head = (await self._ledger(self._log.head)).offset
        lease, limit = self._pace.lease_s * SECOND, self._pace.claim_limit
        claims = await self._ledger(self._outbox.claim, self._worker, self._now(), lease, limit, head, full)
        if claims:
            fault("deliver.after_claim")
        for claim in claims:
            self._queues.setdefault(claim.message.destination, deque()).append(claim)
        return bool(claims)

    # --- calls ------------------------------------------------------------------------------------------

    async def _start_calls(self) -> bool:
        """Begin as many calls as each destination takes, for claims whose gate is open."""
        if not any(self._queues.values()):
            return False
        through = await self._ledger(self._outbox.published_through)
        usable_until = self._now() + (self._pace.lease_s - self._pace.hold_s) * SECOND
        begun = False
        for name, queue in self._queues.items():
            channel = self._channels.get(name)
            together = channel is None or channel.idempotent
            size, most = (self._pace.batch, max(1, self._pace.calls // 2)) if together else (1, self._pace.calls)
            calls = self._calls.setdefault(name, set())
            while queue and len(calls) < most:
                batch = _take(queue, size, through, usable_until)
                if not batch:
                    break
                call = asyncio.ensure_future(self._call(name, channel, batch))
                calls.add(call)
                call.add_done_callback(lambda done, calls=calls: self._ended(calls, done))
                begun = True
        return begun

    def _ended(self, calls: set[asyncio.Task[None]], done: asyncio.Task[None]) -> None:
        calls.discard(done)
        self._report_due = True
        if not done.cancelled() and (error := done.exception()):
            # the ledger refused: the lease runs out and the message is taken up again or left ambiguous
            self._trouble = str(error)
        self._woken.set()

    async def _call(self, name: str, channel: Channel | None, batch: list[Claimed]) -> None:
        """Render, pass the gate, call, confirm."""
        ready: dict[str, tuple[Claimed, Rendered]] = {}
        broken: list[Ending] = []
        for claim in batch:
            try:
                ready[claim.message.message_id] = (claim, self._rendered(name, channel, claim.message))
            except TerminalError as error:
                broken.append(Ending(claim.message.message_id, "failed", str(error)))
        await self._finish(broken)
        if not ready or channel is None:
            return
        if self.paused:
            await self._give_back([claim for claim, _ in ready.values()], "delivery is paused")
            return
        begun = await self._ledger(self._outbox.begin, list(ready), self._worker, self._now())
        if not begun:
            return
        taken = [ready[message_id] for message_id in begun]
        fault("deliver.before_call")
        began = self._clock.monotonic()
        answers = await self._answers(channel, [rendered for _, rendered in taken])
        fault("deliver.after_call")
        if self._called is not None:
            self._called(name, [answer.status for answer in answers], self._clock.monotonic() - began)
        destination = self._destination(name)
        await self._finish(
            [self._ending(claim, answer, destination) for (claim, _), answer in zip(taken, answers, strict=True)]
        )

    async def _answers(self, channel: Channel, batch: list[Rendered]) -> list[Delivery]:
        """The channel's answers. Whatever else happens in the call is unknown: repeated only where that is safe."""
        unknown: Literal["retry", "ambiguous"] = "retry" if channel.idempotent else "ambiguous"
        try:
            answers = await asyncio.wait_for(channel.send(batch), self._pace.call_s)
        except TimeoutError:
            return [Delivery(status=unknown, detail=f"no answer within {self._pace.call_s} s")] * len(batch)
        except Exception as error:
            return [Delivery(status=unknown, detail=f"{type(error).__name__}: {error}"[:300])] * len(batch)
        if len(answers) != len(batch):
            return [Delivery(status=unknown, detail=f"{len(answers)} answers to {len(batch)} messages")] * len(batch)
        return answers

    def _ending(self, claim: Claimed, answer: Delivery, destination: Destination | None) -> Ending:
        message_id = claim.message.message_id
        detail = answer.detail if answer.provider_id is None else f"{answer.detail} ({answer.provider_id})"
        if answer.status == "accepted" and claim.message.message_class == CALL:
            return Ending(message_id, "sent", answer.answer, whole=True)
        if answer.status == "accepted":
            return Ending(message_id, "sent", detail)
        if answer.status != "retry":
            return Ending(message_id, answer.status, detail)
        attempts, backoff_s = (destination.attempts, destination.backoff_s) if destination else (1, 1)
        if claim.attempt >= attempts:
            return Ending(message_id, "failed", f"given up after {claim.attempt} attempt(s): {detail}")
        wait = backoff_us(claim.attempt, backoff_s, self._pace.longest_backoff_s, self._jitter(), answer.retry_after_s)
        return Ending(message_id, "ready", detail, self._now() + wait)

    def _rendered(self, name: str, channel: Channel | None, message: OutboxMessage) -> Rendered:
        if channel is None:
            raise TerminalError(
                f"There is no destination '{name}'.", where=f"message {message.message_id}",
                remedy=near_miss(name, self._channels),
            )  # fmt: skip
        if message.message_class == CALL:
            if not getattr(channel, "takes_calls", False):
                raise TerminalError(
                    f"The destination '{name}' brings no answers.", where=f"call {message.message_id}",
                    remedy="Call one with the adapter 'webhook'.",
                )  # fmt: skip
            return Rendered(
                message_id=message.message_id, channel=message.channel, address="", subject="", text=message.context,
                html=None, planned_at=message.planned_at, call=True,
            )  # fmt: skip
        template = self._template(message)
        return render(
            template, message.context, message.message_id, address=message.address, planned_at=message.planned_at
        )

    def _template(self, message: OutboxMessage) -> Template:
        """The version the message was decided with; if a newer one was applied before this process saw that, the newer."""
        key = (message.template, message.template_version)
        if key not in self._templates:
            for template in self._project().templates:
                self._templates[template.name, version_of(template)] = template
                self._templates[template.name, ""] = template
        template = self._templates.get(key) or self._templates.get((message.template, ""))
        if template is None:
            raise TerminalError(
                f"There is no template '{message.template}' any more.", where=f"message {message.message_id}",
                remedy="Put it back, or let the journey end those who are in it when you remove it.",
            )  # fmt: skip
        return template

    def _destination(self, name: str) -> Destination | None:
        return next((found for found in self._project().destinations if found.name == name), None)

    # --- outcomes ---------------------------------------------------------------------------------------

    async def _report(self) -> int:
        """Append the outcomes of ended messages to the log, then mark them reported; how many."""
        self._report_due = False
        try:
            return await self._ledger(self._report_some)
        except CadenzaError:
            self._report_due = True
            raise

    def _report_some(self) -> int:
        total = 0
        while ended := self._outbox.unreported(500):
            fault("deliver.before_report")
            records = []
            for message_id, state, detail, at in ended:
                message = self._outbox.message(message_id)
                if message is not None:
                    record = call_record if message.message_class == CALL else outcome_record
                    events = CALL_EVENTS if message.message_class == CALL else EVENTS
                    records.append(record(message, events[state], detail, at))
            self._log.append(records, self._now())
            self._outbox.reported([message_id for message_id, *_ in ended])
            total += len(ended)
        return total

    async def _finish(self, endings: list[Ending]) -> None:
        if endings:
            short = [end if end.whole else msgspec.structs.replace(end, detail=end.detail[:500]) for end in endings]
            await self._ledger(self._outbox.finish_all, short, self._worker, self._now())

    async def _ledger(self, function: Callable[..., T], *arguments: Any) -> T:
        """A call to the ledger in a thread: it waits for the disk."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _now(self) -> int:
        return to_micros(self._clock.now())


def _take(queue: deque[Claimed], size: int, through: int, usable_until: int) -> list[Claimed]:
    """Up to ``size`` claims whose gate is open, from the front. Claims held for too long are dropped: their leases run
    out and they are claimed anew."""
    batch: list[Claimed] = []
    while queue and len(batch) < size:
        if queue[0].lease_until < usable_until:
            queue.popleft()
        elif queue[0].claim_head <= through:
            batch.append(queue.popleft())
        else:
            break
    return batch


def backoff_us(attempt: int, backoff_s: int, longest_s: int, jitter: float, retry_after_s: int | None) -> int:
    """Microseconds until the next attempt: full jitter under an exponential ceiling, but not before the provider allows.

    >>> backoff_us(3, 2, 3600, 0.5, None), backoff_us(1, 2, 3600, 0.0, 30)
    (4000000, 30000000)
    """
    ceiling = min(longest_s, backoff_s * 2 ** min(attempt - 1, 40))
    return max(int(jitter * ceiling * SECOND), (retry_after_s or 0) * SECOND)


def outcome_record(message: OutboxMessage, event: str, detail: str, at: int) -> NewRecord:
    """The log record that says what became of a message. Its id is the message's id and the event."""
    properties = {
        "message_id": message.message_id, "journey": message.journey, "step": message.step,
        "template": message.template, "channel": message.channel, "destination": message.destination,
    }  # fmt: skip
    if detail:
        properties["detail"] = detail
    return _told(message, event, properties, at)


def call_record(message: OutboxMessage, event: str, detail: str, at: int) -> NewRecord:
    """The log record that says what came of a call. An answer that is JSON is its ``answer``; whatever else came is kept
    as ``detail``."""
    properties = {
        "message_id": message.message_id, "journey": message.journey, "step": message.step,
        "destination": message.destination,
    }  # fmt: skip
    if detail:
        properties["answer" if event == CALL_EVENTS["sent"] and _is_json(detail) else "detail"] = detail
    return _told(message, event, properties, at)


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def _told(message: OutboxMessage, event: str, properties: dict[str, str], at: int) -> NewRecord:
    body = {"type": "track", "event": event, "person": message.person, "occurred_at": at, "properties": properties}
    return NewRecord(
        kind="outcome", source="delivery", message_id=f"{message.message_id}:{event}",
        body=msgspec.json.encode(body, order="sorted"),
    )  # fmt: skip
