"""What a measurement was taken on, so that figures are only compared where they can be."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
import psycopg

from libs.stack.process import run

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Machine:
    """Versions and sizes; nothing that names one machine."""

    cores: int
    memory_gib: float
    processor: str
    system: str
    kernel: str
    python: str
    postgresql: str
    rabbitmq: str
    load_before: float
    """Of the last minute, before anything of the bench ran: well below 1 on a quiet machine."""


def machine(database_url: str, rabbitmq: str) -> dict[str, object]:
    """The facts, as JSON has them."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    assert row is not None
    found = Machine(
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        processor=_field(Path("/proc/cpuinfo"), "model name", ":") or platform.machine(),
        system=_field(Path("/etc/os-release"), "PRETTY_NAME", "=").strip('"') or platform.system(),
        kernel=platform.release().partition("-")[0],
        python=platform.python_version(),
        postgresql=str(row[0]),
        rabbitmq=rabbitmq,
        load_before=round(os.getloadavg()[0], 2),
    )
    return asdict(found)


def source() -> dict[str, object]:
    """Which code was measured."""
    return {
        "version": version("rigbeat"),
        "commit": _git("rev-parse", "HEAD"),
        "changed_since": bool(_git("status", "--porcelain", "--", "libs", "services")),
    }


def _git(*arguments: str) -> str | None:
    """Its answer; None without it, or outside of a clone."""
    program = shutil.which("git")
    if program is None:
        return None
    ended = run([program, *arguments], within=10, cwd=ROOT)
    return ended.output.strip() if ended.code == 0 else None


def _field(path: Path, name: str, sign: str) -> str:
    for line in path.read_text().splitlines() if path.exists() else ():
        key, _, value = line.partition(sign)
        if key.strip() == name:
            return value.strip()
    return ""
