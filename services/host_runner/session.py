"""The runner's one connection to the broker: presence first, then commands, then triggers, beside them what it says.

One connection for all of it, so that they end together: who may no longer consume does not look alive either. It is
opened anew for ever; what was not acknowledged comes again, what was not confirmed is sent again. Only when the
connection looks well and the broker gives its consumers nothing any more, the process ends (`ConsumerSilent`).
"""

from __future__ import annotations

import asyncio

from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.connection import forever
from libs.chassis.amqp.publisher import Publisher
from libs.chassis.amqp.subscription import Subscription
from libs.chassis.amqp.watchdog import EchoPath, Watchdog, watched
from libs.chassis.errors import NotLetIn, Refused
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.contracts.topology import LOGS, echo_key, presence_queue
from services.host_runner.concurrency import either, pause, together
from services.host_runner.enrolment import Enrolment
from services.host_runner.intake import Desk, Intake
from services.host_runner.journal import APP_ID
from services.host_runner.keys import Keys
from services.host_runner.live_output import LiveOutput
from services.host_runner.outbound import Outbound
from services.host_runner.runner import Runner

FIRST_PATIENCE_SECONDS = 5.0
"""The broker may still hold the presence of a runner that was just killed."""
PATIENCE_SECONDS = 30.0
"""Our own former connection may live on in the broker until it misses the AMQP heartbeats (2 × 10 s)."""
ASK_AGAIN_SECONDS = 0.5
AFTER_REFUSAL_SECONDS = 5.0
"""Between two times that new credentials are asked for."""

log = get_logger(__name__)


class PresenceTakenError(Exception):
    """Another runner serves this host."""


class Session(Part):
    """Connects, for as long as the process lives. Ends by itself, `refused`, when another runner serves the host."""

    name = "broker"

    def __init__(
        self,
        keys: Keys,
        enrolment: Enrolment,
        runner: Runner,
        intake: Intake,
        outbound: Outbound,
        live: LiveOutput,
        *,
        watchdog_seconds: float,
    ) -> None:
        super().__init__()
        self._keys = keys
        self._enrolment = enrolment
        self._runner = runner
        self._intake = intake
        self._outbound = outbound
        self._live = live
        self._watchdog_seconds = watchdog_seconds
        self._patience = FIRST_PATIENCE_SECONDS
        self.refused: str | None = None
        self.ready = False

    async def run(self) -> None:
        """The body."""
        name = f"host-runner {self._runner.identity.host}"
        await either(self._keys.there, self.stopping)
        while not self.stopping.is_set():
            try:
                await forever(lambda: self._keys.amqp_url, name, self._work, self.stopping, on_down=self._on_down)
                return
            except NotLetIn as error:
                if not self._keys.is_own:
                    raise
                # The broker was given a new password and its answer was lost, or it lost its users.
                log.warning(
                    "The broker does not know this host's user; new credentials are asked for", reason=str(error)
                )
                await self._enrolment.renewed()
                await pause(AFTER_REFUSAL_SECONDS, self.stopping)
            except PresenceTakenError as error:
                self.refused = str(error)
                return

    def _on_down(self, _: Exception) -> None:
        self.ready = False

    async def _work(self, connection: AbstractConnection) -> None:
        presence = await self._presence(connection)
        if presence is None:
            return
        self._patience = PATIENCE_SECONDS
        publisher = Publisher(connection, user=self._keys.user)
        # On a channel of their own: events that nobody confirms must not make the host look dead.
        pulse = Publisher(connection, user=self._keys.user)
        desk = Desk(
            presence,
            Watchdog(connection, pulse, self._echo_path(), limit_seconds=self._watchdog_seconds),
        )
        quiet = asyncio.Event()
        self.ready = True
        try:
            await together(
                self._consume(connection, desk, quiet),
                self._outbound.hellos(publisher, self.stopping),
                self._outbound.heartbeats(pulse, self.stopping),
                self._outbound.events(publisher, quiet),
                self._live.publish(connection, self.stopping),
            )
        finally:
            self.ready = False
            await pulse.close()
            await publisher.close()

    async def _consume(self, connection: AbstractConnection, desk: Desk, quiet: asyncio.Event) -> None:
        try:
            with desk.watchdog.watching(desk.presence):
                await watched(
                    together(
                        self._hear_echoes(desk),
                        self._intake.commands(connection, desk, self.stopping),
                        self._intake.triggers(connection, desk, self.stopping),
                    ),
                    desk.watchdog.run(self.stopping),
                )
        finally:
            await desk.presence.close()
        # Nothing is decided for the centre any more: what is said from now on is the last of it.
        quiet.set()
        self._runner.has_news.set()

    async def _presence(self, connection: AbstractConnection) -> Subscription | None:
        """The exclusive consumer that makes this the one runner of the host. Raises `PresenceTakenError`."""
        queue = presence_queue(self._runner.identity.host)
        give_up_at = asyncio.get_running_loop().time() + self._patience
        while not self.stopping.is_set():
            try:
                return await Subscription.open(connection, queue, prefetch=1, stopping=self.stopping, exclusive=True)
            except Refused as error:
                if asyncio.get_running_loop().time() >= give_up_at:
                    raise PresenceTakenError(
                        f"another runner serves the host {self._runner.identity.host!r} "
                        f"(it holds {queue}): stop it first, or give this one a name of its own"
                    ) from error
            await pause(ASK_AGAIN_SECONDS, self.stopping)
        return None

    async def _hear_echoes(self, desk: Desk) -> None:
        """All that comes to the presence: what it is, the watchdog finds."""
        while (delivery := await desk.presence.next()) is not None:
            desk.watchdog.hear(delivery)
            await desk.presence.ack(delivery.delivery_tag)

    def _echo_path(self) -> EchoPath:
        identity = self._runner.identity
        return EchoPath(LOGS, echo_key(identity.host), APP_ID, str(identity.runner_id), clock=self._runner.now)
