"""Whether a RabbitMQ that starts answers already, asked without any client library."""

from __future__ import annotations

import base64
import http.client
import socket

from libs.stack.ports import LOOPBACK

_GREETING = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME = b"\x01"
_SECONDS = 2.0
_OK = 200


def greets(port: int) -> bool:
    """Whether AMQP 0-9-1 answers: the broker opens this port last, when it is ready for clients."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=_SECONDS) as connection:
            connection.sendall(_GREETING)
            return connection.recv(1) == _METHOD_FRAME
    except OSError:
        return False


def serves(port: int, path: str, user: str, password: str) -> bool:
    """Whether a GET of this path with this user is answered with 200."""
    word = base64.b64encode(f"{user}:{password}".encode()).decode()
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_SECONDS)
    try:
        connection.request("GET", path, headers={"Authorization": f"Basic {word}"})
        return connection.getresponse().status == _OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
