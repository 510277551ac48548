"""Run a box (`python -m examples.settopbox --port 9301 --name stb-1`) or break one (`… fault --port 9301 tuner`).

SIGTERM and Ctrl-C stop it cleanly.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import urllib.error
import urllib.request

from examples.settopbox.box import Box
from examples.settopbox.dns import DnsServer
from examples.settopbox.faults import WORDS, Fault, Faults, Spell
from examples.settopbox.server import SetTopBoxServer

_TRIES = 20


def main(words: list[str]) -> int:
    """Do what the words say; returns the exit code."""
    return fault(words[1:]) if words[:1] == ["fault"] else serve(words)


def serve(words: list[str]) -> int:
    """Be a box until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m examples.settopbox", description="A virtual set-top box")
    parser.add_argument("--port", type=int, default=9301, help="port on 127.0.0.1, HTTP and DNS; 0 takes a free one")
    parser.add_argument("--name", default="stb-1", help="what the box calls itself")
    parser.add_argument("--boot-seconds", type=float, default=3.0, help="how long the box takes to boot")
    parser.add_argument(
        "--flaky",
        action="append",
        default=[],
        type=_spell,
        metavar="FAULT:EVERY:LASTS",
        help="a fault that comes by itself: tuner:180:60 is the first minute of each three",
    )
    parser.add_argument("--verbose", action="store_true", help="one line for each request")
    arguments = parser.parse_args(words)

    try:
        server, dns = _servers(arguments)
    except (OSError, OverflowError) as error:
        print(f"{arguments.name} cannot listen on 127.0.0.1:{arguments.port}: {error}", file=sys.stderr)
        return 1

    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    # In a thread of its own: `shutdown` waits for `serve_forever` and must not be called from within it.
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="serving")
    serving.start()
    dns.start()
    print(f"{arguments.name} listens on {server.url}", flush=True)
    stopping.wait()
    dns.stop()
    server.shutdown()
    serving.join()
    server.server_close()
    print(f"{arguments.name} has stopped", flush=True)
    return 0


def _servers(arguments: argparse.Namespace) -> tuple[SetTopBoxServer, DnsServer]:
    """HTTP over TCP and DNS over UDP at the same number: who knows the box's address knows its DNS server."""
    for tries_left in reversed(range(_TRIES if arguments.port == 0 else 1)):
        server = SetTopBoxServer(_box(arguments), arguments.port, verbose=arguments.verbose)
        try:
            return server, DnsServer(server.server_address[1], server.has)
        except OSError:
            server.server_close()
            if not tries_left:
                raise
    raise AssertionError


def _box(arguments: argparse.Namespace) -> Box:
    return Box(
        name=arguments.name,
        now=SetTopBoxServer.clock(),
        boot_seconds=arguments.boot_seconds,
        faults=Faults(arguments.flaky),
    )


def _spell(text: str) -> Spell:
    try:
        return Spell.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def fault(words: list[str]) -> int:
    """Switch a fault of a running box on, mend it, or show what is on."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.settopbox fault",
        description="Breaks a running box, and mends it",
        epilog="; ".join(f"{each}: {WORDS[each]}" for each in Fault),
    )
    parser.add_argument("--port", type=int, default=9301, help="the box's port on 127.0.0.1")
    parser.add_argument("fault", nargs="?", choices=list(Fault), help="which one; none shows what is on")
    parser.add_argument("--seconds", type=int, help="for so long; until it is mended unless given")
    parser.add_argument("--latency-ms", type=int, help="of the fault slow")
    parser.add_argument("--mend", action="store_true", help="end this fault, or all of them")
    given = parser.parse_args(words)

    path, method, body = "/faults", "GET", None
    if given.mend:
        path, method = f"/faults/{given.fault}" if given.fault else "/faults", "DELETE"
    elif given.fault:
        told = {"fault": given.fault, "seconds": given.seconds, "latency_ms": given.latency_ms}
        method, body = "POST", json.dumps({name: value for name, value in told.items() if value is not None}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{given.port}{path}", data=body, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as response:
            shown = json.load(response)
    except urllib.error.HTTPError as refusal:
        print(f"the box refuses: {json.load(refusal)['reason']}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"no box answers on 127.0.0.1:{given.port}: {error}", file=sys.stderr)
        return 1
    for name, left in shown["on"].items():
        print(f"{name}: {WORDS[Fault(name)]}" + ("" if left is None else f" (for {left:g} s)"))
    if not shown["on"]:
        print("the box has no fault")
    for spell in shown["by_the_clock"]:
        print(f"by the clock: {spell}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
