"""How much goes wrong: probabilities of one occasion, and how often a larger fault comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

STEPS = ("received", "written", "acknowledged", "done")
"""Where a runner may die while it takes a message: before its decision, and after each of the next three steps."""


@dataclass(slots=True)
class Trouble:
    """Probabilities of one occasion (0 to 1); `hours_between` is the mean time from one large fault to the next."""

    duplicate: float = 0.0
    """A message is put into its queue two to six times, some of them late."""
    frozen: float = 0.0
    """One more copy of a trigger comes later, by up to `frozen_days`."""
    frozen_days: float = 10.0
    slow: float = 0.0
    """A step through the network takes up to a minute."""
    unsent: float = 0.0
    """Some messages of a batch never reach the broker, and nobody hears so."""
    confirm_lost: float = 0.0
    """The broker took it all, and nobody hears so."""
    ack_lost: float = 0.0
    """The broker does not hear an acknowledgement: the connection breaks."""
    runner_dies: float = 0.0
    """At one of the steps of taking a message, and between a shim's start and the word about it."""
    disk_lost_too: float = 0.0
    """Of a host whose runner dies at a step."""
    scheduler_dies: float = 0.0
    """After a commit, after a publish, after a confirm."""
    ingest_dies: float = 0.0
    """Before or after the commit of a batch."""
    ingest_commits_late: float = 0.0
    """A worker that lost its connection commits all the same, after its successor."""
    shim_killed: float = 0.0
    """Of one run."""
    spawn_fails: float = 0.0
    """Of one run."""
    hours_between: Mapping[str, float] = field(default_factory=dict)

    def end(self) -> None:
        """From now on all is well."""
        for name in self.__slots__:
            setattr(self, name, {} if name == "hours_between" else 0.0)


def plenty() -> Trouble:
    """Of everything, so that weeks are full of it and most fires still run."""
    return Trouble(
        duplicate=0.02,
        frozen=0.0005,
        slow=0.003,
        unsent=0.004,
        confirm_lost=0.006,
        ack_lost=0.004,
        runner_dies=0.001,
        disk_lost_too=0.05,
        scheduler_dies=0.002,
        ingest_dies=0.001,
        ingest_commits_late=0.3,
        shim_killed=0.005,
        spawn_fails=0.005,
        hours_between={
            "broker wiped": 60,
            "results lost": 100,
            "queue deleted": 60,
            "broker restarted": 30,
            "schedulers away": 30,
            "ingest away": 40,
            "connection lost": 3,
            "host away": 20,
            "host rebooted": 30,
            "host with a new disk": 80,
            "host's clock set": 30,
            "runner restarted": 10,
        },
    )


def worse() -> Trouble:
    """Weeks' worth of rare faults in days: what is wrong shows in few fires."""
    trouble = plenty()
    trouble.frozen = 0.03
    trouble.runner_dies = 0.005
    trouble.ingest_dies = 0.01
    trouble.slow = 0.03
    trouble.hours_between = {**trouble.hours_between, "host's clock set": 2, "host away": 5, "schedulers away": 2}
    return trouble


def astray() -> Trouble:
    """Hosts are often away and their clocks are wrong, so that what was cancelled or given up comes after all."""
    trouble = plenty()
    trouble.frozen, trouble.frozen_days = 0.2, 1.0
    trouble.hours_between = {"host away": 1.5, "host's clock set": 1, "connection lost": 1, "schedulers away": 8}
    return trouble


def dying() -> Trouble:
    """Runners die at every other moment; the broker keeps its data."""
    trouble = plenty()
    trouble.runner_dies = 0.06
    trouble.disk_lost_too = 0.0
    trouble.hours_between = {"runner restarted": 1, "host away": 10, "connection lost": 3}
    return trouble


def deaf() -> Trouble:
    """The API's child dies at every other moment; neither the broker nor a host forgets anything."""
    trouble = plenty()
    trouble.ingest_dies = 0.03
    trouble.disk_lost_too = 0.0
    trouble.hours_between = {"ingest away": 5, "host away": 10, "connection lost": 3, "runner restarted": 5}
    return trouble


def forgetful() -> Trouble:
    """The broker loses its data again and again, with what nobody has taken in: the API's child is often away."""
    trouble = plenty()
    trouble.hours_between = {
        "results lost": 1.5,
        "broker wiped": 3,
        "queue deleted": 2,
        "host away": 3,
        "runner restarted": 10,
        "host with a new disk": 40,
    }
    return trouble


KINDS = {kind.__name__: kind for kind in (plenty, worse, astray, dying, deaf, forgetful)}
