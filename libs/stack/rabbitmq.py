"""A RabbitMQ node of our own, on the loopback interface, with a drawn user and password."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from libs.stack import ports, secret
from libs.stack.answers import greets, serves
from libs.stack.container import Engine, name_of
from libs.stack.errors import StackError
from libs.stack.installation import Installation, default_cache, find_rabbitmq
from libs.stack.node import USER, Node, NodePorts, prepare
from libs.stack.process import Child, run, start
from libs.stack.tls import ServerTls

_START_SECONDS = 90.0
_STOP_SECONDS = 30.0
_DYING_SECONDS = 3.0  # a server whose parent was just killed still needs a moment to end
_POLL_SECONDS = 0.02
_EPMD_SECONDS = 10.0
_CALL_SECONDS = 3
_DROP_STATISTICS = "gen_event delete_handler [rabbit_event,rabbit_mgmt_db_handler,[]]"


class RabbitMQ:
    """One node for one directory; start and stop may be called in any order and number.

    Promises: it ends with this process, even after `kill -9`, and its epmd too; the same directory keeps its queues,
    messages, user and password, the same object its ports. `durable=False` ends it at once instead of orderly (which
    takes a second): for tests, whose queues are thrown away. With `tls` neither AMQP nor the management is served
    without it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        management_port: int | None = None,
        prometheus_port: int | None = None,
        log: Path,
        installation: Installation | Engine | None = None,
        durable: bool = True,
        tls: ServerTls | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.log = log
        self.epmd: Child | None = None
        self._asked = (port, management_port, prometheus_port)
        self._ports: NodePorts | None = None
        self._installation = installation
        self._durable = durable
        self._tls = tls
        self._child: Child | None = None
        self._is_ready = False
        self._node: Node | None = None

    @property
    def port(self) -> int:
        """Of AMQP: the chosen one, or the one drawn at the first start."""
        return self._drawn.amqp

    @property
    def management_port(self) -> int:
        """Of the management plugin's pages and HTTP API."""
        return self._drawn.management

    @property
    def prometheus_port(self) -> int:
        """Of `/metrics`."""
        return self._drawn.prometheus

    @property
    def pid(self) -> int | None:
        """The Erlang machine's, None when it does not run."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    @property
    def amqp_url(self) -> str:
        """`amqp://user:password@127.0.0.1:port/`, the virtual host `/`; with TLS `amqps://…@localhost:port/`."""
        return f"{self._place('amqp')}:{self.port}/"

    @property
    def management_url(self) -> str:
        """`http://user:password@127.0.0.1:port`; with TLS `https://…@localhost:port`."""
        return f"{self._place('http')}:{self.management_port}"

    def find(self, tell: Callable[[str], None] = lambda _line: None) -> Installation | Engine:
        """What it is started from: what was given, else what `find_rabbitmq` finds."""
        return self._installation or find_rabbitmq(default_cache(), tell)

    def start(self) -> Child:
        """Start, and return when AMQP, management and metrics all answer; StackError otherwise."""
        if self._child is not None and self._child.poll() is None:
            return self._child
        self.stop()  # of a node that died an epmd is left
        self._is_ready = False
        installation = self.find()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = self._lock()
        try:
            node = prepare(self.directory, self._draw(), installation, self._tls)
            self._child = self._launch(node, lock)
            self._node = node
            os.ftruncate(lock, 0)
            os.write(lock, str(self._child.pid).encode())
        finally:
            os.close(lock)  # the node has it now, for as long as it lives
        self._await_ready(self._child)
        self._is_ready = True
        return self._child

    def stop(self) -> None:
        """Stop orderly (or at once, when not durable or not yet ready), epmd last. Boring when it does not run.

        A node that still starts does not listen to a SIGTERM, and has taken nothing that could be lost.
        """
        if self._child is not None:
            if self._durable and self._is_ready and self._child.poll() is None:
                self._drop_statistics()
                self._child.terminate(_STOP_SECONDS)
            self._child.kill()
            self._child = None
            if self._node is not None and isinstance(self._node.installation, Engine):
                self._node.installation.remove(name_of(self.directory))
        if self.epmd is not None:
            self.epmd.kill()
            self.epmd = None

    def destroy(self) -> None:
        """Stop, and remove the directory with all queues."""
        if self._child is not None:
            self._child.kill()
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _place(self, scheme: str) -> str:
        if self._tls is None:
            return f"{scheme}://{USER}:{self._password}@{ports.LOOPBACK}"
        return f"{scheme}s://{USER}:{self._password}@{ports.LOCALHOST}"

    def _launch(self, node: Node, lock: int) -> Child:
        environment = node.environment()
        if isinstance(node.installation, Engine):
            name = name_of(self.directory)
            node.installation.remove(name)
            command = node.installation.command(name, self.directory, environment)
            return start(
                "rabbitmq",
                command,
                env=None,  # this process's own: it may name the engine
                log=self.log,
                cwd=self.directory,
                death_signal=signal.SIGTERM,
                keep_open=[lock],
            )
        self._start_epmd(node, node.installation)
        return start(
            "rabbitmq",
            node.installation.command(self.directory, [node.installation.server]),
            env=environment,
            log=self.log,
            cwd=self.directory,
            keep_open=[lock],
        )

    def _drop_statistics(self) -> None:
        """Without this the node's end takes 5 s longer: the management plugin's handler, when it is stopped, calls the
        process that waits for that stop, until the call times out (seen with 3.10.8). A node that is too young or too
        sick to answer just ends later.
        """
        if self._node is None or isinstance(self._node.installation, Engine):
            return
        caller = self._node.installation.erlang / "erl_call"
        if caller.exists():
            told = ["-sname", self._node.name, "-timeout", str(_CALL_SECONDS), "-a", _DROP_STATISTICS]
            command = self._node.installation.command(self.directory, [caller, *told])
            run(command, env=self._node.environment(), cwd=self.directory, within=_CALL_SECONDS * 2)

    def _answers(self) -> bool:
        """AMQP first: it is opened last, so the others are asked seldom more than once."""
        ca = None if self._tls is None else self._tls.ca
        return (
            greets(self.port, ca)
            and serves(self.management_port, "/api/overview", USER, self._password, ca)
            and serves(self.prometheus_port, "/metrics", USER, self._password)
        )

    @property
    def _drawn(self) -> NodePorts:
        if self._ports is None:
            raise StackError("RabbitMQ has no ports yet; start it first.")
        return self._ports

    @property
    def _password(self) -> str:
        return secret.kept(self.directory / "password")

    def _draw(self) -> NodePorts:
        former = self._ports
        asked = self._asked if former is None else (former.amqp, former.management, former.prometheus)
        amqp, management, prometheus = (ports.free_port() if port is None else port for port in asked)
        # Nobody outside knows Erlang's own two ports, so they need not last.
        self._ports = drawn = NodePorts(amqp, management, prometheus, ports.free_port(), ports.free_port())
        ports.require_free(drawn.amqp, "RabbitMQ")
        ports.require_free(drawn.management, "RabbitMQ's management")
        ports.require_free(drawn.prometheus, "RabbitMQ's metrics")
        return drawn

    def _lock(self) -> int:
        """An open file that the node inherits with its lock: as long as it lives, no second one starts on its data."""
        path = self.directory / "lock"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _DYING_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(file)
                    pid = path.read_text()
                    raise StackError(
                        f"A RabbitMQ with pid {pid} still runs on {self.directory}; "
                        f"end it (kill {pid}) or use another directory."
                    ) from None
                time.sleep(_POLL_SECONDS)
            else:
                return file

    def _start_epmd(self, node: Node, installation: Installation) -> None:
        """Erlang's port mapper as a child in the foreground; by itself it would become a daemon that outlives us."""
        port = node.ports.epmd
        command = installation.command(
            self.directory, [installation.epmd, "-port", str(port), "-address", ports.LOOPBACK]
        )
        self.epmd = start("epmd", command, env=node.environment(), log=self.log, cwd=self.directory)
        deadline = time.monotonic() + _EPMD_SECONDS
        while not ports.accepts(port):
            if self.epmd.poll() is not None or time.monotonic() > deadline:
                self.epmd.kill()
                raise StackError(f"Erlang's epmd does not answer ({self.epmd.last_words()}); see {self.log}.")
            time.sleep(_POLL_SECONDS)

    def _await_ready(self, child: Child) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if child.poll() is not None:
                words = child.last_words()
                self.stop()
                raise StackError(f"RabbitMQ ended while it started ({words}); see {self.log}.")
            if time.monotonic() > deadline:
                child.kill()
                self.stop()
                raise StackError(f"RabbitMQ was not ready within {_START_SECONDS:.0f} s; see {self.log}.")
            time.sleep(_POLL_SECONDS)
