"""Starts, watches and ends shims. All that is known of them lies in their folders, so that any runner can take over.

The one file of the runner that starts processes. Linux 5.4 or newer (pidfd).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from libs.chassis.logs import get_logger
from services.host_runner.bounds import User
from services.host_runner.core.ending import Ending, How
from services.host_runner.interpreter import interpreter, sync
from services.host_runner.leftovers import kill_cgroup, kill_leftovers
from services.host_runner.run_dir import (
    ERRORS,
    OUTPUT,
    ShimState,
    inspect,
    instant,
    last_error,
    output_size,
    read_ending,
    read_facts,
)
from services.host_runner.shim_spec import ShimSpec

LOOK_AT_FIRST_SECONDS = 0.002
LOOK_AT_MOST_SECONDS = 0.05

__all__ = [
    "OUTPUT",
    "ShimSpec",
    "ShimState",
    "cancel",
    "inspect",
    "interpreter",
    "is_never_to_start",
    "kill_leftovers",
    "run_as",
    "spawn",
    "started",
    "wait_ended",
]

log = get_logger(__name__)


def spawn(spec: ShimSpec) -> int:
    """Start a shim and return its pid; it outlives this process, and `wait_ended` reaps it.

    Blocks for a few milliseconds. Raises `OSError` when the interpreter or the folder is not to be had.
    """
    if not spec.run_dir.is_dir():
        spec.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync(spec.run_dir.parent)
    silence = () if spec.silence_timeout_seconds is None else ("--silence", str(spec.silence_timeout_seconds))
    options = ("--timeout", str(spec.timeout_seconds), *silence, "--grace", str(spec.grace_seconds))
    limits = ("--max-output", str(spec.max_output_bytes), "--cwd", str(spec.cwd.absolute()))
    with (spec.run_dir / ERRORS).open("ab") as errors:
        child = subprocess.Popen(
            [
                *interpreter(spec.python, spec.run_dir.parent),
                str(spec.run_dir.absolute()),
                *options,
                *limits,
                *spec.bounds.options(),
                "--",
                *spec.argv,
            ],
            env=dict(spec.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    # Its zombie is ours to reap, in `wait_ended`; a Popen that is dropped would try it, too.
    child.returncode = 0
    return child.pid


_libc = ctypes.CDLL(None, use_errno=True)
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4


def _drop_ambient_capabilities() -> None:
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def run_as(user: User, argv: tuple[str, ...], within: float = 30.0) -> str:
    """What a program prints that this user runs to its end, at most `within` seconds later, with an empty environment.

    Raises `OSError` when it cannot be run or does not end well.
    """
    groups = list(user.groups)
    try:
        ended = subprocess.run(
            argv,
            user=user.uid,
            group=user.gid,
            extra_groups=groups,
            cwd="/",
            env={},
            # After the change of user, which leaves a runner that is not root the capabilities that it lives by.
            preexec_fn=_drop_ambient_capabilities,  # it calls nothing but the kernel
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=within,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"it did not end within {within:g} s") from None
    if ended.returncode:
        said = ended.stderr.decode("utf-8", "replace").strip().splitlines()
        raise OSError(f"it ended with {ended.returncode}: {said[-1] if said else 'without a word'}")
    return ended.stdout.decode("utf-8", "replace")


async def started(run_dir: Path, within: float, pid: int | None = None) -> datetime | None:
    """When the script's process came to be, in the host's clock; waits for it up to `within` seconds.

    None: it is not there yet, or was never to be (`wait_ended` tells why). With the `pid` that `spawn` returned, a shim
    that ends before it can begin is not waited for.
    """
    deadline = time.monotonic() + within
    pause = LOOK_AT_FIRST_SECONDS
    while True:
        is_over = pid is not None and _has_ended(pid)
        state = inspect(run_dir)
        is_over = state in {ShimState.FINISHED, ShimState.DEAD} or (is_over and state is ShimState.NEVER_STARTED)
        for name in ("started", "status"):
            at = read_facts(run_dir / name).get("started_at")
            if at:
                return instant(at)
        if is_over or time.monotonic() >= deadline:
            return None
        await asyncio.sleep(pause)
        pause = min(pause * 1.2, LOOK_AT_MOST_SECONDS)


async def wait_ended(run_dir: Path, pid: int | None = None) -> Ending:
    """Wait until nothing of the tree lives, and tell how it ended.

    `pid` is what `spawn` returned to this very process; None for a shim that an earlier runner started. When the shim
    died without a status, what is left of the tree is killed first, however long that takes. May be cancelled and
    called again.
    """
    pause = LOOK_AT_FIRST_SECONDS
    if pid is not None:
        await _reap(pid)
    while True:
        match inspect(run_dir):
            case ShimState.FINISHED:
                return read_ending(run_dir)
            case ShimState.NEVER_STARTED:
                if not is_never_to_start(run_dir):
                    continue
                said = last_error(run_dir) or "no shim has begun"
                return Ending(How.SPAWN_FAILED, ended_at=_now(), error=f"The shim did not start: {said}")
            case ShimState.DEAD:
                return await _bury(run_dir)
            case ShimState.ALIVE:
                with suppress(ProcessLookupError):
                    shim_fd = _open_live(run_dir)
                    if shim_fd is not None:
                        await _readable(shim_fd)
                        continue
                # Between its death and the end of its lock there are moments.
                await asyncio.sleep(pause)
                pause = min(pause * 1.2, LOOK_AT_MOST_SECONDS)


def is_never_to_start(run_dir: Path) -> bool:
    """Whether no shim has begun here; then none will: an earlier runner's that is on its way yet starts nothing."""
    cancel(run_dir)
    return inspect(run_dir) is ShimState.NEVER_STARTED


def cancel(run_dir: Path) -> None:
    """Have the tree ended: TERM, then KILL after the grace time. Answers at once; harmless when nothing lives.

    A shim that is only just starting sees it before it starts the script. Without a folder there is nothing to cancel.
    """
    try:
        (run_dir / "cancel").touch()
    except FileNotFoundError:
        pass
    except OSError as error:  # a full disk: who lives is told all the same
        log.warning("A run's folder cannot be written", reason=str(error), run_dir=str(run_dir))
    with suppress(ProcessLookupError):
        shim_fd = _open_live(run_dir)
        if shim_fd is not None:
            try:
                signal.pidfd_send_signal(shim_fd, signal.SIGTERM)
            finally:
                os.close(shim_fd)


async def _bury(run_dir: Path) -> Ending:
    """Kill what a dead shim left behind, then say that the run was interrupted."""
    mark = read_facts(run_dir / "start")
    # A mark can be empty after a power cut; then nothing of the tree lives, and the folder's name is the id.
    execution_id = mark.get("execution_id") or run_dir.name
    cgroup = mark.get("cgroup", "")
    killed = 0
    is_clean = False
    while not is_clean:
        try:
            await asyncio.to_thread(kill_cgroup, cgroup, execution_id)
            killed += await asyncio.to_thread(kill_leftovers, execution_id)
            is_clean = True
        except TimeoutError as error:
            log.warning("A device stays taken", reason=str(error), run_dir=str(run_dir))
    began = read_facts(run_dir / "started").get("started_at")
    started_at, ended_at = instant(began) if began else None, _now()
    return Ending(
        How.INTERRUPTED,
        ended_at=ended_at,
        started_at=started_at,
        duration_seconds=max(0.0, (ended_at - started_at).total_seconds()) if started_at else None,
        output_bytes=output_size(run_dir),
        leftovers=killed,
    )


def _open_live(run_dir: Path) -> int | None:
    """A pidfd of the living shim; None if it does not live. Raises `ProcessLookupError` while it is just ending."""
    pid = read_facts(run_dir / "start").get("pid")
    if not pid:
        return None
    descriptor = os.pidfd_open(int(pid))
    # Whoever holds the lock now is the shim, and lives, so what was opened before is no later process of that number.
    if inspect(run_dir) is ShimState.ALIVE:
        return descriptor
    os.close(descriptor)
    return None


async def _reap(pid: int) -> None:
    """Wait until our own child is dead, and take its zombie away; nothing if there is no such child."""
    if _is_child(pid):
        await _readable(os.pidfd_open(pid))
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222 # it does not wait


def _is_child(pid: int) -> bool:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _has_ended(pid: int) -> bool:
    """Whether our own child is dead; its zombie stays. What is not our child has ended for us."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


async def _readable(descriptor: int) -> None:
    """Wait until this pidfd says that its process is dead, and close it."""
    loop = asyncio.get_running_loop()
    dead = asyncio.Event()
    loop.add_reader(descriptor, dead.set)
    try:
        await dead.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _now() -> datetime:
    return datetime.now(UTC)  # the shell's clock
