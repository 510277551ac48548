"""The ports of the system: drawn once and taken again at the next start; the API goes where people look first."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from cli.errors import CliError, ExitCode
from cli.home import write_whole
from libs.stack import ports
from libs.stack.errors import StackError

DEFAULT_API_PORT = 8080
# The servers of a killed system still end while the next one starts.
_DYING_SECONDS = 3.0
_POLL_SECONDS = 0.05


def api_port(given: int | None, kept: int | None) -> int:
    """The asked port, which must be free; else 8080, else the last one, else any."""
    if given is not None:
        try:
            ports.require_free(given, "the API")
        except StackError as taken:
            raise CliError(ExitCode.USAGE, str(taken)) from None
        return given
    for port in (DEFAULT_API_PORT, kept):
        if port is not None and not ports.is_taken(port):
            return port
    return ports.free_port()


def read(path: Path) -> dict[str, int]:
    """The ports of the last start; none at first, or when the file cannot be understood."""
    try:
        kept = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(kept, dict):
        return {}
    return {name: port for name, port in kept.items() if isinstance(port, int)}


def take(names: Iterable[str], kept: Mapping[str, int], taken: Iterable[int] = ()) -> dict[str, int]:
    """A port for each name, the kept one where it is free; all of them different, and none of `taken`."""
    wanted = list(names)
    deadline = time.monotonic() + _DYING_SECONDS
    while any(ports.is_taken(kept[name]) for name in wanted if name in kept) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    used = set(taken)
    found: dict[str, int] = {}
    for name in wanted:
        port = kept.get(name)
        while port is None or port in used or ports.is_taken(port):
            port = ports.free_port()
        used.add(port)
        found[name] = port
    return found


def keep(path: Path, chosen: Mapping[str, int]) -> None:
    """For the next start."""
    write_whole(path, json.dumps(dict(chosen), indent=2) + "\n")
