"""The box's little DNS server: UDP on loopback, one A record for every name under `.lab`, NXDOMAIN for the rest.

The wire format is RFC 1035, section 4; just enough of it for a lookup.
"""

from __future__ import annotations

import socketserver
import struct
import threading
import time
from collections.abc import Callable

from examples.settopbox.faults import DNS_LATENCY_MS, Fault

ZONE = b"lab"
ADDRESS = bytes((127, 0, 0, 1))
_TTL_SECONDS = 60
_HEADER = struct.Struct("!6H")
_A, _IN = 1, 1
_OK, _FORMAT_ERROR, _SERVER_FAILURE, _NAME_ERROR, _NOT_IMPLEMENTED = 0, 1, 2, 3, 4
_LONGEST_LABEL = 63


def answer(query: bytes, *, fails: bool = False) -> bytes | None:
    """The response to one query; None for what is no query at all."""
    if len(query) < _HEADER.size:
        return None
    identity, flags, questions, *_ = _HEADER.unpack_from(query)
    if flags & 0x8000:
        return None  # a response: answering it could go on for ever
    try:
        labels, end = _name(query)
        kind, class_ = struct.unpack_from("!2H", query, end)
    except (IndexError, struct.error, ValueError):
        return _HEADER.pack(identity, 0x8000 | _FORMAT_ERROR, 0, 0, 0, 0)
    question = query[_HEADER.size : end + 4]
    records = b""
    if fails:
        code = _SERVER_FAILURE
    elif questions != 1 or flags & 0x7800:
        code = _NOT_IMPLEMENTED
    elif not labels or labels[-1].lower() != ZONE:
        code = _NAME_ERROR
    else:
        code = _OK
        if (kind, class_) == (_A, _IN):
            # The name is the question's: a pointer to where that begins.
            records = struct.pack("!3HIH", 0xC000 | _HEADER.size, _A, _IN, _TTL_SECONDS, len(ADDRESS)) + ADDRESS
    told = 0x8400 | (flags & 0x0100) | code  # a response, with authority; recursion desired is given back
    return _HEADER.pack(identity, told, 1, 1 if records else 0, 0, 0) + question + records


def _name(query: bytes) -> tuple[list[bytes], int]:
    """The labels of the question's name, and where its type begins."""
    labels, at = [], _HEADER.size
    while length := query[at]:
        if length > _LONGEST_LABEL or at + 1 + length >= len(query):
            raise ValueError("no label")
        labels.append(query[at + 1 : at + 1 + length])
        at += 1 + length
    return labels, at + 1


class DnsServer(socketserver.ThreadingUDPServer):
    """On loopback, at this port. A port in use raises `OSError`."""

    daemon_threads = True
    max_packet_size = 512

    def __init__(self, port: int, has: Callable[[Fault], bool]) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.has = has
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.2}, name="dns")

    def start(self) -> None:
        """Answer from now on."""
        self.thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self.shutdown()
        self.thread.join()
        self.server_close()


class _Handler(socketserver.BaseRequestHandler):
    server: DnsServer

    def handle(self) -> None:
        """One datagram."""
        query, socket = self.request
        if self.server.has(Fault.AWAY):
            return
        if self.server.has(Fault.DNS_SLOW):
            time.sleep(DNS_LATENCY_MS / 1000)
        response = answer(query, fails=self.server.has(Fault.DNS_FAILS))
        if response is not None:
            socket.sendto(response, self.client_address)
