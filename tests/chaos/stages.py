"""The stages that rows may ask for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.chaos import rabbit
from tests.chaos.small_disks import small_disks, unmount
from tests.chaos.stage import Stage, build

CONSUMER_TIMEOUT_MS = 2000


def common(folder: Path, *, tls: bool = False) -> Stage:
    """The usual one."""
    return build(folder, tls=tls)


def impatient(folder: Path, *, tls: bool = False) -> Stage:
    """Its broker ends a consumer that holds a delivery for longer than two seconds, and looks every second."""
    stage = build(folder, tls=tls)
    for name, value in (("consumer_timeout", CONSUMER_TIMEOUT_MS), ("channel_tick_interval", 1000)):
        rabbit.evaluate(stage.rabbitmq, "application", "set_env", f"[rabbit,{name},{value}]")
    # It holds for channels that are opened from now on.
    for actor in stage.actors.values():
        actor.kill()
    stage.wait_until_ready()
    return stage


def cramped(folder: Path, *, tls: bool = False) -> Stage:
    """Its servers, journals and logs lie on small disks that a row can fill."""
    places = small_disks(folder)
    try:
        return build(folder, places=places, tls=tls)
    except BaseException:
        unmount(places)
        raise


def builders(*, tls: bool) -> dict[str, Callable[[Path], Stage]]:
    """By name; with `tls` the ledger is spoken to with TLS, too."""
    return {each.__name__: partial(each, tls=tls) for each in (common, impatient, cramped)}
