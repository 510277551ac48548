"""A private authority for tests, and servers that show whatever certificate a test wants seen."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme

from libs.stack.tls import ServerTls

NAME = "localhost"
"""What good certificates are made for. So `127.0.0.1` is the same server by another name."""
_LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
_PG_REQUEST_BYTES = 8


@dataclass
class Authority:
    """A CA whose files are in `folder`."""

    folder: Path
    ca: trustme.CA

    @classmethod
    def made(cls, folder: Path) -> Authority:
        folder.mkdir(parents=True, exist_ok=True)
        made = cls(folder, trustme.CA(organization_name="the lab's own"))
        made.ca.cert_pem.write_to_path(str(made.file))
        return made

    @property
    def file(self) -> Path:
        """For RIGBEAT_CA_FILE."""
        return self.folder / "ca.pem"

    def trusted(self) -> dict[str, Any]:
        """How httpx trusts it alone."""
        return {"verify": ssl.create_default_context(cafile=self.file), "trust_env": False}

    def issue(self, name: str = NAME, *, into: str | None = None, expired: bool = False) -> ServerTls:
        """A certificate for this name; files of the same `into` are replaced, as whoever renews it does."""
        from_, until = (_LONG_AGO, _LONG_AGO + timedelta(days=90)) if expired else (None, None)
        issued = self.ca.issue_cert(name, not_before=from_, not_after=until)
        stem = into or f"{name}{'-expired' if expired else ''}"
        tls = ServerTls(self.folder / f"{stem}.pem", self.folder / f"{stem}.key", self.file)
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        for path, content in ((tls.key, issued.private_key_pem.bytes()), (tls.cert, chain)):
            fresh = path.with_suffix(".new")
            fresh.write_bytes(content)
            shutil.move(fresh, path)
        return tls


@contextlib.contextmanager
def shown(tls: ServerTls, *, postgres: bool = False) -> Iterator[int]:
    """A port where this certificate is shown, and nothing else happens: who does not like it never gets further.

    `postgres`: after PostgreSQL's question whether there is TLS.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.cert, tls.key)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connection.settimeout(5)
            with contextlib.suppress(OSError), connection:
                if postgres:
                    connection.recv(_PG_REQUEST_BYTES)
                    connection.sendall(b"S")
                context.wrap_socket(connection, server_side=True).close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)
