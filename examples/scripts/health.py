"""Is the box well? Probes its state several times and judges power, temperature and latency.

Run by hand: `python health.py demo --limit 5 --address http://127.0.0.1:9301`. Standard library only.
"""

from __future__ import annotations

import argparse
import html
import http.client
import json
import math
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

# Devices are on the lab's own network: a proxy of the environment is none of their business.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# What every answer of the box tells, and this script reads.
FIELDS = {"name", "power", "channel", "uptime_seconds", "temperature_celsius"}


class BoxError(Exception):
    """The box cannot be asked, or it says no; the text is for people."""


def arguments() -> argparse.Namespace:
    """Literal calls, so that the page can show the parameters without running this script."""
    parser = argparse.ArgumentParser(description="Checks power, temperature and latency of a set-top box")
    parser.add_argument("userinterface_name", nargs="?", default="demo", help="user interface under test")
    parser.add_argument("--limit", type=int, default=10, help="number of probes")
    parser.add_argument("--limit-ms", type=float, default=300.0, help="highest 95th percentile of latency, in ms")
    parser.add_argument("--max-temperature", type=float, default=75.0, help="highest temperature, in degrees Celsius")
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


def ask(url: str, body: dict[str, object] | None = None, timeout: float = 10.0) -> dict[str, Any]:
    """One request to the box; its answer, or `BoxError` with its reason."""
    try:
        request = urllib.request.Request(url, data=json.dumps(body).encode() if body is not None else None)
        with OPENER.open(request, timeout=timeout) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as refusal:
        try:
            reason = json.load(refusal)["reason"]
        except (ValueError, KeyError, TypeError):
            reason = refusal.reason
        raise BoxError(f"the box refuses ({refusal.code}): {reason}") from None
    except urllib.error.URLError as error:
        raise BoxError(f"the box at {url} cannot be reached: {error.reason}") from None
    except OSError as error:
        raise BoxError(f"the box at {url} does not answer: {error}") from None
    except (ValueError, http.client.HTTPException) as error:
        raise BoxError(f"{url} is no box: {error!r}") from None
    if not isinstance(answer, dict) or not answer.keys() >= FIELDS:
        raise BoxError(f"{url} is no box: its answer lacks {', '.join(sorted(FIELDS))}")
    return answer


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that `share` of all values do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


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
    """Probe the box; the figures, and one sentence for each thing that is wrong."""
    if options.limit < 1:
        raise BoxError("--limit must be at least 1")
    address = device_address(options.address)
    latencies: list[float] = []
    state: dict[str, Any] = {}
    hottest = -math.inf
    for number in range(1, options.limit + 1):
        began = time.monotonic()
        state = ask(f"{address}/state")
        latencies.append((time.monotonic() - began) * 1000)
        hottest = max(hottest, state["temperature_celsius"])
        print(
            f"probe {number}/{options.limit}: {latencies[-1]:.1f} ms, power {state['power']}, "
            f"{state['temperature_celsius']} °C, up {state['uptime_seconds']:.0f} s",
            flush=True,
        )
    p95 = percentile(latencies, 0.95)
    failures = []
    if state["power"] != "on":
        failures.append(f"power is {state['power']}, not on")
    elif not state.get("tuner_locked", True):
        failures.append("the tuner has no lock: no signal")
    if hottest > options.max_temperature:
        failures.append(f"temperature {hottest} °C is over {options.max_temperature:g} °C")
    if p95 > options.limit_ms:
        failures.append(f"latency p95 {p95:.1f} ms is over {options.limit_ms:g} ms")
    facts: dict[str, object] = {
        "box": state["name"],
        "power": state["power"],
        "temperature_celsius": hottest,
        "probes": options.limit,
        "latency_ms_median": round(percentile(latencies, 0.5), 1),
        "latency_ms_p95": round(p95, 1),
        "latency_ms_limit": options.limit_ms,
    }
    return facts, failures


def main() -> int:
    """Run, report, and say it in the last line and in the exit code."""
    options = arguments()
    print(f"health of {options.device or 'the box'} ({options.userinterface_name})", flush=True)
    facts: dict[str, object] = {}
    try:
        facts, failures = check(options)
    except BoxError as error:
        failures = [str(error)]
    for name, value in facts.items():
        print(f"  {name:<22} {value}")
    for failure in failures:
        print(f"FAILED: {failure}")
    keep("Health of " + (options.device or "the box"), not failures, facts, failures)
    print(f"SCRIPT_SUCCESS:{'false' if failures else 'true'}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
