"""What goes to the centre: the journal's events in order and confirmed, hellos, heartbeats.

An event stays in the journal until the broker has confirmed it; a repeated one has the same `message_id`. Heartbeats
are of the moment: not kept, not repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

from libs.chassis.amqp.message import Outgoing, Receipt
from libs.chassis.amqp.publisher import Publisher
from libs.chassis.backoff import delays
from libs.chassis.logs import get_logger
from libs.chassis.metrics import gauge
from libs.contracts import DeviceInfo, DeviceState, Envelope, HostHeartbeat, HostHello, ScriptInfo, encode
from services.host_runner.concurrency import either, pause
from services.host_runner.core.facts import device_state
from services.host_runner.journal import APP_ID
from services.host_runner.runner import Runner

BATCH = 500
CONFIRM_SECONDS = 10.0
CLOCK_EVERY = timedelta(seconds=60)
BETWEEN_HEARTBEATS_SECONDS = 1.0
"""However often the devices change, no host says so more often."""

UNSENT = gauge("host_unsent_events", "Events that the broker has not confirmed")

log = get_logger(__name__)


class Outbound:
    """Says what there is to say. `new_id` draws ids for what the journal does not number."""

    def __init__(
        self,
        runner: Runner,
        devices: tuple[DeviceInfo, ...],
        *,
        boot_id: str,
        version: str,
        heartbeat_seconds: float,
        new_id: Callable[[], UUID],
    ) -> None:
        self._runner = runner
        self._devices = devices
        self._boot_id = boot_id
        self._version = version
        self._heartbeat_seconds = heartbeat_seconds
        self._new_id = new_id
        self._scripts: tuple[ScriptInfo, ...] = ()
        self._hello_wanted = asyncio.Event()
        self._clock_asked_at: datetime | None = None

    def offer(self, scripts: tuple[ScriptInfo, ...]) -> None:
        """These are the host's scripts now; a hello tells it if they are others than before."""
        if scripts != self._scripts:
            self._scripts = scripts
            self._hello_wanted.set()

    async def events(self, publisher: Publisher, stopping: asyncio.Event) -> None:
        """Send what the journal holds, as it comes; with `stopping` set, what is left, then return."""
        runner, journal = self._runner, self._runner.journal
        pauses = delays()
        while True:
            runner.has_news.clear()
            batch = journal.unsent(BATCH)
            UNSENT.set(len(batch))
            if batch:
                receipts = await publisher.publish(
                    [_outgoing(event.envelope) for event in batch], within=CONFIRM_SECONDS
                )
                taken = [
                    event.sequence
                    for event, receipt in zip(batch, receipts, strict=True)
                    if receipt is Receipt.CONFIRMED
                ]
                journal.confirmed(taken, runner.now())
                if len(taken) == len(batch):
                    pauses = delays()
                    continue
                seconds = next(pauses)
                log.warning("Events are not confirmed", events=len(batch) - len(taken), again_in_seconds=seconds)
                await asyncio.sleep(seconds)
            elif stopping.is_set():
                return
            else:
                await runner.has_news.wait()

    async def hellos(self, publisher: Publisher, stopping: asyncio.Event) -> None:
        """Say hello at once, and again when there is news of the host itself."""
        pauses = delays()
        while not stopping.is_set():
            self._hello_wanted.clear()
            receipts = await publisher.publish([self._hello()], within=CONFIRM_SECONDS)
            if receipts == [Receipt.CONFIRMED]:
                pauses = delays()
                await either(self._hello_wanted, stopping)
            else:
                await pause(next(pauses), stopping)

    async def heartbeats(self, publisher: Publisher, stopping: asyncio.Event) -> None:
        """Say that the host lives, every so many seconds, and within a second what else its devices do now."""
        loop, moved = asyncio.get_running_loop(), self._runner.has_moved
        due_at = loop.time()
        said: tuple[DeviceState, ...] | None = None
        while not stopping.is_set():
            moved.clear()
            is_due, states = loop.time() >= due_at, self._states()
            if is_due or states != said:
                # Only the regular ones ask for the time: a busy host would ask for it with each of its runs.
                beat = self._heartbeat(states, may_ask=is_due)
                receipts = await publisher.publish([beat], within=self._heartbeat_seconds)
                said = states if receipts == [Receipt.CONFIRMED] else None
                if is_due:
                    due_at = loop.time() + self._heartbeat_seconds
                await pause(min(BETWEEN_HEARTBEATS_SECONDS, self._heartbeat_seconds), stopping)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(due_at - loop.time(), 0.0)):
                    await either(moved, stopping)

    def _hello(self) -> Outgoing:
        runner, now = self._runner, self._runner.now()
        hello = HostHello(
            host=runner.identity.host,
            journal_id=runner.identity.journal_id,
            runner_id=runner.identity.runner_id,
            boot_id=self._boot_id,
            runner_version=self._version,
            held=tuple(run.id for run in runner.host.held()),
            host_sent_at=now,
            max_parallel=runner.host.max_parallel,
            devices=self._devices,
            scripts=self._scripts,
        )
        return _outgoing(encode(hello, message_id=f"hello:{self._new_id()}", at=now, app_id=APP_ID))

    def _states(self) -> tuple[DeviceState, ...]:
        return tuple(device_state(self._runner.host, device.device_id) for device in self._devices)

    def _heartbeat(self, states: tuple[DeviceState, ...], *, may_ask: bool) -> Outgoing:
        runner, now = self._runner, self._runner.now()
        wants_clock = may_ask and (
            runner.readings.are_few
            or self._clock_asked_at is None
            or not timedelta() <= now - self._clock_asked_at < CLOCK_EVERY
        )
        if wants_clock:
            self._clock_asked_at = now
        heartbeat = HostHeartbeat(
            host=runner.identity.host,
            journal_id=runner.identity.journal_id,
            runner_id=runner.identity.runner_id,
            host_sent_at=now,
            clock_offset_seconds=runner.host.clock_offset_seconds,
            wants_clock=wants_clock,
            devices=states,
            unsent_events=runner.journal.count_unsent(),
        )
        envelope = encode(heartbeat, message_id=f"heartbeat:{self._new_id()}", at=now, app_id=APP_ID)
        return _outgoing(envelope, is_passing=True)


def _outgoing(envelope: Envelope, *, is_passing: bool = False) -> Outgoing:
    return Outgoing(
        exchange=envelope.exchange,
        routing_key=envelope.routing_key,
        body=envelope.body,
        message_id=envelope.message_id,
        type=envelope.type,
        correlation_id=envelope.correlation_id,
        app_id=envelope.app_id,
        timestamp=envelope.timestamp,
        headers=envelope.headers,
        persistent=not is_passing,
        mandatory=not is_passing,
        content_type=envelope.content_type,
    )
