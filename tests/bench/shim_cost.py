"""What a shim costs: how much later the script runs than by a bare fork and exec, and how much memory it holds.

    .venv/bin/python -m tests.bench.shim_cost

All take turns, so that they meet the same noise: compare rows of one run only. The script is a program that tells the
time as its first act; `spawn` is the runner's own way. What a Python that does nothing takes is the floor.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from services.host_runner.process import ShimSpec, spawn, wait_ended
from services.host_runner.run_dir import OUTPUT
from tests.support.wait import until

TIMES = 50
SYSTEM_PYTHON = "/usr/bin/python3"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
# Its first act is to read the clock.
SCRIPT = ("/bin/date", "+%s.%N")


def spec(folder: Path, name: str, python: str, argv: tuple[str, ...]) -> ShimSpec:
    environment = {**ENVIRONMENT, "RIGBEAT_EXECUTION_ID": f"bench-{os.getpid()}-{name}"}
    return ShimSpec(folder / name, argv, environment, folder, 60.0, None, 1.0, 1 << 20, python)


def bare(folder: Path) -> float:
    """Seconds until the script has read the clock, by fork and exec alone."""
    path = folder / "bare"
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    began = time.time()
    pid = os.posix_spawn(SCRIPT[0], SCRIPT, ENVIRONMENT, file_actions=[(os.POSIX_SPAWN_DUP2, output, 1)])
    os.waitpid(pid, 0)
    os.close(output)
    return float(path.read_text()) - began


def bare_python(python: str) -> float:
    """Seconds for a Python that does nothing: what no shim in Python can be below."""
    began = time.time()
    os.waitpid(os.posix_spawn(python, (python, "-I", "-S", "-c", ""), ENVIRONMENT), 0)
    return time.time() - began


async def shimmed(folder: Path, name: str, python: str) -> tuple[float, float]:
    """Seconds until the script has read the clock, and until the runner knows of its end."""
    one = spec(folder, name, python, SCRIPT)
    one.run_dir.mkdir()
    began = time.time()
    ending = await wait_ended(one.run_dir, spawn(one))
    told = time.time()
    assert ending.code == 0, ending
    return float((one.run_dir / OUTPUT).read_text()) - began, told - began


def memory(folder: Path, name: str, python: str) -> tuple[float, float]:
    """MB that a shim with a running script holds: resident, and what of it is its alone."""
    one = spec(folder, name, python, ("/bin/sleep", "1"))
    pid = spawn(one)
    until((one.run_dir / "started").exists, within=10)
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {words[0]: int(words[1]) / 1024 for words in map(str.split, rollup[1:])}
    asyncio.run(wait_ended(one.run_dir, pid))
    return sizes["Rss:"], sizes["Private_Clean:"] + sizes["Private_Dirty:"]


def tell(what: str, seconds: list[float]) -> None:
    ordered = sorted(one * 1000 for one in seconds)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    figures = f"least {ordered[0]:6.1f} ms   p50 {statistics.median(ordered):6.1f} ms   p99 {p99:6.1f} ms"
    sys.stdout.write(f"{what:<56} {figures}\n")


def main() -> None:
    """Measure and print."""
    pythons = (SYSTEM_PYTHON, sys.executable)
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for turn in range(TIMES):
            rows.setdefault("fork and exec alone: script starts after", []).append(bare(folder))
            for number, python in enumerate(pythons):
                rows.setdefault(f"{python}, doing nothing", []).append(bare_python(python))
                start, end = asyncio.run(shimmed(folder, f"{turn}-{number}", python))
                rows.setdefault(f"{python}, shim: script starts after", []).append(start)
                rows.setdefault(f"{python}, shim: end is known after", []).append(end)
        for what, seconds in rows.items():
            tell(what, seconds)
        for number, python in enumerate(pythons):
            resident, private = memory(folder, f"memory-{number}", python)
            sys.stdout.write(f"{python + ', shim':<56} RSS {resident:.1f} MB   private {private:.1f} MB\n")


if __name__ == "__main__":
    main()
