"""A PostgreSQL server of our own, on the loopback interface, with a drawn password."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path
from urllib.parse import quote

from libs.stack import ports, secret
from libs.stack.errors import StackError
from libs.stack.place import clear, mark_passing, place_of, sweep, working_in
from libs.stack.process import Child, Finished, start
from libs.stack.program import ROOTS_HOME, Programs, find_programs
from libs.stack.tls import ServerTls

SUPERUSER = "postgres"
_ONLY_TLS = "hostssl all all all scram-sha-256\n"
_START_SECONDS = 60.0
_INITDB_SECONDS = 120.0
_STOP_SECONDS = 30.0
_ROOM_BYTES = 100 << 20  # a new server's data are 60 MB
_DYING_SECONDS = 3.0  # a server whose parent was just killed still needs a moment to end
_POLL_SECONDS = 0.02


class Postgres:
    """One server for one directory; start and stop may be called in any order and number.

    Promises: it ends with this process, even after `kill -9`; the same directory keeps its data and its password, the
    same object its port. As root the data is under /var/lib/rigbeat, owned by the user `rigbeat`, and `directory/data`
    is a link to it. `durable=False` turns fsync off: for tests, whose data may die with the machine. `programs` is a
    folder with PostgreSQL's programs, of any version from 15 on; without it they are those of the wheel. With `tls`
    nobody is let in without it, and urls name `localhost`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        log: Path,
        durable: bool = True,
        programs: Path | None = None,
        tls: ServerTls | None = None,
    ) -> None:
        self.directory = directory
        self.log = log
        self._chosen_port = port
        self._port = port
        self._durable = durable
        self._programs = programs
        self._tls = tls
        self._child: Child | None = None

    @property
    def port(self) -> int:
        """The chosen port, or the one drawn at the first start."""
        if self._port is None:
            raise StackError("PostgreSQL has no port yet; start it first.")
        return self._port

    @property
    def pid(self) -> int | None:
        """The postmaster's, None when it does not run."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    @property
    def superuser_url(self) -> str:
        """`url()` for those who want no more than that."""
        return self.url()

    def url(self, database: str = "postgres", user: str | None = None, password: str | None = None) -> str:
        """`postgresql://…`, of the superuser unless a user is given."""
        if user is None:
            user, password = SUPERUSER, secret.kept(self._password_file)
        word = "" if password is None else f":{quote(password, safe='')}"
        host = ports.LOOPBACK if self._tls is None else ports.LOCALHOST
        more = "" if self._tls is None else f"?sslmode=verify-full&sslrootcert={quote(str(self._tls.ca))}"
        return f"postgresql://{quote(user, safe='')}{word}@{host}:{self.port}/{quote(database, safe='')}{more}"

    def find(self) -> Programs:
        """The programs that it is started from. StackError when they are missing or do not run here."""
        return find_programs(self._programs)

    def start(self) -> Child:
        """Create the data at first, start, and return when connections are accepted; StackError otherwise."""
        if self._child is not None and self._child.poll() is None:
            return self._child
        programs = self.find()
        data = place_of(self.directory)
        self._await_former_end(data)
        if not data.exists():
            self._initialise(programs, data)
        self._require_version(programs, data)
        if self._tls is not None:
            self._tls.into(data, programs.user)
            secret.write(data / "tls_hba.conf", _ONLY_TLS)
            if programs.user is not None:
                os.chown(data / "tls_hba.conf", programs.user.uid, programs.user.gid)
        if self._port is None:
            self._port = ports.free_port()
        ports.require_free(self._port, "PostgreSQL")
        # SIGQUIT is an immediate shutdown: no child of the postmaster stays behind, which SIGKILL cannot promise.
        self._child = start(
            "postgres",
            [programs.bin / "postgres", "-D", data, *self._settings()],
            env=programs.environment,
            log=self.log,
            cwd=data,
            user=programs.user,
            death_signal=signal.SIGQUIT,
        )
        self._await_ready(self._child, data)
        return self._child

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back. Boring when it does not run."""
        if self._child is not None:
            self._child.terminate(_STOP_SECONDS, signal.SIGINT)
            self._child = None

    def destroy(self) -> None:
        """Stop, and remove the data and the password."""
        self.stop()
        data = place_of(self.directory)
        clear(self.directory, data)
        self._password_file.unlink(missing_ok=True)

    @property
    def _password_file(self) -> Path:
        return self.directory / "password"

    def _settings(self) -> list[str]:
        settings = {
            "listen_addresses": ports.LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if self._tls is not None:
            settings |= {"ssl": "on", "ssl_cert_file": "cert.pem", "ssl_key_file": "key.pem"}
            settings |= {"hba_file": str(place_of(self.directory) / "tls_hba.conf")}
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _initialise(self, programs: Programs, data: Path) -> None:
        """Make the data beside its place and move it there whole: a killed initdb leaves nothing that looks done."""
        data.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not self._durable:
            sweep()
            mark_passing(self.directory, data)
        draft = data.with_name("data.draft")
        shutil.rmtree(draft, ignore_errors=True)
        word = data.with_name("password.draft")
        secret.write(word, secret.kept(self._password_file))
        if programs.user is not None:
            ROOTS_HOME.chmod(0o755)
            for path in (data.parent, word):
                os.chown(path, programs.user.uid, programs.user.gid)
        options = [
            "--auth=scram-sha-256",
            f"--pwfile={word}",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            f"--username={SUPERUSER}",
        ]
        try:
            made = programs.run(
                "initdb", "-D", draft, *options, *([] if self._durable else ["--no-sync"]), within=_INITDB_SECONDS
            )
        finally:
            word.unlink()
        if made.code != 0:
            shutil.rmtree(draft, ignore_errors=True)
            free = shutil.disk_usage(data.parent).free
            advice = "mend that" if free > _ROOM_BYTES else f"only {free >> 20} MB are free there: free some space"
            raise StackError(f"initdb could not create {data} ({_cause(made)}); {advice} and start again.")
        draft.rename(data)

    def _require_version(self, programs: Programs, data: Path) -> None:
        kept = data / "PG_VERSION"
        if not kept.exists():
            raise StackError(f"{data} holds no PostgreSQL data; remove {self.directory} to start anew.")
        major = kept.read_text().strip()
        if major != str(programs.major):
            raise StackError(
                f"{data} was made by PostgreSQL {major}, and this is {programs.major}; "
                f"dump it with version {major}, or remove {self.directory} to start anew without its data."
            )

    def _await_former_end(self, data: Path) -> None:
        """No server may still run on the data; a lock file that nobody holds is removed.

        PostgreSQL itself believes a stale lock file whose pid belongs to any other process of the same user by now.
        """
        lock = data / "postmaster.pid"
        if not lock.exists():
            return
        deadline = time.monotonic() + _DYING_SECONDS
        while holders := working_in(data):
            if time.monotonic() > deadline:
                raise StackError(
                    f"A PostgreSQL with pid {min(holders)} still runs on {data}; "
                    f"end it (kill -INT {min(holders)}) or use another directory."
                )
            time.sleep(_POLL_SECONDS)
        lock.unlink(missing_ok=True)

    def _await_ready(self, child: Child, data: Path) -> None:
        """Wait for the word that pg_ctl waits for: the eighth line of the lock file, which also names our pid."""
        deadline = time.monotonic() + _START_SECONDS
        while not _is_ready(data / "postmaster.pid", child.pid):
            if child.poll() is not None:
                raise StackError(f"PostgreSQL ended while it started ({child.last_words()}); see {self.log}.")
            if time.monotonic() > deadline:
                self.stop()
                raise StackError(f"PostgreSQL was not ready within {_START_SECONDS:.0f} s; see {self.log}.")
            time.sleep(_POLL_SECONDS)


def _cause(made: Finished) -> str:
    """The first error that initdb names; what it says last is often only that it tidies up."""
    errors = (line.strip() for line in made.output.splitlines() if re.search(r"\b(FATAL|PANIC|ERROR|error): ", line))
    return next(errors, made.tail())


def _is_ready(lock: Path, pid: int) -> bool:
    try:
        lines = lock.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
