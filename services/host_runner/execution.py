"""Each admitted run from its script's start to its end, whichever runner began it.

A run is one watcher: start the shim (or find it alive, ended or dead), say when the script's process exists, wait until
nothing of the tree lives, say how it ended. Watchers end with the runner; shims do not: the next start adopts them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger
from libs.contracts import DeviceInfo, Reason
from services.host_runner import process, scripts
from services.host_runner.bounds import Bounds
from services.host_runner.core.ending import Cause, Ending, How
from services.host_runner.core.host import Run
from services.host_runner.core.last_words import error_line
from services.host_runner.core.outcome import Limits, Outcome, judge, not_startable
from services.host_runner.core.vocabulary import RunExited, RunStarted
from services.host_runner.process import ShimSpec, ShimState
from services.host_runner.removal import remove
from services.host_runner.run_dir import output_tail
from services.host_runner.runner import Runner
from services.host_runner.trust import give, take_back

START_SECONDS = 30.0
"""After this a run whose script does not exist yet is waited for without a word about its start."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how scripts run. Seconds and bytes. `path` is what scripts find in PATH, `environment` what besides."""

    devices: tuple[DeviceInfo, ...]
    scripts_dir: Path
    runs_dir: Path
    artifacts_dir: Path
    work_dir: Path
    python: str
    path: str
    environment: Mapping[str, str]
    bounds: Bounds
    grace_seconds: float
    max_output_bytes: int


class Executions(Part):
    """All runs that are under way. The one who starts and stops scripts for the runner."""

    name = "executions"

    def __init__(self, runner: Runner, bench: Bench) -> None:
        super().__init__()
        self._runner = runner
        self._bench = bench
        self._admitted: asyncio.Queue[Run] = asyncio.Queue()
        for run in runner.host.running.values():
            self._admitted.put_nowait(run)
        runner.use(self)

    def spawn(self, run: Run) -> None:
        """Begin the run; answers at once."""
        self._admitted.put_nowait(run)

    def stop_run(self, run: Run) -> None:
        """End the run's tree; answers at once. One that is not started yet will not be."""
        process.cancel(self._folder(run))

    async def run(self) -> None:
        """The body: a watcher for every run, until `stopping`. What is admitted then waits for the next start."""
        async with asyncio.TaskGroup() as group:
            admitting = group.create_task(self._admit(group))
            await self.stopping.wait()
            admitting.cancel()

    async def _admit(self, group: asyncio.TaskGroup) -> None:
        watchers: set[asyncio.Task[None]] = set()
        try:
            while True:
                run = await self._admitted.get()
                watcher = group.create_task(self._watch(run), name=f"run {run.id}")
                watchers.add(watcher)
                watcher.add_done_callback(watchers.discard)
        finally:
            for watcher in watchers:
                watcher.cancel()

    async def _watch(self, run: Run) -> None:
        folder = self._folder(run)
        pid: int | None = None
        if process.inspect(folder) is ShimState.NEVER_STARTED:
            begun = self._begin(run)
            if isinstance(begun, int):
                pid = begun
            elif process.is_never_to_start(folder):
                await self._exited(run, None, begun)
                return
        else:
            log.info("A run of an earlier runner is adopted", execution_id=str(run.id))
        if self._runner.is_cancelled(run.id):
            process.cancel(folder)
        started_at = await process.started(folder, START_SECONDS, pid)
        if started_at is not None:
            self._runner.apply(RunStarted(run.id, started_at, self._runner.now()))
        ending = await process.wait_ended(folder, pid)
        limits = Limits(run.trigger.timeout_seconds, run.trigger.silence_timeout_seconds)
        await self._exited(run, ending, judge(ending, limits, error_line(output_tail(folder))))

    async def _exited(self, run: Run, ending: Ending | None, outcome: Outcome) -> None:
        started_at = None if ending is None else ending.started_at
        if self._bench.bounds.user is not None:
            # What is sent from now on is what this run left there: no other run of the same user gets in.
            try:
                take_back(self._artifacts(run))
            except FileNotFoundError:
                pass  # it was never made
            except OSError as error:
                log.warning("A run's artifacts stay open to other runs", execution_id=str(run.id), reason=str(error))
        self._runner.apply(RunExited(run.id, started_at, outcome, self._runner.now()))
        # Only now: a next run on the device does not wait for it. What a crash leaves here, the upkeep removes later.
        await asyncio.to_thread(remove, self._work(run))

    def _begin(self, run: Run) -> int | Outcome:
        """The pid of the run's shim, or why there is none."""
        now, trigger, bench = self._runner.now(), run.trigger, self._bench
        limits = Limits(trigger.timeout_seconds, trigger.silence_timeout_seconds)
        if self._runner.is_cancelled(run.id):
            return judge(Ending(How.NOT_SPAWNED, ended_at=now, cause=Cause.CANCELLED), limits)
        try:
            spec = self._spec(run, scripts.find(bench.scripts_dir, trigger.script_name, bench.bounds.user))
            for folder in (self._artifacts(run), self._work(run)):
                give(folder, bench.bounds.user)
            return process.spawn(spec)
        except scripts.ScriptNotFoundError as error:
            return not_startable(Reason.SCRIPT_NOT_FOUND, str(error), now)
        except scripts.ParametersError as error:
            return not_startable(Reason.INVALID_PARAMETERS, str(error), now)
        except ValueError as error:  # a NUL or half a character, which no argument can hold
            return not_startable(Reason.INVALID_PARAMETERS, f"The script cannot be called so: {error}", now)
        except (OSError, scripts.ChangeableScriptError) as error:
            return not_startable(Reason.SPAWN_FAILED, f"The script could not be started: {error}", now)

    def _spec(self, run: Run, script: Path) -> ShimSpec:
        trigger, bench = run.trigger, self._bench
        return ShimSpec(
            run_dir=self._folder(run),
            argv=scripts.argv(
                script,
                python=bench.python,
                userinterface_name=trigger.userinterface_name,
                parameters=trigger.parameters,
                host=trigger.host,
                device=run.device,
            ),
            env=scripts.environment(
                execution_id=run.id,
                artifacts_dir=self._artifacts(run),
                host=trigger.host,
                device=run.device,
                labels=next((one.labels for one in bench.devices if one.device_id == run.device), {}),
                path=bench.path,
                work_dir=self._work(run),
                more=bench.environment,
            ),
            cwd=self._work(run),
            timeout_seconds=trigger.timeout_seconds,
            silence_timeout_seconds=trigger.silence_timeout_seconds,
            grace_seconds=bench.grace_seconds,
            max_output_bytes=bench.max_output_bytes,
            python=sys.executable,
            bounds=bench.bounds,
        )

    def _artifacts(self, run: Run) -> Path:
        return (self._bench.artifacts_dir / str(run.id)).absolute()

    def _work(self, run: Run) -> Path:
        return (self._bench.work_dir / str(run.id)).absolute()

    def _folder(self, run: Run) -> Path:
        return self._bench.runs_dir / str(run.id)
