"""One full sample of every message, made of fixed values: what the golden files are written from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from libs.contracts import (
    Cancel,
    Change,
    Clock,
    CommandApplied,
    CommandResult,
    DeploymentState,
    DeploymentStatus,
    DeviceChanged,
    DeviceInfo,
    DeviceState,
    ExecutionFinished,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionStatus,
    Fence,
    FenceState,
    HostHeartbeat,
    HostHello,
    Kind,
    Lock,
    LockState,
    LogPiece,
    Message,
    Notice,
    OnDeviceBusy,
    Reason,
    Resend,
    ScriptInfo,
    ScriptParameter,
    Sync,
    Trigger,
    Unlock,
    Void,
)

AT = datetime(2026, 11, 23, 10, 20, 0, tzinfo=UTC)
SOON = AT + timedelta(milliseconds=45)


def _id(number: int) -> UUID:
    return UUID(int=(0x01A2 << 112) | (0x8 << 76) | (0x8 << 60) | number)


EXECUTION, DEPLOYMENT, JOURNAL, RUNNER, COMMAND, RESULT = (_id(n) for n in range(1, 7))

_HOST = {"host": "lab-1", "journal_id": JOURNAL, "runner_id": RUNNER}
_FACT = {
    **_HOST,
    "execution_id": EXECUTION,
    "deployment_id": DEPLOYMENT,
    "ledger_epoch": 1,
    "version": 4,
    "kind": Kind.CRON,
    "scheduled_at": AT,
    "device_id": "stb-1",
    "script_name": "health.py",
    "sequence": 7,
    "at": SOON,
    "clock_offset_seconds": -0.25,
    "received_at": SOON,
}
_COMMAND = {"command_id": COMMAND, "host": "lab-1"}
_LOCK = {"device_id": "stb-1", "lock_version": 2, "owner": "ada", "reason": "new firmware", "since": AT}

SAMPLES: Sequence[Message] = (
    Trigger(
        execution_id=EXECUTION,
        deployment_id=DEPLOYMENT,
        deployment_name="health_143052",
        ledger_epoch=1,
        version=4,
        kind=Kind.CRON,
        scheduled_at=AT,
        not_after=AT + timedelta(seconds=600),
        host="lab-1",
        device_id="stb-1",
        script_name="health.py",
        userinterface_name="demo",
        parameters="--limit 2",
        timeout_seconds=3600,
        silence_timeout_seconds=60,
        on_device_busy=OnDeviceBusy.QUEUE,
        max_wait_seconds=120,
        execution_count=3,
        max_executions=20,
    ),
    Fence(
        **_COMMAND,
        deployment_id=DEPLOYMENT,
        deployment_name="health_143052",
        ledger_epoch=1,
        version=5,
        reason=Reason.PAUSED,
    ),
    Cancel(**_COMMAND, execution_id=EXECUTION, deployment_id=DEPLOYMENT),
    Void(**_COMMAND, execution_id=EXECUTION, deployment_id=DEPLOYMENT),
    Lock(**_COMMAND, **_LOCK, expires_at=AT + timedelta(hours=2)),
    Unlock(**_COMMAND, device_id="stb-1", lock_version=3),
    Sync(
        **_COMMAND,
        ledger_epoch=1,
        fences=(FenceState(deployment_id=DEPLOYMENT, ledger_epoch=1, version=5, reason=Reason.PAUSED),),
        locks=(LockState(**_LOCK),),
        deployments=(
            DeploymentState(
                deployment_id=DEPLOYMENT,
                name="health_143052",
                version=4,
                status=DeploymentStatus.ACTIVE,
                cron_expression="*/10 * * * *",
                timezone="Europe/Berlin",
                last_executed_at=AT,
                next_fire_at=AT + timedelta(minutes=10),
                execution_count=3,
                max_executions=20,
            ),
        ),
        host_sent_at=AT,
        db_time=SOON,
    ),
    Clock(**_COMMAND, host_sent_at=AT, db_time=SOON),
    Resend(**_COMMAND, from_sequence=12),
    Notice(
        **_COMMAND,
        deployment_id=DEPLOYMENT,
        deployment_name="health_143052",
        device_id="stb-1",
        change=Change.STATUS,
        status=DeploymentStatus.PAUSED,
        cron_expression="*/10 * * * *",
        timezone="Europe/Berlin",
        execution_count=3,
        max_executions=20,
        message="new firmware",
        by="ada",
    ),
    ExecutionQueued(**_FACT, reason=Reason.DEVICE_BUSY),
    ExecutionSkipped(**_FACT, reason=Reason.ALREADY_QUEUED, message="Already queued (max 1)", queued_at=None),
    ExecutionStarted(**_FACT, queued_at=AT, admitted_at=AT, started_at=SOON),
    ExecutionFinished(
        **_FACT,
        queued_at=AT,
        admitted_at=AT,
        started_at=SOON,
        completed_at=SOON + timedelta(seconds=12.5),
        status=ExecutionStatus.FAILED,
        reason=Reason.EXIT_CODE,
        message="The script ended with exit code 2",
        success=False,
        exit_code=2,
        signal=None,
        duration_seconds=12.5,
        script_result_id=RESULT,
        log_bytes=81233,
    ),
    HostHello(
        **_HOST,
        boot_id="a2d3",
        runner_version="0.1.0",
        held=(EXECUTION,),
        host_sent_at=AT,
        max_parallel=2,
        devices=(DeviceInfo(device_id="stb-1", model="Virtual STB", labels={"address": "http://127.0.0.1:9301"}),),
        scripts=(
            ScriptInfo(
                name="health.py",
                parameters=(
                    ScriptParameter(name="--limit", required=False, default="2", help="seconds", choices=("1", "2")),
                ),
            ),
        ),
    ),
    HostHeartbeat(
        **_HOST,
        host_sent_at=AT,
        clock_offset_seconds=0.01,
        wants_clock=True,
        devices=(DeviceState(device_id="stb-1", status="running", execution_id=EXECUTION, pending=(RESULT,)),),
        unsent_events=3,
    ),
    DeviceChanged(**_HOST, sequence=8, at=AT, device=DeviceState(device_id="stb-1", status="free")),
    CommandApplied(
        **_HOST,
        command_id=COMMAND,
        command="command.fence.v1",
        result=CommandResult.APPLIED,
        sequence=9,
        at=AT,
        deployment_id=DEPLOYMENT,
        version=5,
    ),
    LogPiece(host="lab-1", execution_id=EXECUTION, offset=81000, data="Z3LDvMOfZSDwn5OhCg=="),
)
