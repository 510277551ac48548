"""The script's process tree, which nobody leaves."""

# ruff: noqa: SIM105 # contextlib alone takes 2 ms to import
import _signal as signals  # type: ignore[import-not-found] # no stubs; the same functions as in `signal`
import posix
import sys

from services.host_runner.shim.kernel import libc, newest_first, process, read, write

LOOKS = 3
"""So often in a row nobody new must be seen: one who forks without end can be missed by one look."""

SYS_CLONE3 = 435
CLONE_INTO_CGROUP = 0x200000000


class Tree:
    """All that descends from the shim. Who loses its parent comes to the shim, so nobody gets away."""

    def __init__(self, cgroup: str, limits: list[tuple[str, str]]) -> None:
        self._cgroup = cgroup
        self._limits = limits
        self._has_cgroup = False

    def fork(self) -> int:
        """`fork`, with the child born in a cgroup of its own where that may be; moving it there later takes 16 ms.

        Raises `OSError` when it must be, for the sake of its limits, and cannot.
        """
        if self._cgroup:
            try:
                posix.mkdir(self._cgroup, 0o755)
                self._has_cgroup = True
                for name, value in self._limits:
                    try:
                        write(f"{self._cgroup}/{name}", value.encode())
                    except FileNotFoundError:
                        if name != "memory.swap.max":  # not where the kernel does not count swap
                            raise
                folder = posix.open(self._cgroup, posix.O_RDONLY | posix.O_CLOEXEC)
            except OSError as error:
                if self._limits:
                    raise OSError(error.errno, f"{error.strerror} ({self._cgroup})") from None
                return posix.fork()
            fields = [CLONE_INTO_CGROUP, 0, 0, 0, signals.SIGCHLD, 0, 0, 0, 0, 0, folder]
            arguments = b"".join(field.to_bytes(8, sys.byteorder) for field in fields)
            pid = libc("syscall", SYS_CLONE3, arguments, len(arguments))
            if pid >= 0:
                return pid
            posix.close(folder)
            if self._limits:
                raise OSError(0, f"the kernel starts none in {self._cgroup} (Linux 5.7 or newer is needed)")
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
            try:
                write(f"{self._cgroup}/cgroup.kill", b"1")  # since Linux 5.14
            except OSError:
                pass
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

    def events(self) -> str:
        """How often the kernel held it to its cgroup's limits: `memory:N,processes:N`, without what never happened."""
        found = []
        for name, file, event in (("memory", "memory.events", "oom_kill"), ("processes", "pids.events", "max")):
            count = dict(line.split() for line in read(f"{self._cgroup}/{file}").splitlines()).get(event, "0")
            if self._has_cgroup and count != "0":
                found.append(f"{name}:{count}")
        return ",".join(found)

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


def own_cgroup(execution: str, parent: str) -> str:
    """Where the tree's own group would be, below `parent` if that is given; empty if it may not be."""
    if parent:
        return f"{parent}/rigbeat-{execution}"
    for line in read("/proc/self/cgroup").splitlines():
        for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
            parent = mount + line[3:].rstrip("/")
            if line.startswith("0::") and posix.access(f"{parent}/cgroup.procs", posix.W_OK):
                return f"{parent}/rigbeat-{execution}" if execution else ""
    return ""
