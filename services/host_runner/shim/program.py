"""The shim: owns one script's process tree, so that the runner may restart while the script runs.

    python -I -S SHIM RUN_DIR --timeout S [--silence S] --grace S --max-output BYTES --cwd DIR [BOUNDS] -- ARGV...

Imports almost nothing: the time until the script runs is what a fire is late at best. Its
environment is the script's, and holds RIGBEAT_EXECUTION_ID. What it leaves in RUN_DIR, by lines of `key=value` but for
the output:

- `start`    the mark: appears once for ever, already locked; the lock is held for as long as the shim lives
- `started`  the script's process exists (`started_at`, in unix seconds, and `pid`)
- `output`   what the script and its children print, up to the cap
- `status`   how it ended; appears whole, and only when nothing of the tree lives any more

BOUNDS is what the script may not pass; the shim itself stays who it is, so that it can end the tree:
--user UID:GID:GROUP,GROUP --rights gain --rlimits NUMBER=VALUE,... --cgroup PARENT --cgroup-limits FILE=VALUE,...

SIGTERM ends the tree: as cancelled if there is a file `cancel`, else as terminated (the machine goes down). TERM first,
KILL after the grace time. Exit code 0: the status is written; 3: another shim has this execution, nothing was done;
anything else: the reason is on standard error, and without a `start` nothing was run.
"""

# ruff: noqa: SIM105, SLF001 # contextlib alone takes 2 ms to import; `_exit` is the public name
import _signal as signals  # type: ignore[import-not-found] # no stubs; the same functions as in `signal`
import posix
import select
import sys
import time

from services.host_runner.shim.bounds import Bounds, become
from services.host_runner.shim.kernel import CREATE, libc, pairs
from services.host_runner.shim.output import Output
from services.host_runner.shim.record import Record
from services.host_runner.shim.tree import Tree, own_cgroup

ALREADY_STARTED = 3
PIECE = 65536
KILL_AGAIN_SECONDS = 0.05
KILL_AGAIN_AT_MOST_SECONDS = 1.0
PR_SET_CHILD_SUBREAPER = 36


class Shim:
    """One execution, from its mark to its status."""

    def __init__(self, run_dir: str, options: dict[str, str], command: list[str]) -> None:
        self.grace = float(options["--grace"])
        self.timeout = float(options["--timeout"])
        self.silence = float(options.get("--silence", "inf"))
        self.cap = int(options["--max-output"])
        self.script_dir = options["--cwd"]
        self.command = command
        self.record = Record(run_dir)
        self.execution = posix.environ.get(b"RIGBEAT_EXECUTION_ID", b"").decode("utf-8", "replace")
        self.bounds = Bounds(options)
        self.cgroup = own_cgroup(self.execution, options.get("--cgroup", ""))
        self.tree = Tree(self.cgroup, pairs(options.get("--cgroup-limits", "")))
        self.poll = select.poll()
        self.out = self.failure = -1
        self.output = Output(-1, 0)
        self.child = 0
        self.code: int | None = None
        self.started_at = 0.0
        self.spoke_at = self.began = time.monotonic()
        self.spawn_error = ""
        self.cause = ""
        self.leftovers = 0
        self.limited = ""
        self.kill_at: float | None = None
        self.kill_pause = KILL_AGAIN_SECONDS
        self.is_told_to_end = False
        self.wake, waker = posix.pipe()
        for descriptor in (self.wake, waker):
            posix.set_blocking(descriptor, False)
        signals.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for signal in (signals.SIGTERM, signals.SIGCHLD):
            signals.signal(signal, self._hear_signal)
        self.poll.register(self.wake, select.POLLIN)

    def run(self) -> None:
        """Start the script and stay until nothing of it lives."""
        if self.record.is_cancelled():
            self.cause = "cancelled"
            return
        try:
            self._spawn()
        except OSError as error:
            self.spawn_error = f"Cannot start a process: {error.strerror}"
        while self._reap():
            self._steer()
            self._wait()
        for _ in range(64):  # what the pipe still holds, but not for ever: somebody outside may hold its other end
            if not self._hear():
                break
        self._learn()
        self.output.markers.end()
        self.limited = self.tree.events()
        self.tree.close()

    def report(self) -> None:
        """Write the status."""
        ended = time.monotonic()
        if self.spawn_error:
            outcome = "spawn_failed"
        elif self.code is None:
            outcome = "not_spawned"
        else:
            outcome = "exited" if self.code >= 0 else "signalled"
        facts: dict[str, object] = {
            "outcome": outcome,
            "code": self.code if outcome == "exited" else "",
            "signal": -(self.code or 0) if outcome == "signalled" else "",
            "cause": self.cause,
            "started_at": self.started_at if outcome in ("exited", "signalled") else "",
            "ended_at": time.time(),
            "duration": ended - self.began if outcome in ("exited", "signalled") else 0.0,
            "output_bytes": self.output.kept,
            "dropped_bytes": self.output.dropped,
            "leftovers": self.leftovers,
            "limited": self.limited,
            "success_marker": self.output.markers.success,
            "result_id": self.output.markers.result_id,
            "error": (self.spawn_error or self.output.error).replace("\n", " ")[:800],
        }
        self.record.publish(self.record.status, "status", facts, is_durable=True)

    def _spawn(self) -> None:
        kept = posix.open("output", CREATE | posix.O_APPEND, 0o600, dir_fd=self.record.folder)
        self.output = Output(kept, self.cap)
        self.out, out = posix.pipe()
        self.failure, failure = posix.pipe()
        for descriptor in (self.out, self.failure):
            posix.set_blocking(descriptor, False)
            self.poll.register(descriptor, select.POLLIN)
        if self.bounds.user >= 0:
            posix.fchown(out, self.bounds.user, -1)  # who opens /dev/stdout asks for the right to do so
        shim = posix.getpid()
        # A SIGTERM between fork and exec must end the child, not run our handler in it.
        signals.pthread_sigmask(signals.SIG_BLOCK, (signals.SIGTERM,))
        self.started_at = time.time()
        self.spoke_at = self.began = time.monotonic()
        try:
            self.child = self.tree.fork()
            if self.child == 0:
                become(self.command, self.script_dir, self.bounds, out, failure, shim)
        finally:
            signals.pthread_sigmask(signals.SIG_UNBLOCK, (signals.SIGTERM,))
            posix.close(out)
            posix.close(failure)

    def _reap(self) -> bool:
        """Collect the dead; whether anything of the tree still lives."""
        try:
            while True:
                pid, status = posix.waitpid(-1, posix.WNOHANG)
                if pid == 0:
                    return True
                if pid == self.child:
                    self.code = posix.waitstatus_to_exitcode(status)
        except ChildProcessError:
            return False

    def _steer(self) -> None:
        """End the tree when it is time."""
        now = time.monotonic()
        if self.kill_at is None:
            if self.code is None:
                self.cause = self._cause(now)
                if not self.cause:
                    return
            members = self.tree.terminate()
            self.leftovers = members if self.code is not None else 0
            self.kill_at = now + self.grace
        if now >= self.kill_at:
            self.tree.kill()
            self.kill_at = time.monotonic() + self.kill_pause
            self.kill_pause = min(self.kill_pause * 2, KILL_AGAIN_AT_MOST_SECONDS)

    def _cause(self, now: float) -> str:
        if self.is_told_to_end:
            return "cancelled" if self.record.is_cancelled() else "terminated"
        if now >= self.began + self.timeout:
            return "timed_out"
        return "silent" if now >= self.spoke_at + self.silence else ""

    def _wait(self) -> None:
        until = self.kill_at
        if until is None:
            until = min(self.began + self.timeout, self.spoke_at + self.silence)
        seconds = min(max(until - time.monotonic(), 0.0), 3600.0)
        for descriptor, _ in self.poll.poll(int(seconds * 1000) + 1):
            if descriptor == self.wake:
                posix.read(self.wake, PIECE)
            elif descriptor == self.out:
                self._hear()
            else:
                self._learn()

    def _hear(self) -> bool:
        """Take a piece of output; whether there was one."""
        try:
            piece = posix.read(self.out, PIECE) if self.out >= 0 else b""
        except BlockingIOError:
            return False
        if piece:
            self.spoke_at = time.monotonic()
            self.output.take(piece)
        elif self.out >= 0:
            self.poll.unregister(self.out)
            posix.close(self.out)
            self.out = -1
        return bool(piece)

    def _learn(self) -> None:
        """Whether the script could be executed: the pipe closes when it is, and speaks when it is not."""
        if self.failure < 0 or not self.child:
            return
        self.spawn_error = posix.read(self.failure, 4096).decode("utf-8", "replace")
        self.poll.unregister(self.failure)
        posix.close(self.failure)
        self.failure = -1
        if not self.spawn_error:
            try:
                facts: dict[str, object] = {"started_at": self.started_at, "pid": self.child}
                self.record.publish("started.tmp", "started", facts, is_durable=False)
            except OSError:
                pass  # the status says it, too

    def _hear_signal(self, signal: int, _: object) -> None:
        self.is_told_to_end |= signal == signals.SIGTERM


def main(arguments: list[str]) -> int:
    """Be the shim of one execution; the exit code."""
    split = arguments.index("--")
    signals.pthread_sigmask(signals.SIG_SETMASK, ())
    for signal in (signals.SIGHUP, signals.SIGINT):
        signals.signal(signal, signals.SIG_IGN)
    try:
        posix.setsid()
    except PermissionError:
        pass  # it has one
    shim = Shim(
        arguments[1], dict(zip(arguments[2:split:2], arguments[3:split:2], strict=True)), arguments[split + 1 :]
    )
    if libc("prctl", PR_SET_CHILD_SUBREAPER, 1) != 0:
        sys.exit("The kernel does not let the shim adopt orphans (Linux 3.4 or newer is needed)")
    if not shim.record.mark(shim.execution, shim.cgroup):
        return ALREADY_STARTED
    posix.chdir("/")
    shim.run()
    shim.report()
    return 0


if __name__ == "__main__":
    posix._exit(main(sys.argv))  # nothing is left to be tidied up, and somebody waits
