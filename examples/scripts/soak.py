"""Does the box stay up? Watches it for a while: reboots, lost power, a picture that stands still, slow answers.

Run by hand: `python soak.py demo --seconds 60 --address http://127.0.0.1:9301`. Standard library only.
"""

from __future__ import annotations

import argparse
import html
import http.client
import json
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

FRAME_SECONDS = 0.08  # two frames of a picture with 25 a second


class BoxError(Exception):
    """The box cannot be asked, or it says no; the text is for people."""


def arguments() -> argparse.Namespace:
    """Literal calls, so that the page can show the parameters without running this script."""
    parser = argparse.ArgumentParser(description="Watches a set-top box for reboots and slow answers")
    parser.add_argument("userinterface_name", nargs="?", default="demo", help="user interface under test")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to watch")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds from one look to the next")
    parser.add_argument("--limit-ms", type=float, default=500.0, help="a slower answer is an outlier, in ms")
    parser.add_argument("--max-outliers", type=int, default=1, help="number of outliers that are accepted")
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
    """Watch; the figures, and one sentence for each thing that is wrong."""
    if options.seconds <= 0 or options.interval <= 0:
        raise BoxError("--seconds and --interval must be more than 0")
    address = device_address(options.address)
    began = time.monotonic()
    looks = reboots = outliers = 0
    slowest = highest = last_uptime = 0.0
    last_frames, frozen_looks = -1, 0
    failures = []
    while (elapsed := time.monotonic() - began) < options.seconds or looks == 0:
        asked = time.monotonic()
        state = ask(f"{address}/state")
        latency_ms = (time.monotonic() - asked) * 1000
        looks += 1
        slowest = max(slowest, latency_ms)
        highest = max(highest, state["temperature_celsius"])
        notes = ""
        if latency_ms > options.limit_ms:
            outliers += 1
            notes += " SLOW"
        # The uptime of a box that was not restarted only grows.
        if state["uptime_seconds"] < last_uptime:
            reboots += 1
            notes += " RESTARTED"
            failures.append(
                f"restarted or switched off after {elapsed:.0f} s: uptime fell to {state['uptime_seconds']}"
            )
        # A picture needs a moment for its next frame; a box that counts none has no picture to watch.
        frames = state.get("frames", -1)
        if frames >= 0 and frames == last_frames and state["uptime_seconds"] - last_uptime > FRAME_SECONDS:
            frozen_looks += 1
            notes += " FROZEN"
        last_frames = frames
        last_uptime = state["uptime_seconds"]
        print(
            f"{elapsed:6.1f} s: power {state['power']}, up {last_uptime:.0f} s, {state['temperature_celsius']} °C, "
            f"{latency_ms:.1f} ms{notes}",
            flush=True,
        )
        if looks == 1 and state["power"] != "on":
            break  # a box that is off is told at once, not after the whole time
        rest = options.seconds - (time.monotonic() - began)
        time.sleep(max(0.0, min(options.interval - (time.monotonic() - asked), rest)))
    if state["power"] != "on":
        failures.append(f"power is {state['power']}, not on")
    if frozen_looks:
        failures.append(f"the picture stood still at {frozen_looks} of {looks} looks: no new frames")
    if outliers > options.max_outliers:
        failures.append(
            f"{outliers} of {looks} answers took longer than {options.limit_ms:g} ms (accepted: {options.max_outliers})"
        )
    facts: dict[str, object] = {
        "watched_seconds": round(time.monotonic() - began, 1),
        "looks": looks,
        "reboots": reboots,
        "outliers": outliers,
        "frozen_looks": frozen_looks,
        "latency_ms_slowest": round(slowest, 1),
        "temperature_celsius": highest,
    }
    return facts, failures


def main() -> int:
    """Run, report, and say it in the last line and in the exit code."""
    options = arguments()
    print(f"soaking {options.device or 'the box'} ({options.userinterface_name})", flush=True)
    facts: dict[str, object] = {}
    try:
        facts, failures = check(options)
    except BoxError as error:
        failures = [str(error)]
    for name, value in facts.items():
        print(f"  {name:<22} {value}")
    for failure in failures:
        print(f"FAILED: {failure}")
    keep("Soak of " + (options.device or "the box"), not failures, facts, failures)
    print(f"SCRIPT_SUCCESS:{'false' if failures else 'true'}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
