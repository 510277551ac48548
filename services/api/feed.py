"""The change feed of the ledger, read once by each web worker and handed to all of its clients.

A reader stands at a position; what commits later comes after it, in an order that is the same for every worker
(`ledger.feed_after` holds back what an open transaction could still precede). So a client that was cut off goes on with
any worker: it is given what lies between its own position and the worker's, and from there on what the others get.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from libs.chassis.backoff import delays
from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.ledger import channels
from libs.ledger.listener import Listener
from libs.ledger.pool import DATABASE_AWAY, Connection
from services.api.core.feed import Change, Cursor, Position, latest, seen_by, whole_transactions
from services.api.database import Database
from services.api.frames import Frame, frame_of, reset_frame
from services.api.problems import ProblemError, unavailable
from services.api.resources import load
from services.api.statements import SQL
from services.api.subscriber import Subscriber

log = get_logger(__name__)

AT_ONCE = 500
"""Rows of the feed in one go."""

LOOK_EVERY_SECONDS = 5.0
"""A notification only wakes; whoever listens also looks by himself."""

FIRST_RETRY_SECONDS = 0.02
LONGEST_RETRY_SECONDS = 0.5
READY_SECONDS = 5.0


class Feed(Part):
    """Reads while there are clients; their number costs no query. `database` and the listener are rigbeat_ingest's."""

    name = "feed"

    def __init__(self, url: str) -> None:
        super().__init__()
        self._database = Database(url, most=3)
        self._wake = asyncio.Event()
        self._listener = Listener(
            url, {channels.CHANGES: self._woken}, application="rigbeat-api-feed", on_listening=self._wake.set
        )
        self._subscribers: set[Subscriber] = set()
        self._wanted = asyncio.Event()
        self._standing = asyncio.Event()
        self._cursor: Cursor | None = None

    def parts(self) -> tuple[Part, ...]:
        """What is to be started and stopped with it, itself the last."""
        return self._database, self._listener, self

    async def run(self) -> None:
        """Read until told to stop."""
        told = asyncio.create_task(self.stopping.wait())
        told.add_done_callback(lambda _: self._wanted.set())
        try:
            await self._work()
        finally:
            told.cancel()
            for subscriber in tuple(self._subscribers):
                subscriber.end()

    async def subscribe(self, team: UUID | None) -> Subscriber:
        """A reader of what comes from now on (`team` None: of all teams); to be closed. Raises `unavailable`."""
        subscriber = Subscriber(team, self._leave)
        self._subscribers.add(subscriber)
        self._wanted.set()
        try:
            await asyncio.wait_for(self._standing.wait(), READY_SECONDS)
        except TimeoutError:
            subscriber.close()
            raise unavailable("The change feed cannot be read: the database is away") from None
        except asyncio.CancelledError:
            subscriber.close()
            raise
        assert self._cursor is not None
        subscriber.begin(self._cursor)
        return subscriber

    async def catch_up(self, since: Cursor, until: Cursor, team: UUID | None) -> AsyncIterator[Sequence[Frame]]:
        """What lies after `since`, up to `until` and all of it, in portions; one `reset` if that cannot be had."""
        async with self._database.connection() as connection:
            head = await connection.fetchrow(SQL.feed_head)
        assert head is not None
        forgotten = Position(int(head["forgotten_xid"]), head["forgotten_id"])
        if since.epoch != head["ledger_epoch"] or since.position < forgotten or since.position.xid > int(head["xmax"]):
            yield [reset_frame(until)]
            return
        at = since.position
        while at < until.position:
            async with self._database.connection() as connection:
                changes = await _read(connection, at, team)
                due = [change for change in changes if change.position <= until.position]
                frames = await _frames(connection, due, since.epoch, team)
            if frames:
                yield frames
            if len(due) < len(changes) or not changes:
                return
            at = changes[-1].position

    async def _work(self) -> None:
        pauses = delays()
        while not self.stopping.is_set():
            if not self._subscribers:
                self._cursor = None
                self._standing.clear()
                self._wanted.clear()
                await self._wanted.wait()
                continue
            try:
                await self._follow()
                pauses = delays()
            except (*DATABASE_AWAY, ProblemError) as error:
                pause = next(pauses)
                log.warning("The change feed cannot be read", error=str(error), again_in_seconds=pause)
                await self._sleep(pause, woken=False)

    async def _follow(self) -> None:
        """Read and hand out, as long as somebody wants it."""
        retries = delays(FIRST_RETRY_SECONDS, 2, LONGEST_RETRY_SECONDS)
        while self._subscribers and not self.stopping.is_set():
            self._wake.clear()
            async with self._database.connection() as connection:
                cursor = await self._stand(connection)
                changes = await _read(connection, cursor.position, None)
                if changes:
                    await self._hand_out(connection, changes, cursor.epoch)
                    retries = delays(FIRST_RETRY_SECONDS, 2, LONGEST_RETRY_SECONDS)
                    continue
                position = cursor.position
                is_behind = await connection.fetchval(SQL.feed_is_behind, str(position.xid), position.id)
            await self._sleep(next(retries) if is_behind else LOOK_EVERY_SECONDS, woken=not is_behind)

    async def _stand(self, connection: Connection) -> Cursor:
        """Where we are: the head at first, and again when the ledger was restored."""
        head = await connection.fetchrow(SQL.feed_head)
        assert head is not None
        if self._cursor is None or self._cursor.epoch != head["ledger_epoch"]:
            is_new = self._cursor is None
            self._cursor = Cursor(head["ledger_epoch"], Position(int(head["xmin"]), 0))
            if not is_new:
                for subscriber in self._subscribers:
                    subscriber.give([reset_frame(self._cursor)], self._cursor)
            self._standing.set()
        return self._cursor

    async def _hand_out(self, connection: Connection, changes: Sequence[Change], epoch: int) -> None:
        resources = await load(connection, changes)
        cursor = Cursor(epoch, changes[-1].position)
        frames: dict[UUID | None, list[Frame]] = {}
        # No awaiting from here on: who subscribes meanwhile would not know where we are.
        for subscriber in self._subscribers:
            if subscriber.team not in frames:
                told = latest(seen_by(changes, subscriber.team))
                frames[subscriber.team] = [f for c in told if (f := frame_of(c, epoch, resources)) is not None]
            subscriber.give(frames[subscriber.team], cursor)
        self._cursor = cursor

    async def _sleep(self, seconds: float, *, woken: bool) -> None:
        waiting = [asyncio.create_task(self.stopping.wait())]
        if woken:
            waiting.append(asyncio.create_task(self._wake.wait()))
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    def _woken(self, _payload: str) -> None:
        self._wake.set()

    def _leave(self, subscriber: Subscriber) -> None:
        self._subscribers.discard(subscriber)
        if not self._subscribers:
            self._wake.set()


async def _read(connection: Connection, after: Position, team: UUID | None) -> Sequence[Change]:
    records = await connection.fetch(SQL.feed_after, str(after.xid), after.id, team, AT_ONCE)
    changes = [Change(Position(int(r["xid"]), r["id"]), r["team_id"], r["kind"], r["resource_id"]) for r in records]
    return whole_transactions(changes, AT_ONCE)


async def _frames(connection: Connection, changes: Sequence[Change], epoch: int, team: UUID | None) -> list[Frame]:
    resources = await load(connection, changes)
    return [f for c in latest(seen_by(changes, team)) if (f := frame_of(c, epoch, resources)) is not None]
