"""The shim: owns one script's process tree, so that the runner may restart while the script runs.

    python -I -S shim.py RUN_DIR --timeout S [--silence S] --grace S --max-output BYTES --cwd DIR -- ARGV...

Started by path, and imports almost nothing: the time until the script runs is what a fire is late at best. Its
environment is the script's, and holds RIGBEAT_EXECUTION_ID. What it leaves in RUN_DIR, by lines of `key=value` but for
the output:

- `start`    the mark: appears once for ever, already locked; the lock is held for as long as the shim lives
- `started`  the script's process exists (`started_at`, in unix seconds, and `pid`)
- `output`   what the script and its children print, up to the cap
- `status`   how it ended; appears whole, and only when nothing of the tree lives any more

SIGTERM ends the tree: as cancelled if there is a file `cancel`, else as terminated (the machine goes down). TERM first,
KILL after the grace time. Exit code 0: the status is written; 3: another shim has this execution, nothing was done;
anything else: the reason is on standard error, and without a `start` nothing was run.
"""

# ruff: noqa: SIM105, SLF001 # contextlib alone takes 2 ms to import; `_exit` is the public name
# The modules beneath `os`, `signal` and `ctypes`: importing those three takes 6 ms of the 20 that we have.
import _ctypes
import _signal as signals  # type: ignore[import-not-found] # no stubs; the same functions as in `signal`
import fcntl
import posix
import select
import sys
import time

ALREADY_STARTED = 3
PIECE = 65536
LONGEST_MARKER = 128
KILL_AGAIN_SECONDS = 0.05
KILL_AGAIN_AT_MOST_SECONDS = 1.0

LOOKS = 3
"""So often in a row nobody new must be seen: one who forks without end can be missed by one look."""

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SYS_CLONE3 = 435
CLONE_INTO_CGROUP = 0x200000000
CREATE = posix.O_WRONLY | posix.O_CREAT | posix.O_CLOEXEC


def libc(function: str, *arguments: int | bytes) -> int:
    """Call a function of the C library that Python does not offer."""
    address = _ctypes.dlsym(_ctypes.dlopen(None, 2), function)  # type: ignore[arg-type] # None: this very process
    return int(_ctypes.call_cdeclfunction(address, arguments))


def read(path: str) -> str:
    """A small file of /proc or /sys as text; empty if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 # pathlib takes 5 ms to import
            return file.read()
    except OSError:
        return ""


def write(path: str, text: bytes) -> None:
    """Write to a file of /sys, if that may be."""
    try:
        descriptor = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
        posix.write(descriptor, text)
        posix.close(descriptor)
    except OSError:
        pass


def process(pid: int) -> tuple[int, int]:
    """Its parent, and when it started (ticks since boot: the same pid with another start is another process)."""
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[1]), int(fields[19])) if fields else (0, 0)


def newest_first() -> list[int]:
    """Every pid, in the order in which one who forks without end is met before he is gone again."""
    last = int((read("/proc/loadavg").split() or ["0"])[-1])
    return sorted((int(name) for name in posix.listdir("/proc") if name.isdigit()), key=lambda pid: (pid > last, -pid))


class Markers:
    """Finds the last SCRIPT_SUCCESS and SCRIPT_RESULT_ID lines in output that comes in pieces."""

    def __init__(self) -> None:
        self.success = ""
        self.result_id = ""
        self._line = b""
        self._is_overlong = False

    def feed(self, piece: bytes) -> None:
        """More output."""
        cut = max(piece.rfind(b"\n"), piece.rfind(b"\r")) + 1
        if cut:
            lines = self._line + piece[:cut]
            if b"SCRIPT_" in lines:
                # What is left of an overlong line is no line.
                self._look(lines.replace(b"\r", b"\n").split(b"\n")[self._is_overlong :])
            self._line, self._is_overlong = b"", False
        self._line += piece[cut:][: LONGEST_MARKER + 1]
        if len(self._line) > LONGEST_MARKER:
            self._line, self._is_overlong = b"", True

    def end(self) -> None:
        """No more output: the last line counts also without its newline."""
        if not self._is_overlong:
            self._look([self._line])

    def _look(self, lines: list[bytes]) -> None:
        for line in lines:
            name, _, value = line.strip().decode("ascii", "replace").partition(":")
            value = value.strip().lower()
            if name == "SCRIPT_SUCCESS" and value in ("true", "false"):
                self.success = value
            elif name == "SCRIPT_RESULT_ID" and self._is_uuid(value):
                self.result_id = value

    @staticmethod
    def _is_uuid(value: str) -> bool:
        digits = value.split("-")
        return [len(part) for part in digits] == [8, 4, 4, 4, 12] and not value.strip("0123456789abcdef-")


class Output:
    """The file with the output. Full disk or full measure: what comes is then dropped, never refused."""

    def __init__(self, descriptor: int, cap: int) -> None:
        self.kept = 0
        self.dropped = 0
        self.error = ""
        self.markers = Markers()
        self._descriptor = descriptor
        self._cap = cap
        self._ends_line = True

    def take(self, piece: bytes) -> None:
        """More output."""
        self.markers.feed(piece)
        room = 0 if self.dropped or self.error else self._cap - self.kept
        self._write(piece[:room])
        if len(piece) > room:
            if not self.dropped and not self.error:
                newline = "" if self._ends_line else "\n"
                self._write(f"{newline}[rigbeat: output capped at {self._cap} bytes]\n".encode())
            self.dropped += len(piece) - room

    def _write(self, piece: bytes) -> None:
        while piece and not self.error:
            try:
                written = posix.write(self._descriptor, piece)
            except OSError as error:
                self.error = f"The output after byte {self.kept} could not be written: {error.strerror}"
                self.dropped += len(piece)
                return
            self.kept += written
            self._ends_line = piece[written - 1 : written] == b"\n"
            piece = piece[written:]


class Tree:
    """All that descends from the shim. Who loses its parent comes to the shim, so nobody gets away."""

    def __init__(self, cgroup: str) -> None:
        self._cgroup = cgroup
        self._has_cgroup = False

    def fork(self) -> int:
        """`fork`, with the child born in a cgroup of its own where that may be; moving it there later takes 16 ms."""
        if self._cgroup:
            try:
                posix.mkdir(self._cgroup, 0o755)
                self._has_cgroup = True
                folder = posix.open(self._cgroup, posix.O_RDONLY | posix.O_CLOEXEC)
            except OSError:
                return posix.fork()
            fields = [CLONE_INTO_CGROUP, 0, 0, 0, signals.SIGCHLD, 0, 0, 0, 0, 0, folder]
            arguments = b"".join(field.to_bytes(8, sys.byteorder) for field in fields)
            pid = libc("syscall", SYS_CLONE3, arguments, len(arguments))
            if pid >= 0:
                return pid
            posix.close(folder)
        return posix.fork()

    def members(self) -> list[tuple[int, int]]:
        """(pid, start) of every descendant, parents before children."""
        children: dict[int, list[tuple[int, int]]] = {}
        for pid in newest_first():
            parent, start = process(pid)
            children.setdefault(parent, []).append((pid, start))
        found = list(children.get(posix.getpid(), ()))
        for pid, _ in found:
            found += children.get(pid, ())
        return found

    def terminate(self) -> int:
        """Ask all to end; how many there were."""
        members = self.members()
        for member in members:
            self._send(member, signals.SIGTERM)
            self._send(member, signals.SIGCONT)
        return len(members)

    def kill(self) -> None:
        """Kill all. They are stopped first, each as soon as it is seen, so that none is born while we look."""
        if self._has_cgroup:
            write(f"{self._cgroup}/cgroup.kill", b"1")  # since Linux 5.14
        stopped: dict[tuple[int, int], None] = {}
        family = {posix.getpid()}
        looks_in_vain = 0
        while looks_in_vain < LOOKS:
            count = len(stopped)
            for pid in newest_first():
                parent, start = process(pid)
                if parent in family and (pid, start) not in stopped:
                    stopped[pid, start] = None
                    family.add(pid)
                    self._send((pid, start), signals.SIGSTOP)
            looks_in_vain = looks_in_vain + 1 if len(stopped) == count else 0
        for member in stopped:
            self._send(member, signals.SIGKILL)

    def close(self) -> None:
        """Nothing lives any more."""
        if self._has_cgroup:
            try:
                posix.rmdir(self._cgroup)
            except OSError:
                pass  # the script made groups of its own in it

    @staticmethod
    def _send(member: tuple[int, int], signal: int) -> None:
        if process(member[0])[1] == member[1]:
            try:
                posix.kill(member[0], signal)
            except OSError:
                pass  # gone, or another user's: then we wait for it


def become(command: list[str], folder: str, output: int, failure: int, shim: int) -> None:
    """In the child: turn into the script. Never returns."""
    doing = "prepare its process"
    try:
        posix.setsid()
        # Should the shim be killed while the runner is away, then nobody else would end the script.
        libc("prctl", PR_SET_PDEATHSIG, signals.SIGKILL)
        if posix.getppid() != shim:
            return
        # Python ignores two, we two, nohup and a shell's background jobs others; what is ignored outlives the exec.
        # And a TERM that comes before the exec must end this process, not tell the shim.
        for signal in range(1, signals.NSIG):
            if signals.getsignal(signal) not in (signals.SIG_DFL, None):
                signals.signal(signal, signals.SIG_DFL)
        signals.pthread_sigmask(signals.SIG_SETMASK, ())
        posix.dup2(posix.open("/dev/null", posix.O_RDONLY | posix.O_CLOEXEC), 0)
        posix.dup2(output, 1)
        posix.dup2(output, 2)
        doing = f"enter {folder}"
        posix.chdir(folder)
        doing = f"execute {command[0]}"
        posix.execv(command[0], command)
    except OSError as error:
        text = f"Cannot {doing}: {error.strerror}"
        if doing.startswith("execute") and error.errno == 2 and posix.access(command[0], posix.F_OK):
            text += " (it is there, but the program in its first line is not)"
        elif error.errno == 8:
            text += " (its first line does not name a program, such as #!/bin/sh)"
        posix.write(failure, text.encode("utf-8", "backslashreplace"))
    finally:
        posix._exit(127)


class Shim:
    """One execution, from its mark to its status."""

    def __init__(self, run_dir: str, options: dict[str, str], command: list[str]) -> None:
        self.grace = float(options["--grace"])
        self.timeout = float(options["--timeout"])
        self.silence = float(options.get("--silence", "inf"))
        self.cap = int(options["--max-output"])
        self.script_dir = options["--cwd"]
        self.command = command
        self.folder = posix.open(run_dir, posix.O_RDONLY | posix.O_CLOEXEC)
        self.execution = posix.environ.get(b"RIGBEAT_EXECUTION_ID", b"").decode("utf-8", "replace")
        self.cgroup = self._own_cgroup()
        self.tree = Tree(self.cgroup)
        self.poll = select.poll()
        self.out = self.failure = -1
        self.status = ""
        self.output = Output(-1, 0)
        self.child = 0
        self.code: int | None = None
        self.started_at = 0.0
        self.spoke_at = self.began = time.monotonic()
        self.spawn_error = ""
        self.cause = ""
        self.leftovers = 0
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

    def mark(self) -> bool:
        """Leave the start mark, locked; False if there is one. What it promises is on the disk before this returns."""
        own = f"{posix.getpid()}.{time.monotonic_ns()}"
        name, self.status = f"start.{own}", f"status.{own}"
        # Room for the status first, so that a disk that fills up later cannot keep it back.
        status = posix.open(self.status, CREATE | posix.O_EXCL, 0o600, dir_fd=self.folder)
        posix.posix_fallocate(status, 0, 4096)
        descriptor = posix.open(name, CREATE | posix.O_EXCL, 0o600, dir_fd=self.folder)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            facts: dict[str, object] = {
                "pid": posix.getpid(),
                "start_ticks": process(posix.getpid())[1],
                "boot_id": read("/proc/sys/kernel/random/boot_id").strip(),
                "execution_id": self.execution,
                "cgroup": self.cgroup,
            }
            posix.write(descriptor, self._lines(facts))
            posix.link(name, "start", src_dir_fd=self.folder, dst_dir_fd=self.folder)
        except FileExistsError:
            posix.unlink(self.status, dir_fd=self.folder)
            return False
        finally:
            posix.unlink(name, dir_fd=self.folder)
        for one in (descriptor, self.folder):  # the first of them writes nearly all that there is
            posix.fsync(one)
        return True

    def run(self) -> None:
        """Start the script and stay until nothing of it lives."""
        if self._is_cancelled():
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
            "success_marker": self.output.markers.success,
            "result_id": self.output.markers.result_id,
            "error": (self.spawn_error or self.output.error).replace("\n", " ")[:800],
        }
        self._publish(self.status, "status", facts, is_durable=True)

    def _spawn(self) -> None:
        kept = posix.open("output", CREATE | posix.O_APPEND, 0o600, dir_fd=self.folder)
        self.output = Output(kept, self.cap)
        self.out, out = posix.pipe()
        self.failure, failure = posix.pipe()
        for descriptor in (self.out, self.failure):
            posix.set_blocking(descriptor, False)
            self.poll.register(descriptor, select.POLLIN)
        shim = posix.getpid()
        # A SIGTERM between fork and exec must end the child, not run our handler in it.
        signals.pthread_sigmask(signals.SIG_BLOCK, (signals.SIGTERM,))
        self.started_at = time.time()
        self.spoke_at = self.began = time.monotonic()
        self.child = self.tree.fork()
        if self.child == 0:
            become(self.command, self.script_dir, out, failure, shim)
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
            return "cancelled" if self._is_cancelled() else "terminated"
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
        if self.failure < 0:
            return
        self.spawn_error = posix.read(self.failure, 4096).decode("utf-8", "replace")
        self.poll.unregister(self.failure)
        posix.close(self.failure)
        self.failure = -1
        if not self.spawn_error:
            try:
                facts: dict[str, object] = {"started_at": self.started_at, "pid": self.child}
                self._publish("started.tmp", "started", facts, is_durable=False)
            except OSError:
                pass  # the status says it, too

    def _publish(self, draft: str, name: str, facts: dict[str, object], *, is_durable: bool) -> None:
        descriptor = posix.open(draft, CREATE, 0o600, dir_fd=self.folder)
        posix.ftruncate(descriptor, posix.write(descriptor, self._lines(facts)))
        if is_durable:
            posix.fsync(descriptor)
        posix.close(descriptor)
        posix.rename(draft, name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        if is_durable:
            posix.fsync(self.folder)

    @staticmethod
    def _lines(facts: dict[str, object]) -> bytes:
        return "".join(f"{key}={value}\n" for key, value in facts.items()).encode("utf-8", "backslashreplace")

    def _is_cancelled(self) -> bool:
        return posix.access("cancel", posix.F_OK, dir_fd=self.folder)

    def _own_cgroup(self) -> str:
        """Where the tree's own group would be; empty if it may not be."""
        for line in read("/proc/self/cgroup").splitlines():
            for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
                parent = mount + line[3:].rstrip("/")
                if line.startswith("0::") and posix.access(f"{parent}/cgroup.procs", posix.W_OK):
                    return f"{parent}/rigbeat-{self.execution}" if self.execution else ""
        return ""

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
    if not shim.mark():
        return ALREADY_STARTED
    posix.chdir("/")
    shim.run()
    shim.report()
    return 0


if __name__ == "__main__":
    posix._exit(main(sys.argv))  # nothing is left to be tidied up, and somebody waits
