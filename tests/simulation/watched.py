"""The real runner of a host, watched by the checks, and what hands it messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from libs.contracts import Cancel, CommandResult, Fence, FenceState, Message, Sync, Void
from services.host_runner.core.facts import Identity
from services.host_runner.core.host import Host
from services.host_runner.core.vocabulary import Answer, Command, Event, Report
from services.host_runner.deployments_log import DeploymentsLog
from services.host_runner.journal import Journal
from services.host_runner.runner import Runner
from tests.simulation.queues import Letter, Queue

if TYPE_CHECKING:
    from tests.simulation.host import Machine


class UnreadLog(DeploymentsLog):
    """The deployments log, which nobody reads here."""

    def __init__(self) -> None:  # the real one opens a file
        pass

    def synced(self, *_: object) -> None:
        """Nothing."""

    def noticed(self, *_: object) -> None:
        """Nothing."""

    def happened(self, *_: object) -> None:
        """Nothing."""


class WatchedRunner(Runner):
    """The real one; the checks see what it decides."""

    def __init__(self, host: Host, journal: Journal, identity: Identity, machine: Machine) -> None:
        super().__init__(host, journal, identity, UnreadLog(), machine.clock)
        self._machine = machine

    def decide(self, event: Event) -> tuple[Command, ...]:
        """Decide and write it down."""
        commands = super().decide(event)
        has_decided(self._machine, commands)
        return commands

    def _measure(self, commands: tuple[Command, ...]) -> None:
        """Nobody looks at its metrics."""


class Consumer:
    """One connection's consumer of one of the host's queues, one message at a time."""

    prefetch = 1

    def __init__(self, machine: Machine, session: int, queue: Queue) -> None:
        self._machine = machine
        self._session = session
        self.queue = queue

    def receive(self, letters: Sequence[Letter]) -> None:
        """It came; the connection may be gone by now."""
        if self._machine.session == self._session and self._machine.is_connected:
            for letter in letters:
                self._machine.take(self, letter)


def has_taken(machine: Machine, message: Message) -> None:
    """What the host has acknowledged by now, for the checks."""
    match message:
        case Fence() as fence:
            _promise(machine, fence)
        case Sync():
            for state in message.fences:
                _promise(machine, state)
        case _:
            pass


def _promise(machine: Machine, fence: Fence | FenceState) -> None:
    key, fences = (machine.name, fence.deployment_id), machine.checks.fences
    fences[key] = max(fences.get(key, (0, 0)), (fence.ledger_epoch, fence.version))


def has_decided(machine: Machine, commands: tuple[Command, ...]) -> None:
    """The checks' part in each decision."""
    for command in commands:
        match command:
            case Report(run, word):
                machine.room.note("host", run.id, f"{machine.name} says {type(word).__name__.lower()} {_why(word)}")
                machine.checks.said(command)
            case Answer(Cancel() | Void() as order, result) if result is CommandResult.UNKNOWN:
                machine.room.note("host", order.execution_id, f"{machine.name} buries it")
                machine.checks.given_up[order.execution_id] = (
                    machine.name,
                    f"{type(order).__name__.lower()} answered unknown",
                )
            case _:
                pass


def _why(word: object) -> str:
    reason = getattr(word, "reason", None)
    outcome = getattr(word, "outcome", None)
    if outcome is not None:
        return f"{outcome.status} {outcome.reason or ''}".rstrip()
    return str(reason or "")
