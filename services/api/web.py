"""One web worker: an application, a loop, the socket that all workers share."""

from __future__ import annotations

import socket

import uvicorn
from starlette.types import ASGIApp

from libs.chassis import logs
from libs.chassis.lifecycle import Part
from services.api.app import Flag, create_app
from services.api.certificate import Certificate
from services.api.prompt_end import PromptEnd
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

    certificate = settings.certificate()
    beside = [] if certificate is None else [certificate]
    app = create_app(settings, topology_declared=topology_declared, on_crash=end, beside=beside)
    server = uvicorn.Server(serving(settings, app, certificate))
    server.run(sockets=[listening])
    # A signal ends the process within `run`.
    return 1


def serving(settings: Settings, app: ASGIApp, certificate: Certificate | None) -> uvicorn.Config:
    """How the application is served: over TLS when there is a certificate, and who is believed to be a proxy."""
    proxies = [str(each) for each in settings.trusted_proxies]
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="auto" if certificate is None else PromptEnd,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        # Said in any case: left alone, uvicorn believes whoever calls from this machine, and its own variables.
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        ssl_context_factory=None if certificate is None else lambda _config, _default: certificate.context,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


def listen(host: str, port: int) -> socket.socket:
    """The socket. Raises `OSError` when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)
