"""The places between two effects, by name. A process of the test build can be told to do something at each.

A point lies before or after a call of the product (`seam`). What lies between two points is one effect, such as a
commit, a confirm or a `fork`; whoever dies between them leaves just that half done. `lie` is what the caller is told
although the effect has happened: the answer was lost on its way back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import asyncpg

from libs.chassis.amqp.message import Receipt
from libs.chassis.errors import ConnectionLost
from libs.contracts.topology import TRIGGERS

Kind = Literal["scheduler", "ingest", "web", "runner", "shim"]


@dataclass(frozen=True)
class Point:
    """One place. `applies` looks at the call's arguments and its answer (None before the call)."""

    name: str
    seam: str
    when: Literal["before", "after"]
    says: str
    applies: Callable[[tuple[Any, ...], Any], bool] = lambda _arguments, _answer: True
    lie: Callable[[Any], Any] | None = None

    @property
    def kind(self) -> str:
        """The processes that have it."""
        return self.name.partition(".")[0]


def _lost_session(_: Any) -> Any:
    raise asyncpg.ConnectionDoesNotExistError("the connection was closed in the middle of the operation")


def _lost_channel(_: Any) -> Any:
    raise ConnectionLost("the channel was closed in the middle of the operation")


def _unknown(receipts: Any) -> Any:
    return [Receipt.UNKNOWN] * len(receipts)


def _done(_arguments: tuple[Any, ...], answer: Any) -> bool:
    return bool(answer)


def _of_type(prefix: str) -> Callable[[tuple[Any, ...], Any], bool]:
    return lambda arguments, _answer: bool(arguments[1]) and arguments[1][0].type.startswith(prefix)


def _of_queue(end: str) -> Callable[[tuple[Any, ...], Any], bool]:
    return lambda arguments, _answer: arguments[0].queue.endswith(end)


def _told(*names: str) -> Callable[[tuple[Any, ...], Any], bool]:
    return lambda arguments, _answer: type(arguments[1]).__name__ in names


def _to(exchange: str) -> Callable[[tuple[Any, ...], Any], bool]:
    return lambda arguments, _answer: getattr(arguments[1][0], "exchange", None) == exchange


_PUBLISH = "libs.chassis.amqp.publisher:Publisher.publish"
_WRITE = "libs.chassis.amqp.publisher:Publisher._write"
_ACK = "libs.chassis.amqp.subscription:Subscription.ack"
_CLAIM = "services.scheduler.claim:Claimer.claim"
_MARK = "services.scheduler.drain:Drain._mark"
_DRAIN = "services.scheduler.drain:Drain._drain"
_REQUEST = "services.host_runner.runner:Runner.request"
_APPLY = "services.host_runner.runner:Runner.apply"
_TELL = "services.host_runner.runner:Runner.tell"
_SPAWN = "services.host_runner.process:spawn"
_FOLD = "services.api.ingest.results:take_in"
_COMMIT = "services.api.ingest.results:Results._in_one_transaction"
_STORE = "services.api.ingest.dead_letters:store"
_STORED = "services.api.ingest.dead_letters:DeadLetterBox.handle"
_CHANGE = "services.api.transactions:change"

POINTS: tuple[Point, ...] = (
    # A fire, from the claim to the broker.
    Point("scheduler.claim.decided", "libs.ledger.decisions:decide_due", "after", "rows written, not committed"),
    Point("scheduler.claim.committed", _CLAIM, "after", "committed, not published", _done, _lost_session),
    Point("scheduler.publish.taken", _PUBLISH, "before", "taken from the outbox, nothing sent", _of_type("trigger")),
    Point("scheduler.publish.written", _WRITE, "after", "on its way to the broker, not confirmed", _to(TRIGGERS)),
    Point("scheduler.publish.confirmed", _PUBLISH, "after", "confirmed, not marked", _of_type("trigger"), _unknown),
    Point("scheduler.mark.written", _MARK, "after", "marked, not committed"),
    Point(
        "scheduler.mark.committed",
        _DRAIN,
        "after",
        "marked and committed",
        lambda _, answer: answer[0] > 0,
        _lost_session,
    ),
    # The outbox of commands.
    Point("scheduler.command.taken", _PUBLISH, "before", "a command taken, nothing sent", _of_type("command.fence")),
    Point(
        "scheduler.command.confirmed",
        _PUBLISH,
        "after",
        "a command confirmed, not marked",
        _of_type("command.fence"),
        _unknown,
    ),
    # A trigger on its host.
    Point("runner.trigger.received", _REQUEST, "before", "delivered, not decided"),
    Point(
        "runner.journal.writing",
        "services.host_runner.journal:Journal._insert_event",
        "after",
        "in the journal, not committed",
    ),
    Point("runner.trigger.journaled", _REQUEST, "after", "in the journal, not acknowledged"),
    Point(
        "runner.trigger.acknowledged", _ACK, "after", "acknowledged, not begun", _of_queue(".triggers"), _lost_channel
    ),
    Point("runner.spawn.begun", _SPAWN, "before", "about to start the shim"),
    Point("runner.spawn.done", _SPAWN, "after", "the shim is started, nobody watches it yet"),
    Point("shim.mark.begun", "Record.mark", "before", "the shim lives, without its mark"),
    Point("shim.mark.made", "Record.mark", "after", "the mark is there, no script yet"),
    Point("shim.forked", "Tree.fork", "after", "the script's process exists"),
    Point("runner.start.journaled", _APPLY, "after", "the start is in the journal", _told("RunStarted")),
    Point("shim.ended", "Shim.report", "before", "the script is dead, its status not written"),
    Point("shim.reported", "Shim.report", "after", "the status is written"),
    Point("runner.exit.seen", _APPLY, "before", "the end is seen, not in the journal", _told("RunExited")),
    Point("runner.exit.journaled", _APPLY, "after", "the end is in the journal", _told("RunExited")),
    # Results.
    Point(
        "runner.events.taken", _PUBLISH, "before", "events taken from the journal, nothing sent", _of_type("execution")
    ),
    Point(
        "runner.events.confirmed", _PUBLISH, "after", "events confirmed, not marked", _of_type("execution"), _unknown
    ),
    Point("runner.events.marked", "services.host_runner.journal:Journal.confirmed", "after", "events marked"),
    Point("ingest.batch.folded", _FOLD, "after", "folded, not committed"),
    Point("ingest.batch.committed", _COMMIT, "after", "committed, not acknowledged", lambda *_: True, _lost_session),
    Point("ingest.batch.acknowledged", _ACK, "after", "acknowledged", _of_queue("results.persist"), _lost_channel),
    Point("ingest.letters.stored", _STORE, "after", "dead letters written, not committed"),
    Point(
        "ingest.letters.committed",
        _STORED,
        "after",
        "dead letters committed, not acknowledged",
        lambda *_: True,
        _lost_session,
    ),
    # A change, from a person to the host and back.
    Point(
        "web.change.committed",
        _CHANGE,
        "after",
        "a change is committed, nobody is told",
        lambda *_: True,
        _lost_session,
    ),
    Point(
        "runner.command.journaled",
        _TELL,
        "after",
        "a command is in the journal, not acknowledged",
        _told("Fence", "Cancel"),
    ),
    Point(
        "runner.command.acknowledged",
        _ACK,
        "after",
        "a command is acknowledged, not done",
        _of_queue(".commands"),
        _lost_channel,
    ),
)

BY_NAME = {point.name: point for point in POINTS}
