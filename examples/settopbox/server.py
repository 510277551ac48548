"""The box's HTTP interface: JSON in, JSON out, every refusal with a reason.

`GET /state`, `GET /health`, `POST /power {"power": "on|off|reboot"}`, `POST /channel {"channel": 1..99}`,
`POST /key {"key": "CHANNEL_UP"}`, `GET /faults`, `POST /faults {"fault": "tuner", "seconds": 60}`, `DELETE /faults`
(all of them) or `DELETE /faults/tuner`.
`POST /channel` answers when the box is on the channel, as a person with a stopwatch would see it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

from examples.settopbox.box import Box, Zap
from examples.settopbox.faults import Fault, Refusal

Json = dict[str, object]
_Value = TypeVar("_Value", str, int)
_WORDS: dict[type, str] = {str: "text", int: "whole number"}

_MAX_BODY_BYTES = 4096
_IDLE_CONNECTION_SECONDS = 30.0
_EPOCH = time.time() - time.monotonic()
# These answer at once whatever the fault: one says that the process lives, the other ends the faults.
_ALWAYS = ("/health", "/faults")
_STATUS = {
    "malformed": HTTPStatus.BAD_REQUEST,
    "not_found": HTTPStatus.NOT_FOUND,
    "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "invalid": HTTPStatus.UNPROCESSABLE_ENTITY,
    # What the box is doing just now forbids it: powered_off, booting, tuning, interrupted, no_lock.
    None: HTTPStatus.CONFLICT,
}


class SetTopBoxServer(ThreadingHTTPServer):
    """One box on loopback. With port 0 the system chooses a free one: see `url`. A port in use raises `OSError`."""

    daemon_threads = True  # a slow answer under way does not hold up the end

    def __init__(self, box: Box, port: int, *, verbose: bool = False) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.box = box
        self.lock = threading.Lock()
        self.verbose = verbose

    @staticmethod
    def clock() -> float:
        """Seconds since 1970 that never go back: the time of day, for faults that come by the clock."""
        return _EPOCH + time.monotonic()

    def has(self, fault: Fault) -> bool:
        """Whether the box suffers from it now."""
        with self.lock:
            return self.box.faults.is_on(fault, self.clock())

    @property
    def url(self) -> str:
        """Where the box answers."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away in mid-answer is its own affair; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "settopbox"
    timeout = _IDLE_CONNECTION_SECONDS
    wbufsize = -1  # headers and body leave in one packet
    server: SetTopBoxServer

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        began = time.monotonic()
        path = self.path.partition("?")[0]
        try:
            body = self._body()
            if not path.startswith(_ALWAYS):
                if self.server.has(Fault.AWAY):
                    self.close_connection = True
                    return
                with self.server.lock:
                    latency_ms = self.server.box.faults.latency_ms(self.server.clock())
                time.sleep(latency_ms / 1000)
            status, answer = HTTPStatus.OK, self._route(path)(body)
        except Refusal as no:
            status = _STATUS.get(no.code, _STATUS[None])
            answer = {"error": no.code, "reason": str(no)}
        self._send(status, answer)
        if self.server.verbose:
            took = (time.monotonic() - began) * 1000
            sys.stdout.write(f"{self.server.box.name} {self.command} {path} {status.value} {took:.0f} ms\n")
            sys.stdout.flush()

    def _route(self, path: str) -> Callable[[Json], Json]:
        routes: dict[str, dict[str, Callable[[Json], Json]]] = {
            "/state": {"GET": self._state},
            "/health": {"GET": self._health},
            "/power": {"POST": self._power},
            "/channel": {"POST": self._channel},
            "/key": {"POST": self._key},
            "/faults": {"GET": self._faults, "POST": self._set_fault, "DELETE": self._mend},
            **{f"/faults/{fault}": {"DELETE": self._mend_one} for fault in Fault},
        }
        methods = routes.get(path)
        if methods is None:
            raise Refusal("not_found", f"there is no {path}; there are {', '.join(routes)}")
        if self.command not in methods:
            raise Refusal("method_not_allowed", f"{path} takes {', '.join(methods)}; not {self.command}")
        return methods[self.command]

    def _state(self, _: Json) -> Json:
        with self.server.lock:
            return self.server.box.state(self.server.clock())

    def _health(self, _: Json) -> Json:
        state = self._state({})
        return {"status": "ok", "name": state["name"], "power": state["power"]}

    def _power(self, body: Json) -> Json:
        to = _only(body, "power", str)
        with self.server.lock:
            self.server.box.switch(to, self.server.clock())
        return self._state({})

    def _channel(self, body: Json) -> Json:
        channel = _only(body, "channel", int)
        with self.server.lock:
            zap = self.server.box.tune(channel, self.server.clock())
        return self._tuned(zap)

    def _key(self, body: Json) -> Json:
        key = _only(body, "key", str)
        with self.server.lock:
            zap = self.server.box.press(key, self.server.clock())
        return self._tuned(zap) if zap else self._state({})

    def _tuned(self, zap: Zap) -> Json:
        time.sleep(zap.seconds + 0.001)  # a hair longer: arriving must not depend on how the wait is rounded
        state = self._state({})
        if state["channel"] != zap.arrives_at:
            raise Refusal("interrupted", f"tuning to channel {zap.channel} was interrupted: power {state['power']}")
        return {**state, "zap_ms": round(zap.seconds * 1000)}

    def _faults(self, _: Json) -> Json:
        with self.server.lock:
            return self.server.box.faults.shown(self.server.clock())

    def _set_fault(self, body: Json) -> Json:
        _no_others(body, "fault", "seconds", "latency_ms")
        name = _value(body, "fault", str)
        seconds = _value(body, "seconds", int) if "seconds" in body else None
        latency_ms = _value(body, "latency_ms", int) if "latency_ms" in body else None
        with self.server.lock:
            self.server.box.faults.switch_on(name, self.server.clock(), seconds=seconds, latency_ms=latency_ms)
        return self._faults({})

    def _mend(self, _: Json) -> Json:
        with self.server.lock:
            self.server.box.faults.mend()
        return self._faults({})

    def _mend_one(self, _: Json) -> Json:
        with self.server.lock:
            self.server.box.faults.mend(self.path.partition("?")[0].rpartition("/")[2])
        return self._faults({})

    def _body(self) -> Json:
        length = self.headers.get("Content-Length") or "0"
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # where the next request begins is not known
            raise Refusal("malformed", "the length of the body must be given as Content-Length")
        if int(length) > _MAX_BODY_BYTES:
            self.close_connection = True
            raise Refusal("too_large", f"a body has at most {_MAX_BODY_BYTES} bytes")
        raw = self.rfile.read(int(length))
        if not raw:
            return {}
        try:
            body = json.loads(raw)
        except ValueError as error:
            raise Refusal("malformed", f"the body is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise Refusal("malformed", "the body must be a JSON object")
        return body

    def _send(self, status: HTTPStatus, answer: Json) -> None:
        raw = json.dumps(answer).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Nothing here: `_serve` logs each request with its duration."""


def _only(body: Json, name: str, kind: type[_Value]) -> _Value:
    """The one field that the body must have."""
    _no_others(body, name)
    return _value(body, name, kind)


def _no_others(body: Json, *names: str) -> None:
    unknown = sorted(body.keys() - set(names))
    if unknown:
        raise Refusal("invalid", f"there is no field {unknown[0]!r}; the body has {', '.join(map(repr, names))} alone")


def _value(body: Json, name: str, kind: type[_Value]) -> _Value:
    """A field of that very type (JSON's true is no number)."""
    value = body.get(name)
    if type(value) is not kind:
        raise Refusal("invalid", f"{name} is missing or no {_WORDS[kind]}")
    return value
