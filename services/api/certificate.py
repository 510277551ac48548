"""The certificate that the API shows. Whoever renews it replaces the files; each worker takes the new pair.

The files are loaded into the context that is in use, so connections that are open keep theirs. Files that cannot be
loaded (the half of a pair that is written first) change nothing: the former certificate stays, and the files are looked
at again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

from libs.chassis.lifecycle import Part
from libs.chassis.logs import get_logger

log = get_logger(__name__)

LOOK_SECONDS = 1.0

Stamp = tuple[tuple[int, int, int], ...]


def server_context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer, for HTTP/1.1. Raises `OSError` (`ssl.SSLError` is one) when the files are not a pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # Never a question at the terminal: a key with a password is refused.
    context.load_cert_chain(cert_file, key_file, password=_no_password)
    return context


def _no_password() -> str:
    raise ssl.SSLError("the key needs a password")


def certificate_problem(cert_file: Path | None, key_file: Path | None) -> str | None:
    """Why these two settings cannot serve TLS, in a sentence; None when they can, or when neither is given."""
    if cert_file is None and key_file is None:
        return None
    if cert_file is None or key_file is None:
        return "RIGBEAT_TLS_CERT_FILE and RIGBEAT_TLS_KEY_FILE go together: set both, or neither"
    try:
        server_context(cert_file, key_file)
    except ssl.SSLError as error:
        return (
            f"RIGBEAT_TLS_CERT_FILE: {cert_file} and {key_file} are not a certificate and its key, in PEM "
            f"and without a password ({error.reason or error})"
        )
    except OSError as error:
        return f"RIGBEAT_TLS_CERT_FILE: cannot read {error.filename or cert_file} or {key_file} ({error.strerror})"
    return None


class Certificate(Part):
    """The pair in use: `context` serves it, the running part renews it."""

    name = "certificate"

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        """Raises as `server_context` does."""
        super().__init__()
        self._files = (cert_file, key_file)
        # Before they are read: what changes meanwhile is seen at the first look.
        self._loaded = self._stamp()
        self._refused: Stamp = ()
        self.context = server_context(cert_file, key_file)

    async def run(self) -> None:
        """Look at the files once a second."""
        while not self.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), LOOK_SECONDS)
            self.renew()

    def renew(self) -> None:
        """Take what lies there now, if it is another pair."""
        stamp = self._stamp()
        if not stamp or stamp == self._loaded:
            return
        try:
            # Elsewhere first: a failed load leaves a context with neither the old pair nor the new one.
            server_context(*self._files)
            self.context.load_cert_chain(*self._files, password=_no_password)
        except OSError as error:
            if stamp != self._refused:
                self._refused = stamp
                log.warning("The new certificate cannot be used, the former one stays", reason=str(error))
            return
        self._loaded = stamp
        log.info("Took the new certificate", file=str(self._files[0]))

    def _stamp(self) -> Stamp:
        """What tells one pair from the next; empty while a file is missing."""
        try:
            found = [path.stat() for path in self._files]
        except OSError:
            return ()
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)
