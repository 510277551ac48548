"""The broker's exchanges, queues and bindings, as data (architecture 5; names are fixed).

Types, limits and overflow are explicit because defaults differ between RabbitMQ 3.x and 4.x (a delivery limit of -1 is
"unlimited" on 4.x and acts as 0 on 3.x). Queue length is never a business rule: the lengths here are fuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

TRIGGERS = "rigbeat.triggers"
COMMANDS = "rigbeat.commands"
RESULTS = "rigbeat.results"
LOGS = "rigbeat.logs"
DEAD = "rigbeat.dead"

RESULTS_PERSIST = "results.persist"
HOSTS_PRESENCE = "hosts.presence"
DEAD_LETTERS = "dead.letters"

RESULT_EVENTS = ("queued", "skipped", "started", "finished", "hello", "device", "applied")
"""What `results.persist` is bound for, each by name and never by `#`: heartbeats stay apart."""

HOST_DELIVERY_LIMIT = 20
RESULTS_DELIVERY_LIMIT = 1_000_000
PRESENCE_TTL_MS = 30_000


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange."""

    name: str
    kind: Literal["direct", "topic"]


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue with all its arguments."""

    name: str
    arguments: Mapping[str, str | int | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Binding:
    """Messages of `exchange` whose key matches `routing_key` go to `queue`."""

    queue: str
    exchange: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Topology:
    """What to declare, in this order: exchanges, queues, bindings."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]


def triggers_queue(host: str) -> str:
    """The queue of the triggers of `host`."""
    return f"host.{host}.triggers"


def commands_queue(host: str) -> str:
    """The queue of the commands of `host`."""
    return f"host.{host}.commands"


def presence_queue(host: str) -> str:
    """The classic queue whose exclusive consumer is the one runner of `host`."""
    return f"host.{host}.presence"


def result_key(host: str, event: str) -> str:
    """The routing key of an event on `rigbeat.results`."""
    return f"{host}.{event}"


def log_key(host: str, execution_id: UUID) -> str:
    """The routing key of a piece of live output on `rigbeat.logs`."""
    return f"{host}.{execution_id}"


def echo_key(host: str) -> str:
    """The routing key on `rigbeat.logs` that leads a runner's echoes back to its presence queue, and nowhere else.

    Never to the queues of triggers and commands: whoever may write live output could write orders then.
    """
    return f"{host}.echo"


def central_echo_key(queue: str) -> str:
    """The routing key on `rigbeat.logs` of the echoes of all consumers of a central queue.

    Its words are more than two, so that it is no host's.
    """
    return f"echo.{queue}"


def _quorum(delivery_limit: int, *, single_active: bool = True) -> dict[str, str | int | bool]:
    arguments: dict[str, str | int | bool] = {
        "x-queue-type": "quorum",
        "x-delivery-limit": delivery_limit,
        "x-overflow": "reject-publish",
        "x-max-length": 1_000_000,
    }
    if single_active:
        arguments["x-single-active-consumer"] = True
    return arguments


def _dead_lettered(arguments: dict[str, str | int | bool], routing_key: str) -> dict[str, str | int | bool]:
    # At-least-once dead-lettering keeps a message in its queue until `dead.letters` has confirmed it.
    return arguments | {
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-routing-key": routing_key,
        "x-dead-letter-strategy": "at-least-once",
    }


def central() -> Topology:
    """What exists once. `dead.letters` first: at-least-once dead-lettering needs somewhere to go."""
    return Topology(
        exchanges=(
            Exchange(DEAD, "topic"),
            Exchange(TRIGGERS, "direct"),
            Exchange(COMMANDS, "direct"),
            Exchange(RESULTS, "topic"),
            Exchange(LOGS, "topic"),
        ),
        queues=(
            Queue(DEAD_LETTERS, _quorum(RESULTS_DELIVERY_LIMIT)),
            Queue(RESULTS_PERSIST, _dead_lettered(_quorum(RESULTS_DELIVERY_LIMIT), RESULTS_PERSIST)),
            Queue(
                HOSTS_PRESENCE,
                {
                    "x-queue-type": "classic",
                    "x-message-ttl": PRESENCE_TTL_MS,
                    "x-max-length": 100_000,
                    "x-overflow": "drop-head",
                },
            ),
        ),
        bindings=(
            Binding(DEAD_LETTERS, DEAD, "#"),
            *(Binding(RESULTS_PERSIST, RESULTS, f"*.{event}") for event in RESULT_EVENTS),
            Binding(HOSTS_PRESENCE, RESULTS, "*.heartbeat"),
        ),
    )


def of_host(host: str) -> Topology:
    """The three queues of one host; declared when its row is made, never by the host itself."""
    triggers, commands = triggers_queue(host), commands_queue(host)
    return Topology(
        exchanges=(),
        queues=(
            Queue(triggers, _dead_lettered(_quorum(HOST_DELIVERY_LIMIT), triggers)),
            Queue(commands, _dead_lettered(_quorum(HOST_DELIVERY_LIMIT), commands)),
            Queue(presence_queue(host), {"x-queue-type": "classic"}),
        ),
        bindings=(
            Binding(triggers, TRIGGERS, host),
            Binding(commands, COMMANDS, host),
            Binding(presence_queue(host), LOGS, echo_key(host)),
        ),
    )
