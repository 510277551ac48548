"""Whether a RabbitMQ that starts answers already, asked without any client library."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
from contextlib import closing
from pathlib import Path

from libs.stack.ports import LOCALHOST, LOOPBACK

_GREETING = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME = b"\x01"
_SECONDS = 2.0
_OK = 200


def greets(port: int, ca: Path | None = None) -> bool:
    """Whether AMQP 0-9-1 answers: the broker opens this port last, when it is ready for clients. `ca`: over TLS."""
    try:
        connection = socket.create_connection((LOOPBACK, port), timeout=_SECONDS)
        if ca is not None:
            connection = _trusting(ca).wrap_socket(connection, server_hostname=LOCALHOST)
        with closing(connection):
            connection.sendall(_GREETING)
            return connection.recv(1) == _METHOD_FRAME
    except OSError:
        return False


def serves(port: int, path: str, user: str, password: str, ca: Path | None = None) -> bool:
    """Whether a GET of this path with this user is answered with 200. `ca`: over TLS."""
    word = base64.b64encode(f"{user}:{password}".encode()).decode()
    connection = (
        http.client.HTTPConnection(LOOPBACK, port, timeout=_SECONDS)
        if ca is None
        else http.client.HTTPSConnection(LOCALHOST, port, timeout=_SECONDS, context=_trusting(ca))
    )
    try:
        connection.request("GET", path, headers={"Authorization": f"Basic {word}"})
        return connection.getresponse().status == _OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _trusting(ca: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)
