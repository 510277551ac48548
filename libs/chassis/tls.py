"""TLS as a client: contexts that check certificate and name, always, and what went wrong in words.

TLS 1.2 or newer. There is no way to a context that checks less.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_SYSTEM = "system"
"""PostgreSQL's word for the system's certificate authorities."""

# OpenSSL's X509_V_ERR_… (openssl/x509_vfy.h).
_EXPIRED = 10
_NOT_YET = 9
_OTHER_NAME = frozenset({62, 64})


def client_context(
    ca_file: Path | str | None = None, cert_file: str | None = None, key_file: str | None = None
) -> ssl.SSLContext:
    """Trusts the authorities of `ca_file` (PEM) and no others, or the system's; shows a certificate if one is given.

    Raises `OSError`: a file cannot be read; `ssl.SSLError`, which is one, when it is not what it should be.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file is not None:
        context.load_cert_chain(cert_file, key_file)
    return context


def http_context(url: str, ca_file: str | None = None) -> ssl.SSLContext | bool:
    """As httpx takes it for its `verify`; True for an `http://` url, which has nothing to check. Raises as
    `client_context` does.
    """
    return client_context(ca_file) if urlsplit(url).scheme == "https" else True


def amqp_context(url: str) -> ssl.SSLContext | None:
    """For an `amqps://` url, by its options `cafile`, `certfile`, `keyfile`; None for another. Raises as
    `client_context` does.
    """
    parts = urlsplit(url)
    if parts.scheme != "amqps":
        return None
    told = parse_qs(parts.query)
    return client_context(*(told.get(name, [None])[-1] for name in ("cafile", "certfile", "keyfile")))


def database_context(url: str) -> ssl.SSLContext | None:
    """For a `postgresql://` url with `sslmode=verify-full`, by its options `sslrootcert`, `sslcert`, `sslkey`.

    None: the url asks for less (exposure.py says whether it may), and the driver goes by it. Raises as
    `client_context` does.
    """
    told = parse_qs(urlsplit(url).query)
    if told.get("sslmode", [None])[-1] != "verify-full":
        return None
    root, cert, key = (told.get(name, [None])[-1] for name in ("sslrootcert", "sslcert", "sslkey"))
    return client_context(None if root == _SYSTEM else root, cert, key)


def ca_problem(ca_file: Path) -> str | None:
    """Why this file cannot say who is trusted; None when it can."""
    try:
        client_context(ca_file)
    except ssl.SSLError:
        return f"{ca_file} holds no certificate: name a PEM file of the authorities that are trusted"
    except OSError as error:
        return f"cannot read {ca_file} ({error.strerror}): name a PEM file of the authorities that are trusted"
    return None


def in_words(error: BaseException) -> str | None:
    """What is wrong with the TLS of the other side, found in the error or in what caused it; None: nothing of it."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, ssl.SSLError):
            return _in_words(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def _in_words(error: ssl.SSLError) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OTHER_NAME:
            return f"its certificate is another's: {error.verify_message.rstrip('.')}; check the name in the url"
        if error.verify_code == _EXPIRED:
            return "its certificate has expired: it needs a new one there"
        if error.verify_code == _NOT_YET:
            return "its certificate is not valid yet: check the clocks of both machines"
        return f"its certificate is not trusted here ({error.verify_message}): check RIGBEAT_CA_FILE"
    if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING"}:
        return f"it does not speak TLS ({error.reason}): check the port and the scheme of the url"
    return f"TLS failed ({error.reason or error})"
