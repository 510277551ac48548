"""The folder of one execution: what the shim promises and reports there."""

import fcntl
import posix
import time

from services.host_runner.shim.kernel import CREATE, process, read


class Record:
    """What is left in RUN_DIR, by lines of `key=value` but for the output."""

    def __init__(self, run_dir: str) -> None:
        self.folder = posix.open(run_dir, posix.O_RDONLY | posix.O_CLOEXEC)
        self.status = ""

    def mark(self, execution: str, cgroup: str) -> bool:
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
                "execution_id": execution,
                "cgroup": cgroup,
            }
            posix.write(descriptor, _lines(facts))
            posix.link(name, "start", src_dir_fd=self.folder, dst_dir_fd=self.folder)
        except FileExistsError:
            posix.unlink(self.status, dir_fd=self.folder)
            return False
        finally:
            posix.unlink(name, dir_fd=self.folder)
        for one in (descriptor, self.folder):  # the first of them writes nearly all that there is
            posix.fsync(one)
        return True

    def publish(self, draft: str, name: str, facts: dict[str, object], *, is_durable: bool) -> None:
        """Let the file `name` appear whole, written as `draft` before. Raises `OSError`."""
        descriptor = posix.open(draft, CREATE, 0o600, dir_fd=self.folder)
        posix.ftruncate(descriptor, posix.write(descriptor, _lines(facts)))
        if is_durable:
            posix.fsync(descriptor)
        posix.close(descriptor)
        posix.rename(draft, name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        if is_durable:
            posix.fsync(self.folder)

    def is_cancelled(self) -> bool:
        """Whether the runner has asked for the end."""
        return posix.access("cancel", posix.F_OK, dir_fd=self.folder)


def _lines(facts: dict[str, object]) -> bytes:
    return "".join(f"{key}={value}\n" for key, value in facts.items()).encode("utf-8", "backslashreplace")
