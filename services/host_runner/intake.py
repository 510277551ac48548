"""What comes from the centre: commands first, then triggers, one at a time, each decided, written, acknowledged, done.

Triggers are consumed on a connection only once no command waits: a fence that was sent before a trigger must be known
before it. A new journal waits for its first sync besides.

Both are consumed on the channel of the runner's presence, so that an echo that comes back there speaks for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.declare import depth
from libs.chassis.amqp.message import Incoming
from libs.chassis.amqp.subscription import Subscription
from libs.chassis.amqp.watchdog import Watchdog
from libs.chassis.logs import get_logger
from libs.contracts import (
    Cancel,
    Clock,
    ContractError,
    Fence,
    Lock,
    Message,
    Notice,
    Resend,
    Sync,
    Trigger,
    Unlock,
    Void,
    decode,
)
from libs.contracts.topology import commands_queue, triggers_queue
from services.host_runner.concurrency import either, pause
from services.host_runner.core.vocabulary import Command as Todo
from services.host_runner.runner import Runner

LOOK_AGAIN_SECONDS = 0.05

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the intake needs of a session: the consumer whose channel it shares, and who watches it."""

    presence: Subscription
    watchdog: Watchdog


class Intake:
    """Consumes both queues of the host."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._host = runner.identity.host
        self._commands_taken = 0
        self._has_command_in_hand = False

    async def commands(self, connection: AbstractConnection, at: Desk, stopping: asyncio.Event) -> None:
        """Consume commands until `stopping`; the one in hand is finished."""
        queue = commands_queue(self._host)
        subscription = await Subscription.open(connection, queue, prefetch=1, stopping=stopping, beside=at.presence)
        try:
            with at.watchdog.watching(subscription):
                while (delivery := await subscription.next()) is not None:
                    self._has_command_in_hand = True
                    await self._take(subscription, delivery, queue, self._told)
                    self._commands_taken += 1
                    self._has_command_in_hand = False
        finally:
            self._has_command_in_hand = False
            await subscription.close()

    async def triggers(self, connection: AbstractConnection, at: Desk, stopping: asyncio.Event) -> None:
        """Consume triggers, once no command is left, until `stopping`; the one in hand is finished."""
        await self._until_told_all(connection, stopping)
        if stopping.is_set():
            return
        queue = triggers_queue(self._host)
        subscription = await Subscription.open(connection, queue, prefetch=1, stopping=stopping, beside=at.presence)
        try:
            log.info("Admitting triggers", host=self._host)
            with at.watchdog.watching(subscription):
                while (delivery := await subscription.next()) is not None:
                    await self._take(subscription, delivery, queue, self._requested)
        finally:
            await subscription.close()

    async def _until_told_all(self, connection: AbstractConnection, stopping: asyncio.Event) -> None:
        """Return once a first sync was seen and there is no command left, ready or delivered.

        Two looks: a command that left the queue just before the first may still be on its way on the other channel,
        and is here before the second one's answer.
        """
        await either(self._runner.synced, stopping)
        quiet_looks = 0
        taken = self._commands_taken
        while quiet_looks < 2 and not stopping.is_set():
            ready, consumers = await depth(connection, commands_queue(self._host))
            # We consume it: a busy leader that does not answer in time is shown as empty and without a consumer.
            is_quiet = bool(consumers) and not ready and not self._has_command_in_hand and taken == self._commands_taken
            taken = self._commands_taken
            quiet_looks = quiet_looks + 1 if is_quiet else 0
            if not is_quiet:
                await pause(LOOK_AGAIN_SECONDS, stopping)

    async def _take(
        self,
        subscription: Subscription,
        delivery: Incoming,
        queue: str,
        decide: Callable[[Message], tuple[Todo, ...]],
    ) -> None:
        """Decide and write down, acknowledge, do.

        A message that is not for us, or not in the contract, is rejected: the broker has it in the dead letters before
        it leaves the queue. A host may not write there itself.
        """
        try:
            todo = decide(decode(delivery.type, delivery.body))
        except ContractError as error:
            log.warning("A message goes to the dead letters", queue=queue, id=delivery.message_id, reason=str(error))
            await subscription.reject(delivery.delivery_tag)
            return
        try:
            await subscription.ack(delivery.delivery_tag)
        finally:
            # It is decided, whether or not the broker hears of it: a redelivery does nothing.
            self._runner.perform(todo)

    def _requested(self, message: Message) -> tuple[Todo, ...]:
        if not isinstance(message, Trigger):
            raise ContractError(f"{message.type} is no trigger")
        self._refuse_strangers(message.host)
        return self._runner.request(message)

    def _told(self, message: Message) -> tuple[Todo, ...]:
        if not isinstance(message, Fence | Cancel | Void | Lock | Unlock | Sync | Clock | Resend | Notice):
            raise ContractError(f"{message.type} is no command")
        self._refuse_strangers(message.host)
        return self._runner.tell(message)

    def _refuse_strangers(self, host: str) -> None:
        if host != self._host:
            raise ContractError(f"it is for the host {host!r}, this is {self._host!r}")
