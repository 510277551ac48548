"""The certificate that a server of our own shows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from libs.stack import secret
from libs.stack.process import User


@dataclass(frozen=True)
class ServerTls:
    """PEM files: a certificate with its chain, its key, and who is trusted to vouch for it."""

    cert: Path
    key: Path
    ca: Path

    def into(self, folder: Path, user: User | None = None) -> None:
        """Put copies (`cert.pem`, `key.pem`, `ca.pem`) where the server finds them, for its user alone to read."""
        for path, name in ((self.cert, "cert.pem"), (self.key, "key.pem"), (self.ca, "ca.pem")):
            secret.write(folder / name, path.read_text())
            if user is not None:
                os.chown(folder / name, user.uid, user.gid)
