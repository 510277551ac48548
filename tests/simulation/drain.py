"""The outbox on its way to the broker: by whoever holds the host's shard, in order, marked when it is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from libs.contracts import Command, Trigger
from libs.contracts.topology import commands_queue, triggers_queue
from services.scheduler.drain import LONGEST_RETRY_SECONDS, RETURNED, UNDELIVERABLE
from services.scheduler.returned import Returned
from tests.simulation.broker import DEAD, Broker, Receipt
from tests.simulation.ledger import Ledger
from tests.simulation.queues import Letter
from tests.simulation.room import Room
from tests.simulation.rows import Parcel

UNDELIVERABLE_SECONDS = 10.0
"""How long a message is tried for which there is no queue (`RIGBEAT_UNDELIVERABLE_SECONDS`)."""


def queue_of(message: Trigger | Command) -> str:
    """Where a message for a host goes."""
    return triggers_queue(message.host) if isinstance(message, Trigger) else commands_queue(message.host)


class Drains:
    """What all schedulers do of it. `alive` holds their lives by number, `dies` asks whether one does now."""

    def __init__(
        self, room: Room, ledger: Ledger, broker: Broker, alive: dict[int, int], dies: Callable[[int], bool]
    ) -> None:
        self._room = room
        self._ledger = ledger
        self._broker = broker
        self._alive = alive
        self._dies = dies
        self._draining: dict[str, tuple[int, int]] = {}
        self._rung: set[str] = set()
        self._returned: dict[tuple[int, int], Returned[UUID]] = {}

    def ring(self, host: str, delay: float) -> None:
        """The outbox has news of this host, or is looked at again."""
        if host not in self._rung:
            self._rung.add(host)
            self._room.agenda.after(delay, self._drain, host)

    def _drain(self, host: str) -> None:
        """outbox.sql: shards and unpublished: what is not late, in order."""
        self._rung.discard(host)
        holder = self._draining.get(host)
        if not self._alive or (holder is not None and self._alive.get(holder[0]) == holder[1]):
            return
        now = self._room.now
        waiting = self._ledger.unpublished.get(host, {})
        parcels = [each for each in waiting.values() if each.not_after is None or each.not_after > now]
        if not parcels:
            return
        number = self._room.dice.choice(list(self._alive))
        life = self._alive[number]
        self._draining[host] = number, life
        batch = []
        for each in parcels:
            seconds = None if each.not_after is None else (each.not_after - now).total_seconds()
            batch.append((self._broker.queues[queue_of(each.message)], Letter(each.message, seconds)))
        self._broker.publish(batch, lambda receipts: self._published(host, (number, life), parcels, receipts))

    def _published(self, host: str, who: tuple[int, int], parcels: list[Parcel], receipts: list[Receipt]) -> None:
        """drain.py: _drain and _mark: confirmed ones are marked, hopeless ones are buried, the rest is tried again."""
        number, life = who
        if self._alive.get(number) != life or self._dies(number):
            return
        sent = [each for each, receipt in zip(parcels, receipts, strict=True) if self.is_sent(receipt)]
        returned = {each.id: each for each, heard in zip(parcels, receipts, strict=True) if heard is Receipt.RETURNED}
        hopeless = self.hopeless(who, [each.id for each in parcels], list(returned))
        sent += self._bury(returned[identity] for identity in returned if identity in hopeless)
        self._ledger.mark_published(sent)
        out = {each.id for each in sent} | (returned.keys() - hopeless)
        for each in parcels:
            if each.id not in out:
                each.attempts += 1  # outbox.sql: mark_attempt
        self._draining.pop(host, None)
        if self._ledger.unpublished.get(host):
            self.ring(host, self._room.lag() if len(sent) == len(parcels) else LONGEST_RETRY_SECONDS)

    def hopeless(self, who: tuple[int, int], tried: list[UUID], returned: list[UUID]) -> frozenset[UUID]:
        """What has come back for long enough; the product's own decision, of one scheduler's life."""
        if who not in self._returned:
            self._returned[who] = Returned(UNDELIVERABLE_SECONDS)
        return self._returned[who].given_up(tried, returned, self._room.now.timestamp())

    def _bury(self, parcels: Iterable[Parcel]) -> list[Parcel]:
        """drain.py: _bury: those that are safe with the dead letters."""
        dead = self._broker.queues[DEAD]
        if not dead.is_there:
            return []
        buried = list(parcels)
        for parcel in buried:
            queue = self._broker.queues[queue_of(parcel.message)]
            self._ledger.checks.gave_up(parcel.message, (self._room.now - queue.absent_since).total_seconds())
            dead.put([Letter(parcel.message, death=(RETURNED if parcel.attempts else UNDELIVERABLE, ""))])
        return buried

    @staticmethod
    def is_sent(receipt: Receipt) -> bool:
        """Whether the broker has it for certain."""
        return receipt is Receipt.CONFIRMED
