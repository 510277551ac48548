"""What scripts are confined by, made ready at the runner's start; what cannot be had is refused with a sentence."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

from libs.chassis.logs import get_logger
from services.host_runner.bounds import Bounds, User
from services.host_runner.process import run_as
from services.host_runner.settings import Settings
from services.host_runner.trust import changeable, replaceable

CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_FOWNER": 3,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SYS_PTRACE": 19,
}
"""To become another user, to end what it started, and to read and remove what it left behind."""
CGROUPS = Path("/sys/fs/cgroup")
HIGHEST = 2**32 - 2
# What the user of scripts may do with each path: access(2) asks for the real user, whatever rights one has besides.
LOOK = """
import json, os, sys
print(json.dumps([[mode for mode in "rwx" if os.access(path, getattr(os, mode.upper() + "_OK"))]
                  for path in sys.argv[1:]]))
"""

log = get_logger(__name__)


class ConfinementError(Exception):
    """Scripts cannot be confined as the settings say; the text is for people, and says what to do."""


def bounds(settings: Settings) -> Bounds:
    """What the settings say. Raises `ConfinementError`."""
    user = _user(settings.script_user) if settings.script_user else None
    if user is not None and (missing := missing_capabilities(Path("/proc/self/status").read_text(encoding="utf-8"))):
        raise ConfinementError(
            f"RIGBEAT_SCRIPT_USER needs a runner that is root, or has the capabilities for it, and this one lacks "
            f"{', '.join(missing)}: start it as root, give them to it (systemd: AmbientCapabilities=, "
            f"Docker: --cap-add), or leave RIGBEAT_SCRIPT_USER empty"
        )
    if settings.script_processes and user is None and settings.script_cgroup is None and os.geteuid() == 0:
        raise ConfinementError(
            "RIGBEAT_SCRIPT_PROCESSES does not bind root: set RIGBEAT_SCRIPT_USER or RIGBEAT_SCRIPT_CGROUP beside it"
        )
    return Bounds(
        user=user,
        may_gain_rights=settings.script_may_gain_rights,
        memory_bytes=settings.script_memory_bytes,
        processes=settings.script_processes,
        file_bytes=settings.script_file_bytes,
        open_files=settings.script_open_files,
        cgroup=settings.script_cgroup,
    )


def prepare(settings: Settings, given: Bounds) -> None:
    """Make the folders and the cgroup, and look whether all is as it must be. Raises `ConfinementError`."""
    try:
        if given.cgroup is not None:
            prepare_cgroup(given)
        if given.user is None:
            settings.work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.geteuid() == 0:
                log.warning("Scripts run as root: give them a user of their own (RIGBEAT_SCRIPT_USER)")
            return
        _shut(settings, given.user)
        _look_at_scripts(settings.scripts_dir, given.user)
        _look_as(given.user, settings)
    except OSError as error:
        raise ConfinementError(f"Scripts cannot be confined: {error}") from error


def missing_capabilities(status: str) -> list[str]:
    """Which of `CAPABILITIES` a process with this /proc/PID/status lacks, or would not hand on to its shims."""
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    is_root = facts["Uid"].split()[1] == "0"
    held = int(facts["CapEff" if is_root else "CapAmb"], 16)
    return [name for name, bit in CAPABILITIES.items() if not held >> bit & 1]


def prepare_cgroup(given: Bounds) -> None:
    """Make the group below which each run gets one, with the controllers for its limits.

    Raises `ConfinementError`, `OSError`.
    """
    group = given.cgroup
    assert group is not None
    if CGROUPS not in group.parents or ".." in group.parts:
        raise ConfinementError(f"RIGBEAT_SCRIPT_CGROUP: {group} is not below {CGROUPS}")
    group.mkdir(exist_ok=True)
    for controller, wanted in (("memory", given.memory_bytes), ("pids", given.processes)):
        if wanted is None:
            continue
        try:
            (group / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")
        except OSError as error:
            raise ConfinementError(
                f"RIGBEAT_SCRIPT_CGROUP: {group} cannot limit {controller} ({error.strerror}): it must be in a cgroup "
                f"of version 2 whose cgroup.subtree_control has {controller}, and hold no processes itself"
            ) from error


def _user(text: str) -> User:
    is_number = text.isascii() and text.isdecimal()
    try:
        account = pwd.getpwuid(int(text)) if is_number else pwd.getpwnam(text)
    except (KeyError, OverflowError):
        if not is_number or int(text) > HIGHEST:
            raise ConfinementError(f"RIGBEAT_SCRIPT_USER: there is no user {text} on this machine") from None
        user = User(int(text), int(text), (), text)
    else:
        groups = os.getgrouplist(account.pw_name, account.pw_gid)
        own = tuple(sorted(set(groups) - {account.pw_gid}))
        user = User(account.pw_uid, account.pw_gid, own, account.pw_name)
    if user.uid in {0, os.geteuid()}:
        raise ConfinementError(
            f"RIGBEAT_SCRIPT_USER: {text} is {'root' if user.uid == 0 else 'the runner itself'}; name a user that has "
            f"nothing but the scripts, or leave it empty"
        )
    return user


def _shut(settings: Settings, user: User) -> None:
    """Leave scripts nothing of the state folder but the way to their own folders, whose names they must know."""
    settings.runs_dir.mkdir(exist_ok=True)
    theirs = (settings.artifacts_dir, settings.work_dir)  # perhaps of runs that go on
    for entry in settings.state_dir.iterdir():
        if not entry.is_symlink() and entry not in theirs:
            entry.chmod(entry.stat().st_mode & 0o700)
    ours = [settings.state_dir, settings.artifacts_dir]
    if not settings.work_dir.exists() or settings.work_dir.parent == settings.state_dir:
        ours.append(settings.work_dir)
    for folder in ours:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(folder, os.geteuid(), user.gid)
        folder.chmod(0o710)


def _look_at_scripts(folder: Path, user: User) -> None:
    real = folder.resolve()
    place = changeable(real, real, user) or replaceable(real, user)
    if place is not None:
        raise ConfinementError(
            f"RIGBEAT_SCRIPTS_DIR: {user.name}, the user of scripts, may write to {place}, and so change what is run: "
            f"make it another user's (chown root), and writable for its owner alone (chmod go-w)"
        )


def _look_as(user: User, settings: Settings) -> None:
    """What the kernel says is what counts: mounts and access control lists are in it, too."""
    private = [settings.state_dir, *(one for one in settings.state_dir.iterdir() if one.is_file())]
    entered = [settings.scripts_dir, settings.artifacts_dir, settings.work_dir]
    try:
        answer = run_as(user, (settings.python, "-I", "-S", "-c", LOOK, *map(str, [*entered, *private])))
        modes = [set(each) for each in json.loads(answer)]
    except (OSError, ValueError) as error:
        raise ConfinementError(
            f"RIGBEAT_SCRIPT_USER: {user.name} cannot run {settings.python} ({error}): name a Python that it can with "
            f"RIGBEAT_PYTHON"
        ) from error
    for path, may in zip(entered, modes, strict=False):
        if "x" not in may:
            raise ConfinementError(
                f"RIGBEAT_SCRIPT_USER: {user.name} cannot enter {path}: it, and each folder above it, must let that "
                f"user pass (chmod o+x), or lie elsewhere"
            )
        if "w" in may:
            raise ConfinementError(f"RIGBEAT_SCRIPT_USER: {user.name} may write to {path}, which must be another's")
    for path, may in zip(private, modes[len(entered) :], strict=True):
        if may & {"r", "w"}:
            raise ConfinementError(f"RIGBEAT_SCRIPT_USER: {user.name} may read or write {path}, which is the runner's")
