"""What processes use: CPU seconds and memory, by the part of the system that they are."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import psutil

from tests.bench.lab import Lab

Members = Mapping[str, list[psutil.Process]]


def members(lab: Lab) -> Members:
    """The processes of each part. PostgreSQL is many; the API is its web workers, its ingest and their parent."""
    found: dict[str, list[psutil.Process]] = {}
    for name, child in lab.children.items():
        parent = psutil.Process(child.pid)
        if name != "api":
            found[name] = [parent]
            continue
        found["api: parent"] = [parent]
        for process in parent.children(recursive=True):
            if "resource_tracker" in " ".join(process.cmdline()):
                continue
            listens = any(
                each.status == psutil.CONN_LISTEN and each.laddr.port == lab.api_port
                for each in process.net_connections()
            )
            found.setdefault("api: web" if listens else "api: ingest", []).append(process)
    for name, pid in (("postgresql", lab.postgres.pid), ("rabbitmq", lab.rabbitmq.pid)):
        assert pid is not None
        found[name] = [psutil.Process(pid)]
    return found


def cpu_seconds(parts: Members) -> dict[str, float]:
    """User and system, since their start, with what their ended children took."""
    return {name: sum(_cpu(process) for process in processes) for name, processes in parts.items()}


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    own = float(times.user + times.system + times.children_user + times.children_system)
    living = 0.0
    for child in process.children():
        if _is_of(child, process):
            with contextlib.suppress(psutil.NoSuchProcess):
                living += _cpu(child)
    return own + living


def _is_of(child: psutil.Process, parent: psutil.Process) -> bool:
    """A server's own helpers; the API's children are parts of their own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return not (parent.name().startswith("python") and child.name().startswith("python"))
    return False


def memory_mib(parts: Members) -> dict[str, dict[str, float]]:
    """Resident of the main process, and the proportional share of all of a part's processes (shared pages divided)."""
    found: dict[str, dict[str, float]] = {}
    for name, processes in parts.items():
        all_of_it = [*processes]
        if name in {"postgresql", "rabbitmq"}:
            all_of_it += [child for process in processes for child in process.children(recursive=True)]
        share = 0.0
        for process in all_of_it:
            with contextlib.suppress(psutil.NoSuchProcess):
                share += process.memory_full_info().pss
        resident = sum(process.memory_info().rss for process in processes)
        found[name] = {"rss": round(resident / 2**20, 1), "pss": round(share / 2**20, 1)}
    return found
