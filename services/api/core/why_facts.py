"""What the answer to "why did it not run?" is made of: a deployment's history and the ledger, read for one minute."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from libs.contracts import DeploymentStatus, ExecutionStatus, Kind, OnDeviceBusy, Reason
from libs.schedule import zone

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Version:
    """What the deployment was from `valid_from` on, by whose change."""

    valid_from: datetime
    counted_from: datetime
    cron_expression: str
    timezone: str
    start_date: datetime | None
    end_date: datetime | None
    max_executions: int | None
    status: DeploymentStatus
    status_reason: str | None
    deleted: bool
    changed_by: str | None
    on_device_busy: OnDeviceBusy
    max_wait_seconds: int
    catch_up_window_seconds: int

    def rules(self, fire: datetime) -> bool:
        """Whether a fire at this instant is decided by this version or a later one.

        What was due at the very instant of a change was decided before it; a creation and a resume count themselves.
        """
        return self.valid_from < fire or self.valid_from == fire == self.counted_from


@dataclass(frozen=True, slots=True)
class Run:
    """The execution of the minute. Times in UTC, durations in seconds."""

    id: UUID
    kind: Kind
    status: ExecutionStatus
    reason: Reason | None
    message: str | None
    presumed: bool
    held: bool
    scheduled_at: datetime
    decided_at: datetime
    not_after: datetime | None
    queued_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    duration_seconds: float | None
    triggered_by: str | None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A run that was on the device at the time; `is_own` says that it is one of the same deployment."""

    id: UUID
    deployment_name: str
    is_own: bool
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Host and device as they are now; the lock is a standing one, or there is none."""

    host_name: str
    device_id: str
    is_enrolled: bool
    is_online: bool
    last_seen_at: datetime | None
    has_device: bool
    lock_owner: str | None = None
    lock_reason: str | None = None
    lock_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known about one minute of one deployment.

    `minute` is its first instant, in UTC. `versions` are the newest first. `counted` are the executions that count for
    the limit: those of fires before the minute, or for a minute to come those of now; `in_flight` may count yet.
    `typical_seconds` is the median duration of its latest runs. Executions from before `kept_from` are gone.
    """

    deployment_id: UUID
    now: datetime
    minute: datetime
    versions: tuple[Version, ...]
    created_at: datetime
    created_by: str | None
    counted: int
    in_flight: int
    run: Run | None
    neighbour: Neighbour | None
    place: Place
    typical_seconds: float | None
    next_fire_at: datetime | None
    firing: bool
    in_backlog: bool
    kept_from: datetime | None = None

    @property
    def is_forgotten(self) -> bool:
        """Whether the ledger had something of the minute to tell, and does not keep it for so long."""
        return self.kept_from is not None and self.created_at <= self.minute < self.kept_from

    @property
    def is_to_come(self) -> bool:
        """Whether the minute has not begun."""
        return self.minute > self.now

    @property
    def is_past(self) -> bool:
        """Whether the minute is over."""
        return self.minute + _MINUTE <= self.now

    @property
    def current(self) -> Version:
        """What the deployment is now."""
        return self.versions[0]

    @property
    def ruling(self) -> Version | None:
        """The version that decides a fire at the minute; None before there was any."""
        return next((version for version in self.versions if version.rules(self.minute)), None)

    def began(self, version: Version) -> Version:
        """The change by which the deployment got the status that it has in `version`."""
        since = version
        for older in self.versions[self.versions.index(version) + 1 :]:
            if (older.status, older.deleted) != (version.status, version.deleted):
                break
            since = older
        return since

    @property
    def api_path(self) -> str:
        """Of the deployment."""
        return f"/api/v1/deployments/{self.deployment_id}"


@dataclass(frozen=True, slots=True)
class Check:
    """One question on the way to a run. `ok` is None when it was not asked any more, or nobody knows."""

    check: str
    ok: bool | None
    value: str | None
    sentence: str


def moment(at: datetime, timezone: str = "UTC") -> str:
    """A time for people: to the second where there are seconds, with its zone."""
    local = at.astimezone(zone(timezone) if timezone != "UTC" else UTC)
    seconds = ":%S" if local.second else ""
    return f"{local:%Y-%m-%d %H:%M{seconds}} {timezone}"


def seconds(amount: float) -> str:
    """A duration for people."""
    return f"{amount:.1f} s" if amount < 60 else f"{amount:.0f} s"
