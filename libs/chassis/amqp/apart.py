"""A publisher with a connection of its own.

A broker whose memory or disk runs out stops reading from connections that publish, acknowledgements included. Who must
go on consuming then, because that is what makes room again, publishes apart from it.
"""

from __future__ import annotations

from collections.abc import Sequence

from aio_pika.abc import AbstractConnection

from libs.chassis.amqp.connection import forever
from libs.chassis.amqp.message import Outgoing, Receipt
from libs.chassis.amqp.publisher import Publisher
from libs.chassis.errors import ConnectionLost
from libs.chassis.lifecycle import Part


class PublisherApart(Part):
    """Publishes while its connection is up; of what is given to it at another time nothing is known."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(name)
        self._url = url
        self._publisher: Publisher | None = None

    async def run(self) -> None:
        """Be connected, over as many connections as it takes."""
        await forever(self._url, self.name, self._session, self.stopping)

    async def publish(self, batch: Sequence[Outgoing], *, within: float = 5.0) -> list[Receipt]:
        """As `Publisher.publish` does, but without a connection it only answers that nothing is known."""
        if self._publisher is not None:
            try:
                return await self._publisher.publish(batch, within=within)
            except ConnectionLost:
                # `forever` sees it too, and connects anew.
                pass
        return [Receipt.UNKNOWN] * len(batch)

    async def _session(self, connection: AbstractConnection) -> None:
        self._publisher = Publisher(connection)
        try:
            await self.stopping.wait()
        finally:
            publisher, self._publisher = self._publisher, None
            await publisher.close()
