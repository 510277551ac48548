"""The lab of a world, drawn: hosts with devices, and deployments that get in each other's way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from libs.contracts import CatchUp, DeploymentStatus, OnDeviceBusy
from libs.ledger.rows import DeploymentRow
from tests.simulation.room import Room

CRONS = (
    *("*/5 * * * *", "*/10 * * * *", "*/15 * * * *", "7,37 * * * *", "*/30 * * * *", "0 * * * *", "*/20 8-18 * * *"),
    *("0 */2 * * *", "30 2 * * *", "15 1-3 * * *", "0 0 * * MON-FRI", "*/30 22-6 * * *", "0 3 1,15 * *"),
)
ZONES = ("UTC", "Europe/Berlin", "Australia/Lord_Howe")
"""Two of them change their clocks, one by half an hour."""
PLANS = tuple(
    (cron, zone) for number, cron in enumerate(CRONS) for zone in (ZONES[1:] if number > 6 else ZONES[number % 3 :][:1])
)
"""Of what fires often only one zone: each pair is worked out anew, which is a fifth of a run's time."""
BEGINS = (
    datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC),  # the change to summer time lies ahead
    datetime(2026, 10, 18, 23, 59, 10, tzinfo=UTC),  # and those back
    datetime(2027, 12, 20, 5, 0, 0, tzinfo=UTC),  # a turn of the year, and a leap day
)


def a_deployment(room: Room, number: int, host: str, device: str, team: UUID) -> DeploymentRow:
    """One, with everything that may differ drawn."""
    dice, now = room.dice, room.now
    starts = now + timedelta(hours=dice.uniform(0, 48)) if dice.random() < 0.1 else None
    ends = now + timedelta(days=dice.uniform(3, 20)) if dice.random() < 0.15 else None
    cron, zone = dice.choice(PLANS) if dice.random() < 0.5 else dice.choice(PLANS[:7])
    return DeploymentRow(
        id=room.new_id(),
        team_id=team,
        name=f"deployment-{number}",
        host_name=host,
        device_id=device,
        script_name="script.py",
        userinterface_name="ui",
        parameters=None,
        cron_expression=cron,
        timezone=zone,
        start_date=starts,
        end_date=ends,
        max_executions=dice.choice((None, None, None, 3, 30, 300)),
        execution_count=0,
        status=DeploymentStatus.ACTIVE,
        catch_up=dice.choice((CatchUp.LATEST, CatchUp.LATEST, CatchUp.NONE, CatchUp.ALL)),
        catch_up_window_seconds=dice.choice((120, 600, 600, 3600, 20_000)),
        on_device_busy=dice.choice((OnDeviceBusy.SKIP, OnDeviceBusy.QUEUE, OnDeviceBusy.QUEUE)),
        max_wait_seconds=dice.choice((0, 60, 600, 3600)),
        timeout_seconds=dice.choice((60.0, 600.0, 3600.0)),
        silence_timeout_seconds=None,
        version=1,
        counted_from=now,
        next_fire_at=None,
    )
