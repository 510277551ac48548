"""The stages that rows may ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.chaos import rabbit
from tests.chaos.small_disks import small_disks, unmount
from tests.chaos.stage import Stage, build
from tests.support.versions import chosen

CONSUMER_TIMEOUT_MS = 2000


def common(folder: Path) -> Stage:
    """The usual one."""
    return build(folder)


def impatient(folder: Path) -> Stage:
    """Its broker ends a consumer that holds a delivery for longer than two seconds, and looks every second."""
    stage = build(folder)
    for name, value in (("consumer_timeout", CONSUMER_TIMEOUT_MS), ("channel_tick_interval", 1000)):
        rabbit.evaluate(stage.rabbitmq, "application", "set_env", f"[rabbit,{name},{value}]")
    # It holds for channels that are opened from now on.
    for actor in stage.actors.values():
        actor.kill()
    stage.wait_until_ready()
    return stage


def cramped(folder: Path) -> Stage:
    """Its servers, journals and logs lie on small disks that a row can fill."""
    places = small_disks(folder)
    try:
        return build(
            folder,
            postgres=chosen().postgres(places.postgres, log=folder / "log" / "postgres.log"),
            rabbitmq=chosen().rabbitmq(places.rabbitmq, log=folder / "log" / "rabbitmq.log"),
            places=places,
        )
    except BaseException:
        unmount(places)
        raise


BUILDERS: dict[str, Callable[[Path], Stage]] = {"common": common, "impatient": impatient, "cramped": cramped}
