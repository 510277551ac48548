"""Whether a consumer has gone silent, decided from what was seen of it at moments a few seconds apart. Pure.

Three signs, because each misses what another finds:

    echo      what we sent over the broker, and the broker confirmed, does not come back on the consumer's channel:
              the channel delivers nothing. (An empty queue looks the same without it.)
    count     the broker knows no consumer of the queue, while we believe to be one and are given nothing. (The echo's
              own consumer may be well meanwhile, and an empty queue hides it.) RabbitMQ answers so too when the leader
              of a quorum queue did not answer it in 250 ms (`stat` of its rabbit_quorum_queue.erl): one that is busy
              gives us messages meanwhile, one without a majority does not and looks like a silence.
    backlog   messages wait in the queue, we have none in hand, and none is given to us: the broker has stopped feeding
              us. (Count and echo are well meanwhile.)

A sign is a silence when it was there at every look for so many seconds. Time between two looks counts for at most
`MOST_BETWEEN` looks: a process that did not get to run has heard nothing, and that says nothing about the broker.
What is not known (the broker does not answer, or takes nothing) is never a sign.

With several consumers of one queue, where one may be active and the others wait (single active consumer), a backlog
says little about any of them: it may be a busy one's, that gets to it later. So whoever has work in hand, or had since
its last echo, says so in its echo, and the others hear it. Only when nobody says so, and nothing leaves the queue, are
they silent: first whoever was given something before, since it is the active one; after twice the time all others.

That others are there is known by their echoes, too: of a quorum queue the broker counts the active consumer alone,
however many wait (`query_stat` of its rabbit_fifo.erl; seen with 3.10 and 4.0). They are gone when we have heard none
of them for `limit` seconds in which our own echoes came; while a broker takes nothing from publishers, nobody is heard.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

LOOKS = 4
"""So many in the time after which a sign is a silence."""
MOST_BETWEEN = 1.5
"""Of the pause between two looks: more is not counted."""
OTHERS_FIRST = 2
"""A consumer that was never given anything waits so many times as long for another one to end."""


class Sign(StrEnum):
    """What a silence was known by."""

    ECHO = "echo"
    COUNT = "count"
    BACKLOG = "backlog"


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one consumer. Numbers of messages count from its beginning, `at` is monotonic, in seconds."""

    at: float
    echoes_confirmed: int = 0
    """Of those that we sent."""
    echoes_back: int = 0
    """Of those that we sent, on the consumer's channel."""
    others: int = 0
    """Echoes of others, on the consumer's channel."""
    others_at_work: int = 0
    """Those of them that say that they have work in hand."""
    channel_deliveries: int = 0
    """Everything that came on the consumer's channel."""
    deliveries: int = 0
    """What came from the queue."""
    in_hand: int = 0
    """What came from the queue and is not settled."""
    ready: int | None = None
    """What waits in the queue; None: the broker did not answer."""
    consumers: int | None = None
    """How many the broker knows of, without those that wait for a quorum queue; None: it did not answer."""


@dataclass(frozen=True, slots=True)
class Signs:
    """For how many seconds each sign has been there, up to the last look."""

    last: Look
    confirmed_when_heard: int = 0
    unheard: float = 0.0
    uncounted: float = 0.0
    unfed: float = 0.0
    alone: float = math.inf
    """For how long our own echoes have come, and none of another; infinite where others cannot be."""


def begin(first: Look, *, others_may_be: bool = False) -> Signs:
    """A consumer that has just begun; `others_may_be` that consume the same queue and are not counted by the broker."""
    return Signs(
        first,
        confirmed_when_heard=first.echoes_confirmed,
        alone=0.0 if others_may_be else math.inf,
    )


def pause_between(limit: float) -> float:
    """Seconds between two looks, when a sign is a silence after `limit` seconds."""
    return limit / LOOKS


def judge(signs: Signs, seen: Look, limit: float) -> tuple[Signs, Sign | None]:
    """What is known after another look, and what the consumer is silent by, if it is."""
    last = signs.last
    passed = min(max(seen.at - last.at, 0.0), pause_between(limit) * MOST_BETWEEN)
    heard = seen.channel_deliveries != last.channel_deliveries
    confirmed_when_heard = seen.echoes_confirmed if heard else signs.confirmed_when_heard
    waits_for_echo = seen.echoes_confirmed > confirmed_when_heard
    is_told = seen.echoes_back != last.echoes_back
    alone = 0.0 if seen.others != last.others else signs.alone + passed * is_told
    has_others = (seen.consumers or 0) > 1 or alone < limit
    after = Signs(
        seen,
        confirmed_when_heard,
        unheard=signs.unheard + passed if waits_for_echo else 0.0,
        uncounted=signs.uncounted + passed if seen.consumers == 0 and seen.deliveries == last.deliveries else 0.0,
        unfed=signs.unfed + passed if _is_unfed(last, seen, has_others=has_others) else 0.0,
        alone=alone,
    )
    if after.unheard >= limit:
        return after, Sign.ECHO
    if after.uncounted >= limit:
        return after, Sign.COUNT
    may_be_another = has_others and seen.deliveries == 0
    if after.unfed >= (limit * OTHERS_FIRST if may_be_another else limit):
        return after, Sign.BACKLOG
    return after, None


def _is_unfed(last: Look, seen: Look, *, has_others: bool) -> bool:
    if not last.ready or not seen.ready or seen.consumers is None:
        return False
    if seen.in_hand or seen.deliveries != last.deliveries:
        return False
    if not has_others:
        return True
    # What we know of them we know by echoes: without our own, nothing.
    return (
        seen.echoes_back != last.echoes_back and seen.others_at_work == last.others_at_work and seen.ready >= last.ready
    )
