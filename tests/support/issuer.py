"""An issuer of people's tokens (OpenID Connect) on the loopback interface, with keys of its own, that can misbehave."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

AUDIENCE = "rigbeat"
CONFIGURATION = "/.well-known/openid-configuration"
KEYS = "/keys"


@cache
def private_key(kind: str, number: int = 0) -> Any:
    """A key made in this test run: `RSA-2048`, `RSA-1024`, `P-256` or `Ed25519`; `number` tells several apart."""
    if kind.startswith("RSA"):
        return rsa.generate_private_key(65537, int(kind[4:]))
    return ec.generate_private_key(ec.SECP256R1()) if kind == "P-256" else ed25519.Ed25519PrivateKey.generate()


def published(key: Any, **members: Any) -> dict[str, Any]:
    """The public half as an issuer publishes it."""
    name = "EdDSA"
    if isinstance(key, rsa.RSAPrivateKey):
        name = "RS256"
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        name = "ES256"
    made: dict[str, Any] = jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True)
    made.pop("key_ops", None)
    return made | members


def signed(claims: Any, key: Any, algorithm: str = "ES256", **header: Any) -> str:
    """A token as anybody could build it; a header that is None is left out. `algorithm` is what really signs."""
    whole = {"alg": algorithm, "typ": "JWT"} | header
    parts = [_base64(json.dumps({name: value for name, value in whole.items() if value is not None}).encode())]
    parts.append(_base64(claims if isinstance(claims, bytes) else json.dumps(claims).encode()))
    text = ".".join(parts)
    return f"{text}.{_base64(jwt.get_algorithm_by_name(algorithm).sign(text.encode(), key))}"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@dataclass
class FakeIssuer:
    """What it publishes, what else it answers (by path: status, headers, body), and for what it was asked."""

    url: str
    keys: list[Any] = field(default_factory=list)
    instead: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    before: dict[str, Callable[[], object]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    drips: bool = False
    """One byte at a time, twenty a second."""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        self.asked.append(path)
        self.before.get(path, lambda: None)()
        if path in self.instead:
            return self.instead[path]
        configuration = {"issuer": self.url, "jwks_uri": f"{self.url}{KEYS}"}
        found = {CONFIGURATION: configuration, KEYS: {"keys": self.keys}}.get(path)
        return (404, {}, b"") if found is None else (200, {}, json.dumps(found).encode())


@contextmanager
def fake_issuer() -> Iterator[FakeIssuer]:
    """A running one."""

    pause = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = made.answer(self.path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):
                for piece in (body[at : at + 1] for at in range(len(body))) if made.drips else (body,):
                    self.wfile.write(piece)
                    pause.wait(0.05 if made.drips else 0)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = FakeIssuer(f"http://127.0.0.1:{server.server_address[1]}")
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    serving.start()
    try:
        yield made
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
