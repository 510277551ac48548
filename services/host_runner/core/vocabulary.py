"""What can happen to a host (events, past tense) and what is then to be done (commands, imperatives). Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from libs.contracts import Cancel, CommandResult, Fence, Lock, Reason, Resend, Sync, Trigger, Unlock, Void
from services.host_runner.core.host import Run
from services.host_runner.core.outcome import Outcome


@dataclass(frozen=True, slots=True)
class RunRequested:
    """A trigger came. `known`: its id was decided before, says the journal."""

    trigger: Trigger
    known: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The script's process exists since `started_at`."""

    execution_id: UUID
    started_at: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class RunExited:
    """Nothing of the run lives any more. `started_at` is None when its script never existed."""

    execution_id: UUID
    started_at: datetime | None
    outcome: Outcome
    now: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """A command of the centre came. `known`: the execution that it names was decided before, says the journal."""

    command: Fence | Cancel | Void | Lock | Unlock | Sync | Resend
    now: datetime
    known: bool = False


@dataclass(frozen=True, slots=True)
class ClockRead:
    """The offset of the host's clock became known: what to add to it for database time."""

    offset_seconds: float


@dataclass(frozen=True, slots=True)
class ClockSet:
    """Somebody set the host's clock: what was known of its offset is no longer so."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed."""

    now: datetime


Event = RunRequested | RunStarted | RunExited | Told | ClockRead | ClockSet | Ticked


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the run's script."""

    run: Run


@dataclass(frozen=True, slots=True)
class Stop:
    """End the run's process tree."""

    run: Run


@dataclass(frozen=True, slots=True)
class Queued:
    """It waits in its deployment's slot."""

    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Skipped:
    """It will not start; `message` is for people."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Started:
    """Its process exists."""

    started_at: datetime


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A person ended it before it started."""


@dataclass(frozen=True, slots=True)
class Finished:
    """It ran, or its start was tried, and it is over."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Report:
    """Say to the centre what became of the run."""

    run: Run
    word: Queued | Skipped | Started | Cancelled | Finished

    @property
    def is_last(self) -> bool:
        """Whether nothing more can be said about the run."""
        return isinstance(self.word, Skipped | Cancelled | Finished)


@dataclass(frozen=True, slots=True)
class Answer:
    """Say to the centre that its command is taken into account."""

    command: Fence | Cancel | Void | Lock | Unlock | Sync | Resend
    result: CommandResult


@dataclass(frozen=True, slots=True)
class SendAgain:
    """Send the kept events again, from this sequence on."""

    from_sequence: int


Command = Spawn | Stop | Report | Answer | SendAgain
