"""A runner's journal and executions, with real shims and no broker."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from libs.contracts import DeviceInfo, ExecutionFinished, Trigger, decode
from services.host_runner.bounds import NONE, Bounds
from services.host_runner.core.facts import Identity
from services.host_runner.deployments_log import DeploymentsLog
from services.host_runner.execution import Bench, Executions
from services.host_runner.journal import Journal
from services.host_runner.runner import Runner
from tests.support.host_runner import deployment, trigger
from tests.support.wait import until_async


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the shims under test use the real clock


class Lab:
    """A runner's journal and executions in one folder, the scripts beside unless they are elsewhere."""

    def __init__(
        self, place: Path, bounds: Bounds = NONE, scripts: Path | None = None, python: str = sys.executable, **more: str
    ) -> None:
        self.place = place
        self.scripts = scripts or place / "scripts"
        if not self.scripts.exists():
            self.scripts.mkdir(mode=0o755)
            (self.scripts / "health.py").write_text("print('SCRIPT_SUCCESS:true')\n")
            (self.scripts / "loop.py").symlink_to("loop.py")
        self.journal = Journal(place / "journal.sqlite", fresh_id=deployment("journal"))
        self.log = DeploymentsLog(place / "deployments.log", place, "lab-1")
        identity = Identity("lab-1", self.journal.id, deployment("runner"))
        self.runner = Runner(self.journal.load(frozenset({"stb-1"}), 1), self.journal, identity, self.log, now)
        bench = Bench(
            devices=(DeviceInfo(device_id="stb-1"),),
            scripts_dir=self.scripts,
            runs_dir=place / "runs",
            artifacts_dir=place / "artifacts",
            work_dir=place / "work",
            python=python,
            path="/usr/bin:/bin",
            environment=more,
            bounds=bounds,
            grace_seconds=1.0,
            max_output_bytes=1 << 20,
        )
        self.executions = Executions(self.runner, bench)

    def write(self, name: str, text: str) -> None:
        """A script of the lab."""
        (self.scripts / name).write_text(text)
        (self.scripts / name).chmod(0o755)

    async def close(self) -> None:
        await self.executions.stop(5)
        assert self.executions.failure is None
        self.log.close()
        self.journal.close()

    async def run(self, name: str, within: float, **given: Any) -> ExecutionFinished:
        one = trigger(name, **given)
        self.runner.perform(self.runner.request(one))
        return await self.end_of(one, within)

    async def end_of(self, one: Trigger, within: float) -> ExecutionFinished:
        async def has_ended() -> ExecutionFinished | None:
            assert self.executions.failure is None
            events = [decode(each.envelope.type, each.envelope.body) for each in self.journal.unsent(100)]
            ends = [each for each in events if isinstance(each, ExecutionFinished)]
            return next((each for each in ends if each.execution_id == one.execution_id), None)

        found = await until_async(has_ended, within=within)
        assert found is not None
        return found
