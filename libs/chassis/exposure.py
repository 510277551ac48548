"""What crosses a network in the clear: nothing, unless the operator says so. One rule for every url; pure.

A url is *exposed* when it leads to another machine. Then it must be one of TLS, and the other side's certificate is
checked, with its name: `https://`, `amqps://`, and for PostgreSQL `sslmode=verify-full`, which is what a url without an
`sslmode` means here. No option of a url turns that check off. On this machine (loopback, a socket in the file system)
nothing is asked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import SplitResult, parse_qs, quote, urlencode, urlsplit

_IN_THE_CLEAR = {"http": "https", "amqp": "amqps"}
_DATABASE = frozenset({"postgresql", "postgres"})
_VERIFIED = "verify-full"
_ELSEWHERE = frozenset({"hostaddr", "service"})
"""Options of PostgreSQL that lead to where the url does not say."""
_UNKNOWN = ("no_verify", "verify", "ssl", "capath", "cadata")
"""How options begin by which RabbitMQ's clients are told whom to trust, or to trust anybody."""

ALLOW = "set RIGBEAT_PLAINTEXT=allowed if something else protects that network"


def is_loopback(host: str) -> bool:
    """Whether this name or address is this machine and nothing else; an empty one is a socket in its file system."""
    name = host.strip("[]").lower()
    if name in {"", "localhost"} or name.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def why_not(url: str, *, plaintext: bool) -> str | None:
    """Why nobody may connect to `url` as it stands, in a sentence that holds no secret of it; None when they may.

    `plaintext`: the operator allows other machines to be spoken to without TLS.
    """
    parts = urlsplit(url)
    if parts.scheme in {"amqp", "amqps"} and (option := _switch(parts)):
        return (
            f"the option {option} is not for the url: certificates are always checked, "
            "and RIGBEAT_CA_FILE says who is trusted"
        )
    if plaintext or parts.scheme not in {*_IN_THE_CLEAR, *_DATABASE}:
        return None
    if parts.scheme in _DATABASE:
        return _why_not_database(url)
    exposed = [host for host in hosts(url) if not is_loopback(host)]
    if not exposed:
        return None
    return (
        f"{parts.scheme}:// to {exposed[0]} would send passwords and tokens over the network in the clear: "
        f"write {_IN_THE_CLEAR[parts.scheme]}://, or {ALLOW}"
    )


def why_not_listen(host: str, *, tls: bool, proxies: Sequence[object], plaintext: bool) -> str | None:
    """Why HTTP with tokens must not be served on this address, in a sentence; None when it may.

    `proxies` end TLS before it, when there are any.
    """
    if tls or proxies or plaintext or is_loopback(host):
        return None
    return (
        f"tokens would cross the network to {host} in the clear: set RIGBEAT_TLS_CERT_FILE and RIGBEAT_TLS_KEY_FILE, "
        f"or RIGBEAT_TRUSTED_PROXIES where a proxy ends TLS, or {ALLOW}"
    )


def trusting(url: str, ca_file: str | None, *, plaintext: bool) -> str:
    """The url with all that its connections need to know: the file of who is trusted, and for PostgreSQL that it is
    checked. A file that the url itself names stays. `ca_file` None: the system's certificate authorities.
    """
    parts = urlsplit(url)
    told = parse_qs(parts.query)
    more: dict[str, str] = {}
    if parts.scheme == "amqps" and ca_file is not None and "cafile" not in told:
        more["cafile"] = ca_file
    if parts.scheme in _DATABASE:
        if "sslmode" not in told and not plaintext and not all(is_loopback(host) for host in hosts(url)):
            more["sslmode"] = _VERIFIED
        mode = more.get("sslmode") or told.get("sslmode", [""])[-1]
        if ca_file is not None and "sslrootcert" not in told and mode == _VERIFIED:
            more["sslrootcert"] = ca_file
    if not more:
        return url
    # Not put together anew: Python writes `postgresql:///…` with one slash.
    return f"{url.rstrip('?')}{'&' if parts.query else '?'}{urlencode(more, quote_via=quote, safe='/')}"


def hosts(url: str) -> list[str]:
    """All hosts of the url; PostgreSQL's may name several, and in an option."""
    parts = urlsplit(url)
    named = [_without_port(each) for each in parts.netloc.rpartition("@")[2].split(",")]
    if parts.scheme in _DATABASE:
        named += [each for value in parse_qs(parts.query).get("host", []) for each in value.split(",")]
    return named


def _without_port(place: str) -> str:
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place.partition(":")[0]


def _switch(parts: SplitResult) -> str | None:
    return next((name for name in parse_qs(parts.query, keep_blank_values=True) if name.startswith(_UNKNOWN)), None)


def _why_not_database(url: str) -> str | None:
    told = parse_qs(urlsplit(url).query)
    if elsewhere := sorted(_ELSEWHERE & told.keys()):
        return f"the option {elsewhere[0]} hides which machine is meant: name its host in the url"
    if "" in hosts(url) and "host" not in told:
        return "it names no host, and the environment may (PGHOST): name the host in the url"
    exposed = [host for host in hosts(url) if not is_loopback(host)]
    mode = told.get("sslmode", [_VERIFIED])[-1]
    if not exposed or mode == _VERIFIED:
        return None
    return f"sslmode={mode} to {exposed[0]} does not check who answers there: write sslmode={_VERIFIED}, or {ALLOW}"
