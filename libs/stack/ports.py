"""Ports of the loopback interface."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

import psutil

from libs.stack.errors import StackError

LOOPBACK = "127.0.0.1"
LOCALHOST = "localhost"
"""Its name, which certificates are made for."""
_LOWEST = 15_000
_TRIES = 200


def is_taken(port: int) -> bool:
    """Whether a server listens on this port of the loopback interface (or of all interfaces)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def free_port() -> int:
    """A port that nobody listens on now.

    Drawn from below the kernel's range for outgoing connections: a port out of that range could be taken by any client
    between now and the server's start, and a client that polls it could even connect to itself.
    """
    ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(_TRIES):
        port = _LOWEST + secrets.randbelow(max(ephemeral, _LOWEST + 5_000) - _LOWEST)
        if not is_taken(port):
            return port
    raise StackError(f"No free port was found in {_TRIES} tries; end some of the servers on this machine.")


def require_free(port: int, what: str) -> None:
    """StackError when the chosen port is taken, with the process that has it where that can be seen."""
    if is_taken(port):
        raise StackError(f"Port {port} for {what} is taken{_owner(port)}; end that server or choose another port.")


def accepts(port: int) -> bool:
    """Whether a connection to this loopback port is accepted."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _owner(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        if (
            connection.status == psutil.CONN_LISTEN
            and connection.laddr
            and connection.laddr.port == port
            and connection.pid
        ):
            try:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                return ""
    return ""
