"""Runs a pytest suite against the box, and leaves its JUnit file and its HTML page with the execution.

Run by hand: `python suite.py demo --address http://127.0.0.1:9301`. Needs pytest and pytest-html in this Python.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

BESIDE = Path(__file__).resolve().parent.parent / "suite"


class BoxError(Exception):
    """The suite cannot be run; the text is for people."""


def arguments() -> argparse.Namespace:
    """Literal calls, so that the page can show the parameters without running this script."""
    parser = argparse.ArgumentParser(
        description="Runs the pytest suite of the set-top box, with JUnit and HTML reports"
    )
    parser.add_argument("userinterface_name", nargs="?", default="demo", help="user interface under test")
    parser.add_argument("--suite", default="", help="folder of the suite; the one beside the scripts unless given")
    parser.add_argument("--only", default="", help="only tests whose names match, as pytest's -k")
    parser.add_argument("--max-zap-ms", type=float, default=600.0, help="longest zap that is accepted, in ms")
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


class Outcomes:
    """A pytest plugin: what was run, and what failed, in one sentence each."""

    def __init__(self) -> None:
        self.ran = 0
        self.failures: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.ran += report.when == "call"
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            words = (crash.message if crash is not None else str(report.longrepr)).splitlines() or [""]
            self.failures.append(f"{report.nodeid.rpartition('::')[2]}: {words[0]}")

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.failures.append(f"{report.nodeid} cannot be read: {str(report.longrepr).splitlines()[-1]}")


def check(options: argparse.Namespace) -> list[str]:
    """Run the suite; one sentence for each thing that is wrong."""
    try:
        import pytest
    except ModuleNotFoundError:
        raise BoxError("pytest is not installed in the Python of this host: pip install pytest pytest-html") from None
    suite = Path(options.suite or BESIDE)
    if not suite.is_dir():
        raise BoxError(f"there is no suite in {suite}")
    told = [str(suite), "-v", f"--rootdir={suite}", f"--confcutdir={suite}", "-p", "no:cacheprovider"]
    # An ini file of its own: whatever stands above the folder is none of the suite's business.
    told += ["-c", str(suite / "pytest.ini")] if (suite / "pytest.ini").exists() else []
    told += [f"--address={device_address(options.address)}", f"--max-zap-ms={options.max_zap_ms}"]
    told += ["-k", options.only] if options.only else []
    folder = os.environ.get("RIGBEAT_ARTIFACTS_DIR")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        told.append(f"--junitxml={folder}/junit.xml")
        if importlib.util.find_spec("pytest_html") is None:
            print("pytest-html is not installed, so there is no HTML report", flush=True)
        else:
            told += ["-p", "pytest_metadata.plugin", "-p", "pytest_html.plugin"]
            told += [f"--html={folder}/report.html", "--self-contained-html"]
    # Only the plugins that are named here or in the suite's conftest.py: what else this Python has may not meddle.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    outcomes = Outcomes()
    code = pytest.main(told, plugins=[outcomes])
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        return ["the suite holds no such test"]
    if code != pytest.ExitCode.OK and not outcomes.failures:
        return [f"pytest ended with exit code {int(code)}"]
    return outcomes.failures


def main() -> int:
    """Run, and say it in the last line and in the exit code."""
    options = arguments()
    print(f"suite on {options.device or 'the box'} ({options.userinterface_name})", flush=True)
    try:
        failures = check(options)
    except BoxError as error:
        failures = [str(error)]
    for failure in failures:
        print(f"FAILED: {failure}")
    print(f"SCRIPT_SUCCESS:{'false' if failures else 'true'}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
