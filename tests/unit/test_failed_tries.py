"""Who is taken for one and the same when failed tries are counted."""

from __future__ import annotations

import pytest

from services.api.failed_tries import FailedTries
from services.api.problems import ProblemError


@pytest.mark.parametrize(
    ("first", "then", "is_the_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("testclient", "testclient", True),
    ],
)
async def test_a_machine_is_one_by_whichever_of_its_addresses_it_comes(
    first: str, then: str, is_the_same: bool
) -> None:
    tries = FailedTries(most_a_minute=3)
    for _ in range(3):
        await tries.check(first, "wrong")
        await tries.note(first)
    if is_the_same:
        with pytest.raises(ProblemError, match="too many tries"):
            await tries.check(then, "wrong")
    else:
        await tries.check(then, "wrong")
