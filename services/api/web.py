"""One web worker: an application, a loop, the socket that all workers share."""

from __future__ import annotations

import socket

import uvicorn

from libs.chassis import logs
from libs.chassis.lifecycle import Part
from services.api.app import Flag, create_app
from services.api.settings import Settings

log = logs.get_logger(__name__)

# Requests that are under way at the stop may take so long.
DRAIN_SECONDS = 10


def run(settings: Settings, listening: socket.socket, topology_declared: Flag) -> int:
    """Serve until SIGTERM; the entry of a child process."""
    logs.configure("api", settings.log_format)

    def end(part: Part) -> None:
        # As lifecycle does: a process does not go on half dead; the parent starts another.
        log.error("A part ended by itself", part=part.name, exc_info=part.failure)
        server.should_exit = True

    config = uvicorn.Config(
        create_app(settings, topology_declared=topology_declared, on_crash=end),
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listening])
    # A signal ends the process within `run`.
    return 1


def listen(host: str, port: int) -> socket.socket:
    """The socket. Raises `OSError` when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)
