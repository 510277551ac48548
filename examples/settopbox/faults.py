"""What can be wrong with a box: switched on by hand, for a while or until it is mended, or coming back by the clock.

Pure, as the box is: every call is told the time, in seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

DEFAULT_LATENCY_MS = 800
MAX_LATENCY_MS = 60_000
REBOOTS_EVERY_SECONDS = 10.0
DNS_LATENCY_MS = 400


class Refusal(Exception):  # noqa: N818 - it is no error of the box: it says no
    """The box says no. `code` is for programs, the text for people."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Fault(StrEnum):
    """Each fault, and in `WORDS` what it does."""

    SLOW = "slow"
    TUNER = "tuner"
    WRONG_CHANNEL = "wrong-channel"
    FROZEN = "frozen"
    REBOOT = "reboot"
    AWAY = "away"
    DNS_SLOW = "dns-slow"
    DNS_FAILS = "dns-fails"


WORDS = {
    Fault.SLOW: "every answer comes latency_ms later (800 unless given)",
    Fault.TUNER: "the tuner finds no signal: no channel can be tuned to",
    Fault.WRONG_CHANNEL: "the box lands one channel beside the one that was asked for",
    Fault.FROZEN: "the picture stands still: no new frames",
    Fault.REBOOT: "the box restarts by itself, at once and every 10 seconds again",
    Fault.AWAY: "the box hangs up instead of answering",
    Fault.DNS_SLOW: "its DNS server answers 400 ms late",
    Fault.DNS_FAILS: "its DNS server answers SERVFAIL",
}


@dataclass(frozen=True)
class Spell:
    """A fault that comes back by itself: for `lasts` seconds from each multiple of `every` seconds since 1970.

    By the clock and not by chance, so that everybody knows when it comes.
    """

    fault: Fault
    every: float
    lasts: float

    @classmethod
    def parse(cls, text: str) -> Spell:
        """`FAULT:EVERY:LASTS`, such as `tuner:180:60`. Raises `ValueError` with a sentence."""
        name, _, times = text.partition(":")
        every, colon, lasts = times.partition(":")
        if name not in set(Fault) or not (colon and every.isdecimal() and lasts.isdecimal()):
            raise ValueError(f"{text!r} is no FAULT:EVERY:LASTS, such as tuner:180:60; faults: {', '.join(Fault)}")
        if not 0 < int(lasts) <= int(every):
            raise ValueError(f"{text!r} must last at least 1 second and at most the {every} until it comes again")
        return cls(Fault(name), float(every), float(lasts))

    def is_on(self, now: float) -> bool:
        """Whether it is there just now."""
        return now % self.every < self.lasts


@dataclass(frozen=True)
class _On:
    until: float | None
    latency_ms: int


class Faults:
    """The faults of one box."""

    def __init__(self, spells: Sequence[Spell] = ()) -> None:
        self.spells = tuple(spells)
        self._on: dict[Fault, _On] = {}

    def switch_on(self, name: str, now: float, *, seconds: float | None = None, latency_ms: int | None = None) -> None:
        """Begin this fault, for so many seconds or until it is mended; on again, the new words count."""
        fault = _known(name)
        if seconds is not None and not seconds > 0:
            raise Refusal("invalid", f"seconds is more than 0; not {seconds:g}")
        if latency_ms is not None and fault is not Fault.SLOW:
            raise Refusal("invalid", f"latency_ms belongs to the fault slow; not to {fault}")
        latency_ms = DEFAULT_LATENCY_MS if latency_ms is None else latency_ms
        if not 0 <= latency_ms <= MAX_LATENCY_MS:
            raise Refusal("invalid", f"latency_ms is a number from 0 to {MAX_LATENCY_MS}; not {latency_ms}")
        self._on[fault] = _On(None if seconds is None else now + seconds, latency_ms)

    def mend(self, name: str | None = None) -> None:
        """End this fault, or all that were switched on; what comes by the clock is left to it."""
        if name is None:
            self._on.clear()
        else:
            self._on.pop(_known(name), None)

    def is_on(self, fault: Fault, now: float) -> bool:
        """Whether the box suffers from it."""
        on = self._on.get(fault)
        if on is not None and (on.until is None or now < on.until):
            return True
        return any(spell.fault is fault and spell.is_on(now) for spell in self.spells)

    def latency_ms(self, now: float) -> int:
        """How much later the box answers."""
        if not self.is_on(Fault.SLOW, now):
            return 0
        return self._on[Fault.SLOW].latency_ms if Fault.SLOW in self._on else DEFAULT_LATENCY_MS

    def shown(self, now: float) -> dict[str, object]:
        """What is on, with the seconds that are left (none: until it is mended), and what comes by the clock."""
        on: dict[str, object] = {}
        for fault in Fault:
            if self.is_on(fault, now):
                held = self._on.get(fault)
                on[fault] = None if held is None or held.until is None else round(held.until - now, 1)
        return {
            "on": on,
            "by_the_clock": [f"{spell.fault}:{spell.every:g}:{spell.lasts:g}" for spell in self.spells],
            "faults": {fault: WORDS[fault] for fault in Fault},
        }


def _known(name: str) -> Fault:
    try:
        return Fault(name)
    except ValueError:
        raise Refusal("invalid", f"fault is one of {', '.join(Fault)}; not {name!r}") from None
