"""Who tries tokens in vain: slowed down by address, for the sake of the database and the log.

Nobody guesses 256 random bits; so an address that goes on trying is told to come again later, before anything is looked
up. A token that was good here before is looked up all the same: one bad program behind a shared address shuts nobody
out. Each web worker counts for itself.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from libs.chassis import metrics
from libs.ledger.tokens import digest
from services.api.problems import ProblemError
from services.api.shapes.problem import Kind

MOST_A_MINUTE = 20
RETRY_AFTER_SECONDS = 60
MOST_GOOD = 10_000
_PREFIX = 64

_FAILED = metrics.counter("failed_tries", "Requests without a valid token")


class FailedTries:
    """Failed tries by address, and the tokens that were good."""

    def __init__(self, most_a_minute: int = MOST_A_MINUTE) -> None:
        self._limit = RateLimitItemPerMinute(most_a_minute)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._good: OrderedDict[bytes, None] = OrderedDict()

    async def check(self, address: str, token: str) -> None:
        """Raises the problem `too-many` for a token that was never good, from an address that failed too often."""
        if await self._limiter.test(self._limit, _somebody(address)) or digest(token) in self._good:
            return
        raise ProblemError(
            Kind.TOO_MANY,
            "There were too many tries without a valid token from this address",
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        )

    async def note(self, address: str) -> None:
        """One more try in vain."""
        _FAILED.inc()
        await self._limiter.hit(self._limit, _somebody(address))

    def is_good(self, token: str) -> None:
        """It was valid just now."""
        key = digest(token)
        self._good[key] = None
        self._good.move_to_end(key)
        if len(self._good) > MOST_GOOD:
            self._good.popitem(last=False)


def _somebody(address: str) -> str:
    """What one machine has: of IPv6 a whole /64, from which it may take another address for each try."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed.packed, _PREFIX), strict=False))
