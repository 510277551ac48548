"""What the box is and does: power, tuning, volume, picture, temperature, load, and the faults it suffers from.

No sockets and no clock: every call is told the time, in seconds since 1970 that never go back. The box moves to
that time first (a boot ends, a zap arrives) and answers then. A refusal is a `Refusal` with a code for programs and a
sentence for people. One caller at a time: the server holds a lock around each call.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from examples.settopbox.faults import REBOOTS_EVERY_SECONDS, Fault, Faults, Refusal

FIRST_CHANNEL = 1
LAST_CHANNEL = 99
LOUDEST = 40
FRAMES_A_SECOND = 25

ZAP_SHORTEST_MS = 50
ZAP_LONGEST_MS = 300

# Where the case's temperature drifts to, in degrees Celsius, and how fast: after this time 63 % of the way is done.
_WARM = {"on": 52.0, "booting": 58.0, "off": 24.0}
_WARMING_SECONDS = 180.0


class Power(StrEnum):
    """What the box is doing with its power. Its network controller answers in all three."""

    ON = "on"
    OFF = "off"
    BOOTING = "booting"


class Key(StrEnum):
    """The keys of the remote control."""

    POWER = "POWER"
    CHANNEL_UP = "CHANNEL_UP"
    CHANNEL_DOWN = "CHANNEL_DOWN"
    VOLUME_UP = "VOLUME_UP"
    VOLUME_DOWN = "VOLUME_DOWN"
    MUTE = "MUTE"


@dataclass(frozen=True)
class Zap:
    """Tuning that has begun: which channel was asked for, where it leads to, and how long it takes."""

    channel: int
    arrives_at: int
    seconds: float


def zap_ms(old: int, new: int) -> int:
    """How long tuning from one channel to the other takes: 50 to 300 ms, always the same for the same two.

    Spread by the numbers, so that a list of channels gives a list of different, repeatable times.
    """
    if old == new:
        return ZAP_SHORTEST_MS
    return ZAP_SHORTEST_MS + (7 * abs(new - old) + 13 * new + 5 * old) % (ZAP_LONGEST_MS - ZAP_SHORTEST_MS + 1)


@dataclass
class Box:
    """One box, switched on and booted at `now`."""

    name: str
    now: float
    boot_seconds: float = 3.0
    power: Power = Power.ON
    channel: int = FIRST_CHANNEL
    volume: int = 12
    muted: bool = False
    faults: Faults = field(default_factory=Faults)
    boots: int = 1
    _since: float = field(init=False)
    _warm_from: float = field(init=False, default=_WARM["on"] - 6.0)
    _tuning_to: int | None = field(init=False, default=None)
    _tuned_at: float = field(init=False, default=0.0)
    _frames: float = field(init=False, default=0.0)
    _rebooted_at: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._since = self.now

    def state(self, now: float) -> dict[str, object]:
        """Everything that can be seen of the box, as JSON."""
        self._advance(now)
        return {
            "name": self.name,
            "power": self.power,
            "channel": self.channel,
            "tuning_to": self._tuning_to,
            "volume": self.volume,
            "muted": self.muted,
            "uptime_seconds": round(now - self._since, 3) if self.power is Power.ON else 0.0,
            "boots": self.boots,
            "temperature_celsius": round(self._temperature(), 1),
            "cpu_percent": round(self._cpu(), 1),
            "latency_ms": self.faults.latency_ms(now),
            "tuner_locked": self.power is Power.ON and not self.faults.is_on(Fault.TUNER, now),
            "frames": int(self._frames),
        }

    def switch(self, to: str, now: float) -> None:
        """`on` and `reboot` boot for `boot_seconds`; `off` is at once; on when on and off when off change nothing."""
        self._advance(now)
        match to:
            case "off":
                if self.power is not Power.OFF:
                    self._enter(Power.OFF, now)
            case "on":
                if self.power is Power.OFF:
                    self._enter(Power.BOOTING, now)
            case "reboot":
                if self.power is Power.OFF:
                    raise Refusal("powered_off", f"{self.name} is off: switch it on instead")
                self._enter(Power.BOOTING, now)
            case _:
                raise Refusal("invalid", f"power is one of on, off, reboot; not {to!r}")

    def tune(self, channel: int, now: float) -> Zap:
        """Start tuning; the box is on the channel when the zap's seconds have passed."""
        self._advance(now)
        self._need_power(now)
        if not FIRST_CHANNEL <= channel <= LAST_CHANNEL:
            raise Refusal("invalid", f"channel is a number from {FIRST_CHANNEL} to {LAST_CHANNEL}; not {channel}")
        if self._tuning_to is not None:
            raise Refusal("tuning", f"{self.name} is still tuning to channel {self._tuning_to}")
        if self.faults.is_on(Fault.TUNER, now):
            raise Refusal("no_lock", f"the tuner of {self.name} has no lock: no signal on channel {channel}")
        seconds = zap_ms(self.channel, channel) / 1000
        beside = self.faults.is_on(Fault.WRONG_CHANNEL, now)
        arrives_at = (channel % LAST_CHANNEL) + FIRST_CHANNEL if beside else channel
        self._tuning_to, self._tuned_at = arrives_at, now + seconds
        return Zap(channel, arrives_at, seconds)

    def press(self, key: str, now: float) -> Zap | None:
        """Press one key; returns the zap that it began, if it began one."""
        self._advance(now)
        try:
            pressed = Key(key)
        except ValueError:
            raise Refusal("invalid", f"key is one of {', '.join(Key)}; not {key!r}") from None
        if pressed is Key.POWER:
            self.switch("on" if self.power is Power.OFF else "off", now)
            return None
        self._need_power(now)
        match pressed:
            case Key.CHANNEL_UP:
                return self.tune(self.channel + 1 if self.channel < LAST_CHANNEL else FIRST_CHANNEL, now)
            case Key.CHANNEL_DOWN:
                return self.tune(self.channel - 1 if self.channel > FIRST_CHANNEL else LAST_CHANNEL, now)
            case Key.VOLUME_UP:
                self.volume, self.muted = min(self.volume + 1, LOUDEST), False
            case Key.VOLUME_DOWN:
                self.volume, self.muted = max(self.volume - 1, 0), False
            case Key.MUTE:
                self.muted = not self.muted
        return None

    def _advance(self, now: float) -> None:
        if self.power is Power.BOOTING and now >= self._since + self.boot_seconds:
            self._enter(Power.ON, self._since + self.boot_seconds)
        if self._tuning_to is not None and now >= self._tuned_at:
            self.channel, self._tuning_to = self._tuning_to, None
        if self.power is Power.ON and not self.faults.is_on(Fault.FROZEN, now):
            self._frames += FRAMES_A_SECOND * (now - max(self.now, self._since))
        if self.power is not Power.OFF and self.faults.is_on(Fault.REBOOT, now):
            if self._rebooted_at is None or now >= self._rebooted_at + REBOOTS_EVERY_SECONDS:
                self._rebooted_at = now
                self._enter(Power.BOOTING, now)
        else:
            self._rebooted_at = None
        self.now = now

    def _enter(self, power: Power, at: float) -> None:
        self.now = at
        self._warm_from = self._drift()
        self.boots += power is Power.BOOTING
        if power is not Power.ON:
            self._tuning_to = None  # a zap under way is lost with the power
        self.power, self._since = power, at

    def _need_power(self, now: float) -> None:
        if self.power is Power.OFF:
            raise Refusal("powered_off", f"{self.name} is off")
        if self.power is Power.BOOTING:
            left = self._since + self.boot_seconds - now
            raise Refusal("booting", f"{self.name} is booting, ready in {left:.1f} s")

    def _drift(self) -> float:
        """The temperature without the ripple: from where it was at the last change of power to where that leads."""
        end = _WARM[self.power]
        return end + (self._warm_from - end) * math.exp(-(self.now - self._since) / _WARMING_SECONDS)

    def _temperature(self) -> float:
        return self._drift() + 0.8 * math.sin(self.now * 2 * math.pi / 300)

    def _cpu(self) -> float:
        if self.power is Power.OFF:
            return 0.0
        base = 85.0 if self.power is Power.BOOTING else 14.0
        return base + 5 * math.sin(self.now * 2 * math.pi / 47) + (20.0 if self._tuning_to is not None else 0.0)
