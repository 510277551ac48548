"""Locks of devices, from `rigbeat hosts`: who has one, why, and until when."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from cli import completing
from cli.errors import CliError, ExitCode
from cli.options import Run, command
from cli.output import Column

_PART = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _of_lock(name: str) -> Column:
    return Column(f"lock_{name}", lambda device: (device["lock"] or {}).get(name), cut=name == "reason")


COLUMNS = (
    Column("device_id"),
    Column("status"),
    Column("execution_id", spare=True),
    Column("pending", lambda device: len(device["pending"]), spare=True),
    _of_lock("owner"),
    _of_lock("expires_at"),
    _of_lock("reason"),
    Column("model", spare=True),
)

Host = Annotated[str, typer.Argument(metavar="HOST", help="Its name.", autocompletion=completing.hosts)]
Device = Annotated[str, typer.Argument(metavar="DEVICE", help="Its id.", autocompletion=completing.devices)]


def seconds(text: str) -> int:
    """A length of time as people write it: 90s, 30m, 2h, 1d, 1h30m. `CliError` for anything else."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise CliError(ExitCode.USAGE, f"{text!r} is not a length of time; write 90s, 30m, 2h or 1d.")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


@command
def lock(
    run: Run,
    host: Host,
    device: Device,
    reason: Annotated[str, typer.Option(help="Why; everybody who wonders reads it.")],
    length: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="90s, 30m, 2h, 1d; without it until it is unlocked.")
    ] = None,
) -> None:
    """Take a device: nothing starts on it until it is unlocked or the time is over. What runs on it goes on."""
    body = {"reason": reason, "seconds": None if length is None else seconds(length)}
    with run.api() as api:
        locked = api.post(f"{_path(host, device)}/lock", body)
        run.out.one(locked, COLUMNS)
        if locked["status"] == "running":
            run.out.note("What runs on it goes on; nothing starts after it.")
        if locked["status"] == "offline":
            run.out.note(f"{host} is away; it hears of the lock before anything else when it comes back.")


@command
def unlock(run: Run, host: Host, device: Device) -> None:
    """Give a device back: your own, or as an admin anybody's."""
    with run.api() as api:
        run.out.one(api.post(f"{_path(host, device)}/unlock"), COLUMNS)


@command
def show(run: Run, host: Host) -> None:
    """Show one host: its devices, with their locks and what runs and waits on them. With --json all that there is."""
    with run.api() as api:
        shown: Mapping[str, Any] = api.get(f"/hosts/{quote(host, safe='')}")
    if run.out.as_json:
        run.out.fields(shown)
        return
    queues = shown["queues"]
    run.out.note(
        f"{shown['name']} is {shown['status']}, last heard {shown['last_seen_at'] or 'never'}; "
        f"{_count(queues['triggers'])} triggers and {_count(queues['commands'])} commands wait for it."
    )
    run.out.many(shown["devices"], COLUMNS)


def _path(host: str, device: str) -> str:
    return f"/hosts/{quote(host, safe='')}/devices/{quote(device, safe='')}"


def _count(number: int | None) -> str:
    return "unknown" if number is None else str(number)
