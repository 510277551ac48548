"""How long do lookups take? Asks a DNS server for a name again and again, and judges the percentiles.

Run by hand: `python dns.py demo --server 127.0.0.1:9301`. Standard library only: the question is put together by hand
(RFC 1035, section 4) and sent over UDP, so that what is timed is the server and not the machine's own cache.
"""

from __future__ import annotations

import argparse
import html
import json
import math
import os
import socket
import struct
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

HEADER = struct.Struct("!6H")
CODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
RECURSION_DESIRED = 0x0100


class BoxError(Exception):
    """The server cannot be asked at all; the text is for people."""


def arguments() -> argparse.Namespace:
    """Literal calls, so that the page can show the parameters without running this script."""
    parser = argparse.ArgumentParser(description="Times lookups at a DNS server and judges the percentiles")
    parser.add_argument("userinterface_name", nargs="?", default="demo", help="user interface under test")
    parser.add_argument("--server", default="", help="DNS server as HOST:PORT; the device itself unless given")
    parser.add_argument("--name", default="tv.lab", help="name to look up")
    parser.add_argument("--lookups", type=int, default=20, help="number of lookups")
    parser.add_argument("--limit-ms", type=float, default=200.0, help="95th percentile that is accepted, in ms")
    parser.add_argument("--timeout-ms", type=float, default=2000.0, help="a later answer is none, in ms")
    parser.add_argument("--host", default="", help="name of the host that runs this")
    parser.add_argument("--device", default="", help="name of the device under test")
    parser.add_argument("--address", default="", help="URL of the device, instead of the one in its labels")
    return parser.parse_args()


def device_address(given: str) -> str:
    """The URL given by hand, else the `address` in the labels of the device."""
    if given:
        return given.rstrip("/")
    try:
        labels = json.loads(os.environ.get("RIGBEAT_DEVICE_LABELS") or "{}")
        address = labels.get("address", "")
    except (ValueError, AttributeError):
        raise BoxError("RIGBEAT_DEVICE_LABELS is not a JSON object") from None
    if not isinstance(address, str) or not address:
        raise BoxError('no address: give --address or label the device with {"address": "http://..."}')
    return address.rstrip("/")


def server_of(options: argparse.Namespace) -> tuple[str, int]:
    """Where to ask: `--server`, else the device, whose DNS server has the number of its HTTP port."""
    given = urlsplit(f"//{options.server}" if options.server else device_address(options.address))
    try:
        host, port = given.hostname, given.port
    except ValueError:
        host, port = None, None
    if not host:
        raise BoxError(f"{options.server!r} is no DNS server: write HOST:PORT, such as 127.0.0.1:53")
    return host, port or 53


def question(number: int, name: str) -> bytes:
    """A query for the A record of the name."""
    try:
        labels = [label.encode("idna") for label in name.rstrip(".").split(".")]
    except UnicodeError:
        raise BoxError(f"{name!r} is no name that can be looked up") from None
    words = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return HEADER.pack(number, RECURSION_DESIRED, 1, 0, 0, 0) + words + struct.pack("!2H", 1, 1)


def look_up(link: socket.socket, number: int, name: str, seconds: float) -> str:
    """One lookup; empty when the server answered with an address, else what was wrong."""
    try:
        link.send(question(number, name))
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            link.settimeout(left)
            answer = link.recv(4096)
            # An answer to an earlier question, which came too late, is not this one's.
            if len(answer) >= HEADER.size and HEADER.unpack_from(answer)[0] == number:
                _, flags, _, answers, _, _ = HEADER.unpack_from(answer)
                code = flags & 0xF
                return CODES.get(code, f"code {code}") if code else "" if answers else "no address"
    except TimeoutError:
        pass
    except OSError as error:
        return f"no answer ({error.strerror or error})"
    return f"no answer within {seconds * 1000:.0f} ms"


def percentile(values: list[float], part: float) -> float:
    """Nearest rank: the smallest value that `part` of them do not exceed."""
    return sorted(values)[max(math.ceil(part * len(values)) - 1, 0)]


def keep(title: str, success: bool, facts: dict[str, object], failures: list[str]) -> None:
    """Leave summary.json and report.html beside the log, if the runner gave a folder for artifacts."""
    folder = os.environ.get("RIGBEAT_ARTIFACTS_DIR")
    if not folder:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    summary = {"title": title, "success": success, "failures": failures, **facts}
    Path(folder, "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    rows = "".join(f"<tr><th>{html.escape(str(k))}<td>{html.escape(str(v))}" for k, v in facts.items())
    items = "".join(f"<li>{html.escape(failure)}" for failure in failures)
    page = (
        f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title>"
        "<style>body{font:16px sans-serif;margin:2em}th{text-align:left;padding-right:2em}</style>"
        f"<h1>{html.escape(title)}: {'passed' if success else 'failed'}</h1><ul>{items}</ul><table>{rows}</table>\n"
    )
    Path(folder, "report.html").write_text(page, encoding="utf-8")


def check(options: argparse.Namespace) -> tuple[dict[str, object], list[str]]:
    """Look up; the figures, and one sentence for each thing that is wrong."""
    if options.lookups < 1 or options.timeout_ms <= 0:
        raise BoxError("--lookups must be at least 1 and --timeout-ms more than 0")
    host, port = server_of(options)
    took: list[float] = []
    wrong: dict[str, int] = {}
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.connect((host, port))
            for number in range(1, options.lookups + 1):
                began = time.monotonic()
                problem = look_up(link, number % 0x10000, options.name, options.timeout_ms / 1000)
                took.append((time.monotonic() - began) * 1000)
                print(f"lookup {number}/{options.lookups}: {took[-1]:.1f} ms {problem or 'ok'}", flush=True)
                if problem:
                    wrong[problem] = wrong.get(problem, 0) + 1
    except OSError as error:
        raise BoxError(f"the DNS server {host}:{port} cannot be asked: {error.strerror or error}") from None
    p95 = percentile(took, 0.95)
    failures = [f"{times} of {len(took)} lookups of {options.name}: {problem}" for problem, times in wrong.items()]
    if p95 > options.limit_ms:
        failures.append(f"lookup time p95 {p95:.1f} ms is over {options.limit_ms:g} ms")
    facts: dict[str, object] = {
        "server": f"{host}:{port}",
        "name": options.name,
        "lookups": len(took),
        "failed": sum(wrong.values()),
        "lookup_ms_p50": round(percentile(took, 0.5), 1),
        "lookup_ms_p95": round(p95, 1),
        "lookup_ms_p99": round(percentile(took, 0.99), 1),
        "lookup_ms_slowest": round(max(took), 1),
        "lookup_ms_limit": options.limit_ms,
    }
    return facts, failures


def main() -> int:
    """Run, report, and say it in the last line and in the exit code."""
    options = arguments()
    print(f"lookups at {options.device or 'a server'} ({options.userinterface_name})", flush=True)
    facts: dict[str, object] = {}
    try:
        facts, failures = check(options)
    except BoxError as error:
        failures = [str(error)]
    for name, value in facts.items():
        print(f"  {name:<22} {value}")
    for failure in failures:
        print(f"FAILED: {failure}")
    keep("DNS lookups at " + (options.device or "a server"), not failures, facts, failures)
    print(f"SCRIPT_SUCCESS:{'false' if failures else 'true'}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
