"""The files and the environment of one RabbitMQ node: all of its own, nothing of the machine's."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from libs.stack import secret
from libs.stack.container import Engine
from libs.stack.installation import Installation
from libs.stack.ports import LOOPBACK
from libs.stack.tls import ServerTls

USER = "rigbeat"
_PLUGINS = "[rabbitmq_management,rabbitmq_prometheus].\n"
_OWNER_READS = 0o400


@dataclass(frozen=True)
class NodePorts:
    """All ports of a node; the last two are Erlang's own."""

    amqp: int
    management: int
    prometheus: int
    distribution: int
    epmd: int


@dataclass(frozen=True)
class Node:
    """A node whose files are written."""

    directory: Path
    name: str
    ports: NodePorts
    installation: Installation | Engine

    def environment(self) -> dict[str, str]:
        """For the server's script and for epmd; every path that has a default in /etc or /var is set."""
        home, found = self.directory, dict[str, str]()
        if isinstance(self.installation, Installation):
            home, found = self.installation.sees(home), self.installation.environment()
        return found | {
            "HOME": str(home),
            "ERL_EPMD_PORT": str(self.ports.epmd),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(self.ports.distribution),
            "RABBITMQ_CONF_ENV_FILE": str(home / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(home / "conf.d" / "*.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(home),
            "RABBITMQ_MNESIA_DIR": str(home / "mnesia"),
            "RABBITMQ_PLUGINS_EXPAND_DIR": str(home / "plugins-expand"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(home / "feature_flags"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(home / "generated"),
            "RABBITMQ_PID_FILE": str(home / "node.pid"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_LOGS": "-",
            # The script then execs Erlang instead of waiting for it, so the pid and the death signal are Erlang's.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(self._erlang_arguments()),
        }

    def _erlang_arguments(self) -> list[str]:
        port = str(self.ports.distribution)
        kernel = {
            "inet_dist_use_interface": "{127,0,0,1}",
            "inet_dist_listen_min": port,
            "inet_dist_listen_max": port,
        }
        # Named from the start: otherwise RabbitMQ starts a second Erlang first, only to have epmd started (1 s).
        named = ["-sname", self.name]
        if isinstance(self.installation, Installation):
            named += ["-start_epmd", "false"]  # ours runs; in a container Erlang's own ends with it
        return named + [part for key, value in kernel.items() for part in ("-kernel", key, value)]


def prepare(
    directory: Path, ports: NodePorts, installation: Installation | Engine, tls: ServerTls | None = None
) -> Node:
    """Write the node's files; what was drawn once (name, cookie, password) stays, for the queues depend on it."""
    secret.kept(directory / ".erlang.cookie", mode=_OWNER_READS)
    name = directory / "name"
    if not name.exists():
        secret.write(name, f"rigbeat-{secrets.token_hex(4)}@localhost")
    (directory / "conf.d").mkdir(exist_ok=True)
    if tls is not None:
        tls.into(directory)
    seen = installation.sees(directory) if isinstance(installation, Installation) else directory
    listening = _plain(ports) if tls is None else _only_tls(ports, seen)
    for file, text in {
        "rabbitmq.conf": _settings(listening, ports, secret.kept(directory / "password")),
        "advanced.config": "[].\n",
        "enabled_plugins": _PLUGINS,
        "env.conf": "",
    }.items():
        secret.write(directory / file, text)
    return Node(directory, name.read_text(), ports, installation)


def _plain(ports: NodePorts) -> dict[str, str | int]:
    return {
        "listeners.tcp.local": f"{LOOPBACK}:{ports.amqp}",
        "management.tcp.ip": LOOPBACK,
        "management.tcp.port": ports.management,
    }


def _only_tls(ports: NodePorts, folder: Path) -> dict[str, str | int]:
    files = {"cacertfile": folder / "ca.pem", "certfile": folder / "cert.pem", "keyfile": folder / "key.pem"}
    return {
        "listeners.tcp": "none",
        "listeners.ssl.local": f"{LOOPBACK}:{ports.amqp}",
        **{f"ssl_options.{name}": str(path) for name, path in files.items()},
        "ssl_options.verify": "verify_none",  # of clients, which have no certificates but passwords
        "management.ssl.ip": LOOPBACK,
        "management.ssl.port": ports.management,
        **{f"management.ssl.{name}": str(path) for name, path in files.items()},
    }


def _settings(listening: Mapping[str, str | int], ports: NodePorts, password: str) -> str:
    settings = {
        **listening,
        "prometheus.tcp.ip": LOOPBACK,
        "prometheus.tcp.port": ports.prometheus,
        "default_user": USER,
        "default_pass": password,
        "disk_free_limit.absolute": "50MB",
        "log.console": "true",
    }
    return "".join(f"{key} = {value}\n" for key, value in settings.items())
