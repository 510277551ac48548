"""`python -m services.host_runner`: the runner of one device host.

Exit codes: 0 after a signal, 1 when a part failed, 2 for a wrong configuration, 4 when another runner serves the host
or holds the state directory.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from uuid import uuid4  # noqa: TID251 # the shell draws ids

from libs.chassis.health import HealthServer
from libs.chassis.lifecycle import Part, main, readiness
from libs.chassis.settings import SettingsError
from libs.chassis.tls import http_context
from services.host_runner import confinement, devices, process, scripts
from services.host_runner.artifact_uploads import ArtifactUploads
from services.host_runner.core.facts import Identity
from services.host_runner.deployments_log import DeploymentsLog
from services.host_runner.enrolment import Enrolment
from services.host_runner.execution import Bench, Executions
from services.host_runner.intake import Intake
from services.host_runner.interpreter import interpreter
from services.host_runner.journal import Journal
from services.host_runner.keys import Keys, KeysError, Pair
from services.host_runner.live_output import LiveOutput
from services.host_runner.outbound import Outbound
from services.host_runner.runner import Runner
from services.host_runner.session import Session
from services.host_runner.settings import Settings
from services.host_runner.upkeep import Upkeep
from services.host_runner.uploads import Uploads

EXIT_CONFIGURATION = 2
EXIT_REFUSED = 4
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 # the shell reads the clock


def _version() -> str:
    try:
        return version("rigbeat")
    except PackageNotFoundError:
        return "unknown"


def _refuse(sentence: str, code: int = EXIT_REFUSED) -> SystemExit:
    sys.stderr.write(f"host-runner: {sentence}\n")
    return SystemExit(code)


def _own(state_dir: Path) -> int:
    """Take the state directory; the descriptor holds it for as long as the process lives."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _refuse(f"another runner works in {state_dir}: stop it first, or set RIGBEAT_STATE_DIR") from None
    return descriptor


def _keys(settings: Settings) -> Keys:
    """What lets this host in, if it is there already. Raises `SystemExit` when it cannot come to be."""
    broker = settings.amqp_url.get_secret_value() if settings.amqp_url else None
    given = None
    if settings.token is not None:
        if broker is None:
            raise _refuse("RIGBEAT_TOKEN needs RIGBEAT_AMQP_URL beside it, with a user", EXIT_CONFIGURATION)
        given = Pair(settings.token.get_secret_value(), broker)
    try:
        keys = Keys(settings.state_dir, given, broker, settings)
    except KeysError as error:
        raise _refuse(str(error), EXIT_CONFIGURATION) from None
    if not keys.there.is_set() and settings.enrolment_secret is None:
        raise _refuse(
            f"{settings.state_dir} holds no credentials: set RIGBEAT_ENROLMENT_SECRET (or its …_FILE) to what "
            f"`rigbeat hosts enroll {settings.host_name}` prints",
            EXIT_CONFIGURATION,
        )
    return keys


class Program:
    """The parts of one runner process."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.lock: int | None = None

    def build(self, settings: Settings) -> Sequence[Part]:
        """Everything, in the order of its start; it stops in the other order."""
        self.lock = _own(settings.state_dir)
        try:
            known = devices.load(settings.devices, settings.state_dir)
            bounds = confinement.bounds(settings)
            journal = Journal(settings.journal_path, fresh_id=uuid4())
            confinement.prepare(settings, bounds)
            interpreter(settings.python, settings.runs_dir)  # this release's shim, whatever is installed while we live
        except (SettingsError, confinement.ConfinementError) as error:
            raise _refuse(str(error), EXIT_CONFIGURATION) from None
        host = journal.load(
            frozenset(device.device_id for device in known), settings.max_parallel or max(1, len(known))
        )
        runner = Runner(
            host,
            journal,
            Identity(settings.host_name, journal.id, uuid4()),
            DeploymentsLog(settings.deployments_log, settings.state_dir, settings.host_name),
            _now,
        )
        bench = Bench(
            devices=known,
            scripts_dir=settings.scripts_dir,
            runs_dir=settings.runs_dir,
            artifacts_dir=settings.artifacts_dir,
            work_dir=settings.work_dir,
            python=settings.python,
            path=settings.script_path,
            environment=settings.script_environment,
            bounds=bounds,
            grace_seconds=settings.grace_seconds,
            max_output_bytes=settings.max_output_bytes,
        )
        outbound = Outbound(
            runner,
            known,
            boot_id=BOOT_ID.read_text(encoding="ascii").strip(),
            version=_version(),
            heartbeat_seconds=settings.heartbeat_seconds,
            new_id=uuid4,
        )
        list_scripts = partial(scripts.list_scripts, settings.scripts_dir, bounds.user)
        outbound.offer(list_scripts())
        live = LiveOutput(runner, settings.runs_dir, process.OUTPUT, new_id=uuid4)
        api_url, keys = str(settings.api_url), _keys(settings)
        verify = http_context(api_url, settings.trusted)
        secret = settings.enrolment_secret
        enrolment = Enrolment(keys, settings.host_name, api_url, secret.get_secret_value() if secret else None, verify)
        runner.renew_credentials_with(enrolment.ask)
        self.session = Session(
            keys, enrolment, runner, Intake(runner), outbound, live, watchdog_seconds=settings.watchdog_seconds
        )
        parts: list[Part] = [
            Executions(runner, bench),
            enrolment,
            Uploads(journal, settings.runs_dir, process.OUTPUT, api_url, keys, verify),
            ArtifactUploads(
                journal.artifacts,
                settings.artifacts_dir,
                api_url,
                keys,
                verify,
                owner=bounds.user.uid if bounds.user else None,
            ),
            Upkeep(
                runner,
                outbound,
                list_scripts=list_scripts,
                folders=(settings.runs_dir, settings.artifacts_dir, settings.work_dir),
                keep_files=timedelta(seconds=settings.keep_files_seconds),
                steady=partial(time.clock_gettime, time.CLOCK_BOOTTIME),
            ),
            self.session,
        ]
        return [*parts, HealthServer(settings.http_port, lambda: readiness(parts), settings.http_host)]


def _run() -> None:
    program = Program()
    try:
        main("host-runner", Settings, program.build)
    except SystemExit:
        if program.session is not None and program.session.refused is not None:
            raise _refuse(program.session.refused) from None
        raise


if __name__ == "__main__":
    _run()
