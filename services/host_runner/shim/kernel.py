"""What the kernel is asked, without the modules that take too long to import."""

# The modules beneath `os`, `signal` and `ctypes`: importing those three takes 6 ms of the 20 that we have.
import _ctypes
import posix

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
    """Write to a file of /sys. Raises `OSError`."""
    descriptor = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(descriptor, text)
    finally:
        posix.close(descriptor)


def pairs(text: str) -> list[tuple[str, str]]:
    """`a=1,b=2`."""
    return [(name, value) for name, _, value in (one.partition("=") for one in text.split(",") if one)]


def process(pid: int) -> tuple[int, int]:
    """Its parent, and when it started (ticks since boot: the same pid with another start is another process)."""
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[1]), int(fields[19])) if fields else (0, 0)


def newest_first() -> list[int]:
    """Every pid, in the order in which one who forks without end is met before he is gone again."""
    last = int((read("/proc/loadavg").split() or ["0"])[-1])
    return sorted((int(name) for name in posix.listdir("/proc") if name.isdigit()), key=lambda pid: (pid > last, -pid))
