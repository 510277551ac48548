"""Real scripts under real shims, and none of their processes left when a test ends, however it ends."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from libs.stack.process import run
from services.host_runner.bounds import NONE, Bounds
from services.host_runner.core.ending import Ending
from services.host_runner.leftovers import kill_cgroup
from services.host_runner.process import ShimSpec, kill_leftovers, spawn, wait_ended
from services.host_runner.run_dir import OUTPUT, read_facts
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass
class Run:
    """One execution in its folder."""

    spec: ShimSpec
    execution_id: str
    pid: int | None = None

    @property
    def folder(self) -> Path:
        return self.spec.run_dir

    @property
    def output(self) -> str:
        return (self.folder / OUTPUT).read_text()

    def start(self) -> Run:
        self.pid = spawn(self.spec)
        return self

    def start_from_a_process_that_ends(self, most_bytes_in_a_file: int = -1) -> int:
        """As an earlier runner did; the pid of the shim. A file that becomes larger is as good as a full disk."""
        code = (
            "import resource\n"
            "from pathlib import PosixPath\n"
            "from services.host_runner.bounds import Bounds, User\n"
            "from services.host_runner.process import ShimSpec, spawn\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most_bytes_in_a_file}, -1))\n"
            f"print(spawn({self.spec!r}))\n"
        )
        environment = {"PATH": PATH, "PYTHONPATH": str(ROOT)}
        ended = run([sys.executable, "-c", code], env=environment, within=30)
        assert ended.code == 0, ended.output
        # Whoever finds no mark takes it that no shim has begun, and then none does.
        pid, mark = int(ended.output), self.folder / "start"
        until(lambda: mark.exists() or not is_alive(pid), within=20, what="the shim has left its mark, or ended")
        return pid

    def exit_code(self) -> int:
        """The exit code of the shim itself, which ends soon."""
        assert self.pid is not None
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    async def end(self) -> Ending:
        return await wait_ended(self.folder, self.pid)

    def note(self, name: str) -> str:
        """What the script wrote to this file in its folder; empty until it did."""
        path = self.spec.cwd / name
        return path.read_text().strip() if path.exists() else ""

    def pid_in(self, name: str) -> int:
        """The pid in this file; 0 until it is there."""
        return int(self.note(name) or 0)


@dataclass
class Shims:
    """Prepares runs, and remembers them."""

    folder: Path
    runs: list[Run] = field(default_factory=list)

    def prepare(
        self,
        script: str | tuple[str, ...],
        *,
        timeout: float = 30.0,
        silence: float | None = None,
        grace: float = 5.0,
        cap: int = 1 << 20,
        bounds: Bounds = NONE,
    ) -> Run:
        """A run of a shell script's text, or of a command, not started yet."""
        execution_id = str(uuid5(NAMESPACE_OID, f"{self.folder} {len(self.runs)}"))
        cwd = self.folder / f"cwd-{execution_id}"
        cwd.mkdir()
        command = ("/bin/sh", "-c", script) if isinstance(script, str) else script
        environment = {"PATH": PATH, "LANG": "C.UTF-8", "RIGBEAT_EXECUTION_ID": execution_id}
        run_dir = self.folder / "runs" / execution_id
        if bounds.user is not None:
            os.chown(cwd, bounds.user.uid, bounds.user.gid)
        spec = ShimSpec(run_dir, command, environment, cwd, timeout, silence, grace, cap, sys.executable, bounds)
        run = Run(spec, execution_id)
        self.runs.append(run)
        return run

    def start(self, script: str | tuple[str, ...], **limits: float | Bounds) -> Run:
        return self.prepare(script, **limits).start()  # type: ignore[arg-type] # the same limits

    def close(self) -> list[str]:
        """Kill what is left; the executions of which something was left."""
        left = []
        for one in self.runs:
            # The shim has the id in its own environment, so it is found like the others.
            if kill_leftovers(one.execution_id):
                left.append(one.execution_id)
            if one.pid is not None:
                with suppress(ChildProcessError):
                    os.waitpid(one.pid, 0)
            kill_cgroup(read_facts(one.folder / "start").get("cgroup", ""), one.execution_id)
        return left


def is_alive(pid: int) -> bool:
    """Whether there is such a process and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(pid: int) -> None:
    """SIGKILL to one process that the test started."""
    os.kill(pid, signal.SIGKILL)
